//! The image against a naive reading of the policy.

use proptest::prelude::*;

use super::*;

/// What the profile of a source leaves out.
enum Lift<'a> {
    Nothing,
    Orders(&'a [Located<String>]),
    Everything,
}

/// The action for a place at an instant, read straight off the policy.
fn naive_action(policy: &Policy, code: &str, lift: &Lift<'_>, now: Instant) -> Action {
    let mut spoken = false;
    for order in &policy.orders {
        if order
            .effective
            .as_ref()
            .is_some_and(|effective| now < effective.value)
            || order.until.as_ref().is_some_and(|until| until.value <= now)
        {
            continue;
        }
        let is_lifted = match lift {
            Lift::Nothing => false,
            Lift::Orders(ids) => ids.iter().any(|id| id.value == order.id.value),
            Lift::Everything => true,
        };
        for rule in &order.rules {
            let matches = match &rule.selector {
                Selector::Everywhere => code != "lan",
                Selector::Places(items) => items.iter().any(|item| item.code == code),
            };
            if matches && (rule.no_exemptions || !is_lifted) {
                if rule.decision == Decision::DROP {
                    return Action::Drop;
                }
                spoken = true;
                break;
            }
        }
    }
    match code {
        _ if spoken || matches!(lift, Lift::Everything) => Action::Pass,
        "unknown" => policy.unknown.action(),
        "lan" => policy.lan.action(),
        _ => policy.default.action(),
    }
}

/// The verdict for an address at an instant, read straight off the policy.
pub(super) fn naive_verdict(policy: &Policy, location: &Location, query: &Query<'_>) -> Verdict {
    let class = location_of(location, query.address);
    let code = location.classes.name(class);
    let answer = |action, reason| Verdict {
        action,
        reason,
        class,
    };
    let mut best: Option<(u8, Option<Lift<'_>>)> = None;
    let mut offer = |prefix: IpNet, until: Option<Instant>, lift: Option<Lift<'static>>, orders| {
        let len = prefix.prefix_len();
        if prefix.contains(&query.address)
            && until.is_none_or(|until| query.now < until)
            && best.as_ref().is_none_or(|(longest, _)| *longest < len)
        {
            let orders: Option<&[Located<String>]> = orders;
            best = Some((len, orders.map_or(lift, |ids| Some(Lift::Orders(ids)))));
        }
    };
    for (lists, is_allow) in [(&policy.allows, true), (&policy.denies, false)] {
        for list in lists {
            for prefix in &list.prefixes {
                let until = list.until.as_ref().map(|until| until.value);
                offer(prefix.value, until, is_allow.then_some(Lift::Everything), None);
            }
        }
    }
    for exemption in &policy.exemptions {
        for prefix in &exemption.prefixes {
            let orders = exemption.orders.as_deref();
            offer(
                prefix.value,
                Some(exemption.until.value),
                Some(Lift::Everything),
                orders,
            );
        }
    }
    let is_failsafe = query
        .failsafe
        .iter()
        .any(|prefix| prefix.contains(&query.address));
    let passes = naive_action(policy, code, &Lift::Nothing, query.now) == Action::Pass;
    match best {
        Some((_, None)) if is_failsafe => answer(Action::Pass, Reason::Failsafe),
        Some((_, None)) => answer(Action::Drop, Reason::Deny),
        _ if passes => answer(Action::Pass, Reason::PolicyPass),
        _ if is_failsafe => answer(Action::Pass, Reason::Failsafe),
        Some((_, Some(lift))) if naive_action(policy, code, &lift, query.now) == Action::Pass => {
            answer(Action::Pass, Reason::Exempt)
        }
        _ => answer(Action::Drop, Reason::PolicyDrop),
    }
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Pass), Just(Action::Drop)]
}

fn any_instant() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![2 => Just(None), 3 => (0..60u32).prop_map(Some)]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let codes = prop::sample::subsequence(CODES.to_vec(), 1..=CODES.len());
    (any_action(), codes, any::<bool>(), 0..5u8).prop_map(|(action, codes, no_exemptions, kind)| {
        let rule = rule(1, action, &codes, no_exemptions);
        match kind {
            0 => Rule {
                selector: Selector::Everywhere,
                ..rule
            },
            _ => rule,
        }
    })
}

fn any_order() -> impl Strategy<Value = Order> {
    let rules = prop::collection::vec(any_rule(), 1..4);
    (any_instant(), any_instant(), rules).prop_map(|(effective, until, rules)| {
        let (effective, until) = match (effective, until) {
            (Some(a), Some(b)) => (Some(a.min(b)), Some(a.max(b))),
            other => other,
        };
        order(1, "", effective, until, rules)
    })
}

/// Prefixes that nest: around 21.0.0.0 (CN) and 2001:db8:1:: (CN), and elsewhere.
const PREFIXES: [&str; 12] = [
    "21.0.0.0/8",
    "21.0.0.0/16",
    "21.0.0.0/24",
    "21.0.0.128/25",
    "20.0.0.0/7",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "2001:db8:1::/48",
    "2001:db8:1::/64",
    "2001:db8:1::1/128",
    "2001:db8::/32",
    "::/0",
];

fn any_policy() -> impl Strategy<Value = Policy> {
    let orders = prop::collection::vec(any_order(), 0..5);
    let overrides = prop::sample::subsequence(PREFIXES.to_vec(), 0..7).prop_flat_map(|prefixes| {
        let n_prefixes = prefixes.len();
        let kinds = prop::collection::vec((0..4u8, any_instant(), any::<u8>()), n_prefixes);
        (Just(prefixes), kinds)
    });
    let defaults = (any_action(), any_action(), any_action());
    (orders, overrides, defaults).prop_map(|(orders, (prefixes, kinds), (default, unknown, lan))| {
        let ids = ["A", "B", "C", "D"];
        let mut policy = Policy {
            default: Decision::new(default),
            unknown: Decision::new(unknown),
            lan: Decision::new(lan),
            ..policy()
        };
        for (order, id) in orders.into_iter().zip(ids) {
            let id = at(1, id.to_owned());
            policy.orders.push(Order { id, ..order });
        }
        let ids = &ids[..policy.orders.len()];
        for (prefix, (kind, until, mask)) in prefixes.into_iter().zip(kinds) {
            let lifted: Vec<&str> = (0..)
                .zip(ids)
                .filter(|(bit, _)| mask >> bit & 1 == 1)
                .map(|(_, id)| *id)
                .collect();
            match kind {
                0 => policy.allows.push(list(1, &[prefix], until)),
                1 => policy.denies.push(list(1, &[prefix], until)),
                2 => policy
                    .exemptions
                    .push(exemption(1, &[prefix], until.unwrap_or(70), None)),
                _ => policy
                    .exemptions
                    .push(exemption(1, &[prefix], until.unwrap_or(70), Some(&lifted))),
            }
        }
        policy
    })
}

/// Addresses inside and beside every network and prefix above.
const ADDRESSES: [&str; 17] = [
    "20.1.1.1",
    "21.0.0.1",
    "21.0.0.129",
    "21.0.1.1",
    "21.1.1.1",
    "22.9.9.9",
    "23.0.0.0",
    "10.1.1.1",
    "9.1.1.1",
    "102.5.1.1",
    "2001:db8:0::1",
    "2001:db8:1::1",
    "2001:db8:1::2",
    "2001:db8:1:1::1",
    "2001:db8:ffff::1",
    "2400:2::1",
    "fd00::1",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// Random policies, instants and addresses: the image says what the policy says, from `now` on. It is refused
    /// only where a cell has more changes ahead, or a nest more ends, than the kernel can be told.
    #[test]
    fn image_means_what_the_policy_says(policy in any_policy(), now in 0..60u32) {
        let location = location();
        let (image, remarks) = compile(&policy, "text", &location, Instant(now), &FrameSettings::default());
        let Some(image) = image else {
            let is_limit = |remark: &Diagnostic| remark.message.contains("changes ahead") || remark.message.contains("nested prefixes");
            prop_assert!(remarks.iter().any(is_limit), "{:?}", remarks);
            return Ok(());
        };
        let failsafe: IpNet = "21.0.0.0/26".parse().unwrap();
        for instant in now..75 {
            for address in ADDRESSES {
                for failsafe in [&[][..], &[failsafe]] {
                    let query = Query { heading: Heading::default(), address: address.parse().unwrap(), now: Instant(instant), failsafe };
                    prop_assert_eq!(
                        image.verdict(&query),
                        naive_verdict(&policy, &location, &query),
                        "{} at {}", address, instant
                    );
                }
            }
        }
        let lifts = policy.exemptions.iter().filter_map(|exemption| exemption.orders.as_deref());
        for class in 0..location.classes.len() as u16 {
            let code = location.classes.name(class);
            for instant in now..75 {
                let cell = |profile| {
                    let cell = image.matrix.cell(0, profile, class).unwrap();
                    cell.stages_idx().map_or(cell.fixed_decision(), |idx| image.stages[idx as usize].decision_at(instant)).action()
                };
                let naive = |lift| naive_action(&policy, code, &lift, Instant(instant));
                prop_assert_eq!(cell(profile::ALL_ORDERS), naive(Lift::Nothing));
                prop_assert_eq!(cell(profile::LIFT_ALL), naive(Lift::Everything));
                prop_assert_eq!(cell(profile::DENY), Action::Drop);
                for ids in lifts.clone() {
                    let mut wanted: Vec<&str> = ids.iter().map(|id| id.value.as_str()).collect();
                    wanted.sort_unstable();
                    let name = format!("without {}", wanted.join(", "));
                    let number = image.profiles.iter().position(|profile| profile.name == name).unwrap();
                    prop_assert_eq!(cell(number as u8), naive(Lift::Orders(ids)), "{}", name);
                }
            }
        }
    }
}
