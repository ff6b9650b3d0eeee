//! The compiler against a naive reading of the policy, and its remarks.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use probe_common::{
    Action, FOREVER, Reason, Verdict, class,
    limits::{MAX_PROFILES, MAX_STAGES, OVERRIDE_MAX_LEVELS},
    profile,
};
use proptest::prelude::*;

use super::{Image, N_SAMPLES, Query, compile, samples};
use crate::{
    diagnostic::{Diagnostic, Place},
    geo::{
        Location, location_of, read_database,
        test_database::{BOTH_FAMILIES, database, flat},
    },
    host::FieldChoice,
    instant::Instant,
    policy::{Exemption, Expectation, Located, Order, Policy, PrefixList, Rule, Selector, SelectorItem},
};

const CODES: [&str; 4] = ["AU", "CN", "RU", "US"];

/// Two networks of each country and family.
fn location() -> Arc<Location> {
    let mut networks = Vec::new();
    let names: Vec<(String, &str)> = CODES
        .iter()
        .enumerate()
        .flat_map(|(idx, code)| {
            [
                (format!("{}.0.0.0/8", 20 + idx), *code),
                (format!("{}.5.0.0/16", 100 + idx), *code),
                (format!("2001:db8:{idx}::/48"), *code),
                (format!("2400:{idx}::/32"), *code),
            ]
        })
        .collect();
    for (network, code) in &names {
        networks.push((network.as_str(), flat(code)));
    }
    let bytes = database(BOTH_FAMILIES, &networks);
    Arc::new(read_database("test.mmdb", bytes, FieldChoice::CountryFirst).unwrap())
}

fn at<T>(line: u32, value: T) -> Located<T> {
    let place = Place {
        file: "p.toml".to_owned(),
        line,
        column: 1,
    };
    Located { value, place }
}

fn policy() -> Policy {
    Policy {
        file: "p.toml".to_owned(),
        name: "p".to_owned(),
        default: Action::Pass,
        unknown: Action::Pass,
        lan: Action::Pass,
        orders: Vec::new(),
        allows: Vec::new(),
        denies: Vec::new(),
        exemptions: Vec::new(),
        tests: Vec::new(),
    }
}

fn rule(line: u32, action: Action, codes: &[&str], no_exemptions: bool) -> Rule {
    let items = codes.iter().map(|code| SelectorItem {
        code: (*code).to_owned(),
        place: at(line + 1, ()).place,
        group: None,
    });
    Rule {
        place: at(line, ()).place,
        action,
        selector: Selector::Places(items.collect()),
        no_exemptions,
    }
}

fn everywhere(action: Action) -> Rule {
    Rule {
        selector: Selector::Everywhere,
        ..rule(1, action, &[], false)
    }
}

fn order(line: u32, id: &str, effective: Option<u32>, until: Option<u32>, rules: Vec<Rule>) -> Order {
    Order {
        id: at(line, id.to_owned()),
        authority: format!("authority of {id}"),
        effective: effective.map(|instant| at(line + 1, Instant(instant))),
        until: until.map(|instant| at(line + 2, Instant(instant))),
        rules,
    }
}

fn list(line: u32, prefixes: &[&str], until: Option<u32>) -> PrefixList {
    PrefixList {
        prefixes: prefixes
            .iter()
            .map(|prefix| at(line, prefix.parse().unwrap()))
            .collect(),
        reason: "because".to_owned(),
        until: until.map(|until| at(line + 1, Instant(until))),
    }
}

fn exemption(line: u32, prefixes: &[&str], until: u32, orders: Option<&[&str]>) -> Exemption {
    Exemption {
        prefixes: prefixes
            .iter()
            .map(|prefix| at(line, prefix.parse().unwrap()))
            .collect(),
        reference: format!("R{line}"),
        reason: "customer".to_owned(),
        until: at(line + 1, Instant(until)),
        orders: orders.map(|ids| ids.iter().map(|id| at(line + 2, (*id).to_owned())).collect()),
    }
}

fn compiled(policy: &Policy, now: u32) -> Image {
    let (image, remarks) = compile(policy, "text", &location(), Instant(now));
    image.unwrap_or_else(|| panic!("{remarks:?}"))
}

fn remarks(policy: &Policy, now: u32) -> Vec<String> {
    let (image, remarks) = compile(policy, "text", &location(), Instant(now));
    assert_eq!(image.is_none(), crate::diagnostic::has_errors(&remarks));
    remarks.iter().map(Diagnostic::to_string).collect()
}

fn verdict(image: &Image, address: &str, now: u32) -> (Action, Reason) {
    let Verdict { action, reason, .. } = image.verdict(&Query {
        address: address.parse().unwrap(),
        now: Instant(now),
        failsafe: &[],
    });
    (action, reason)
}

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
                if rule.action == Action::Drop {
                    return Action::Drop;
                }
                spoken = true;
                break;
            }
        }
    }
    match code {
        _ if spoken || matches!(lift, Lift::Everything) => Action::Pass,
        "unknown" => policy.unknown,
        "lan" => policy.lan,
        _ => policy.default,
    }
}

/// The verdict for an address at an instant, read straight off the policy.
fn naive_verdict(policy: &Policy, location: &Location, query: &Query<'_>) -> Verdict {
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
            default,
            unknown,
            lan,
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
        let (image, remarks) = compile(&policy, "text", &location, Instant(now));
        let Some(image) = image else {
            let is_limit = |remark: &Diagnostic| remark.message.contains("changes ahead") || remark.message.contains("nested prefixes");
            prop_assert!(remarks.iter().any(is_limit), "{:?}", remarks);
            return Ok(());
        };
        let failsafe: IpNet = "21.0.0.0/26".parse().unwrap();
        for instant in now..75 {
            for address in ADDRESSES {
                for failsafe in [&[][..], &[failsafe]] {
                    let query = Query { address: address.parse().unwrap(), now: Instant(instant), failsafe };
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
                    let cell = image.matrix.cell(profile, class).unwrap();
                    let code = cell.stages_idx().map_or(cell.fixed_action(), |idx| image.stages[idx as usize].action_at(instant));
                    Action::from_code(code).unwrap()
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

#[test]
fn timed_cells_hold_their_changes_and_the_limit_is_exact() {
    let toggling = |n_changes: u32| {
        let mut policy = policy();
        for idx in 0..n_changes.div_ceil(2) {
            let until = (2 * idx + 1 < n_changes).then_some(2_000 + 200 * idx);
            let rules = vec![rule(3, Action::Drop, &["RU"], false)];
            policy.orders.push(order(
                10 * idx + 1,
                &format!("O{idx}"),
                Some(1_900 + 200 * idx),
                until,
                rules,
            ));
        }
        policy
    };
    let image = compiled(&toggling(MAX_STAGES as u32), 1_000);
    let pass = (Action::Pass, Reason::PolicyPass);
    let drop = (Action::Drop, Reason::PolicyDrop);
    for (now, expected) in [
        (0, pass),
        (1_899, pass),
        (1_900, drop),
        (1_999, drop),
        (2_000, pass),
        (2_100, drop),
        (2_200, pass),
        (4_000_000_000, pass),
    ] {
        assert_eq!(verdict(&image, "22.1.1.1", now), expected, "at {now}");
    }
    assert_eq!(
        image.stages.len(),
        1,
        "both profiles that change share their stages"
    );
    assert_eq!(
        remarks(&toggling(MAX_STAGES as u32 + 1), 1_000),
        [
            "p.toml:1:1: error: these orders change the verdict for RU 5 more times; the kernel can be told of 4 \
          changes ahead: `O0, O1, O2`\n    fix: move the later ones to a policy that is applied later"
        ]
    );
    let later = compiled(&toggling(MAX_STAGES as u32 + 1), 1_900);
    assert_eq!(
        verdict(&later, "22.1.1.1", 1_900),
        drop,
        "one change is over: it fits"
    );
}

#[test]
fn digest_changes_with_the_tables_and_with_what_is_over() {
    let mut policy = policy();
    let rules = vec![rule(3, Action::Drop, &["RU"], false)];
    policy.orders = vec![order(1, "A", Some(2_000), None, rules)];
    let digest = |policy: &Policy, now| compiled(policy, now).digest;
    assert_eq!(digest(&policy, 1_000), digest(&policy, 1_999));
    assert_ne!(
        digest(&policy, 1_999),
        digest(&policy, 2_000),
        "the order has begun"
    );
    let mut renamed = policy.clone();
    renamed.name = "other".to_owned();
    assert_eq!(
        digest(&renamed, 1_000),
        digest(&policy, 1_000),
        "the kernel is told no names"
    );
    let mut denying = policy.clone();
    denying.denies = vec![list(5, &["198.51.100.0/24"], None)];
    assert_ne!(digest(&denying, 1_000), digest(&policy, 1_000));
}

#[test]
fn places_that_the_database_lacks_are_remarked_on() {
    let mut policy = policy();
    let mut of_group = rule(20, Action::Drop, &["RU", "SY", "KP"], false);
    if let Selector::Places(items) = &mut of_group.selector {
        for item in items {
            item.group = Some("g".to_owned());
        }
    }
    policy.orders = vec![order(
        1,
        "A",
        None,
        None,
        vec![
            rule(10, Action::Drop, &["RU", "IR"], false),
            of_group,
            rule(30, Action::Drop, &["CU"], false),
        ],
    )];
    assert_eq!(
        remarks(&policy, 1_000),
        [
            "p.toml:11:1: warning: the database has no network in this country: `IR`",
            "p.toml:21:1: warning: the database has no network in this country (group \"g\"): `SY, KP`",
            "p.toml:30:1: warning: this rule matches nothing: the database has no network in any of its \
             countries: `CU`\n    fix: correct the countries, or take another database",
        ]
    );
}

#[test]
fn what_is_over_is_left_out_with_a_remark() {
    let mut policy = policy();
    policy.orders = vec![order(1, "A", None, Some(1_000), vec![everywhere(Action::Drop)])];
    policy.allows = vec![list(10, &["198.51.100.0/24"], Some(999))];
    policy.denies = vec![list(20, &["198.51.100.0/24"], Some(1_001))];
    policy.exemptions = vec![exemption(30, &["21.0.0.0/8"], 1_000, None)];
    assert_eq!(
        remarks(&policy, 1_000),
        [
            "p.toml:3:1: warning: the order \"A\" is over: `1970-01-01T00:16:40Z`\n    fix: remove it, or give \
             it a later end",
            "p.toml:11:1: warning: this allow list is over and is left out: `1970-01-01T00:16:39Z`\n    fix: \
             remove it, or give it a later end",
            "p.toml:31:1: warning: the exemption \"R30\" is over and is left out: `1970-01-01T00:16:40Z`\n    \
             fix: remove it, or give it a later end",
        ]
    );
    let image = compiled(&policy, 1_000);
    assert_eq!(image.overrides.len(), 1);
    assert_eq!(
        verdict(&image, "198.51.100.1", 1_000),
        (Action::Drop, Reason::Deny)
    );
}

#[test]
fn one_prefix_has_one_meaning() {
    let mut policy = policy();
    policy.allows = vec![
        list(10, &["198.51.100.0/24"], Some(2_000)),
        list(20, &["198.51.100.0/24"], None),
    ];
    let image = compiled(&policy, 1_000);
    assert_eq!(image.overrides.len(), 1);
    assert_eq!(image.overrides[0].value.until_s, FOREVER, "the later end holds");
    policy.denies = vec![list(30, &["198.51.100.0/24"], None)];
    assert_eq!(
        remarks(&policy, 1_000),
        [
            "p.toml:30:1: error: this prefix gets the profile \"deny\" here and \"lift all\" at p.toml:20:1: \
          `198.51.100.0/24`\n    fix: keep one of the two"
        ]
    );
}

#[test]
fn nested_ends_are_limited_to_what_the_kernel_looks_through() {
    let nest = |n: usize, outermost_until: Option<u32>| {
        let mut policy = policy();
        for idx in 0..n {
            let until = if idx == 0 { outermost_until } else { Some(2_000) };
            let prefix = format!("198.51.100.0/{}", 16 + idx);
            let prefix = prefix.parse::<IpNet>().unwrap().trunc().to_string();
            policy.denies.push(list(10 * idx as u32 + 1, &[&prefix], until));
        }
        policy
    };
    for outermost_until in [None, Some(2_000)] {
        assert_eq!(
            remarks(&nest(OVERRIDE_MAX_LEVELS, outermost_until), 1_000),
            [""; 0]
        );
        assert_eq!(
            remarks(&nest(OVERRIDE_MAX_LEVELS + 1, outermost_until), 1_000),
            [
                "p.toml:41:1: error: 5 nested prefixes that may be over one after the other; the kernel looks \
              through 4: `198.51.96.0/20 in 198.51.96.0/19 in 198.51.64.0/18 in 198.51.0.0/17 in 198.51.0.0/16`\
              \n    fix: remove one of them, or take away the end of an inner one"
            ]
        );
    }
    let mut deep = nest(OVERRIDE_MAX_LEVELS + 3, None);
    for deny in &mut deep.denies {
        deny.until = None;
    }
    assert_eq!(
        remarks(&deep, 1_000),
        [""; 0],
        "without ends, the first one found decides"
    );
}

#[test]
fn ended_longer_prefix_does_not_hide_a_live_shorter_one() {
    let mut policy = policy();
    policy.orders = vec![order(1, "A", None, None, vec![everywhere(Action::Drop)])];
    policy.exemptions = vec![
        exemption(10, &["21.0.0.0/24"], 2_000, None),
        exemption(20, &["21.0.0.0/8"], 3_000, None),
    ];
    let image = compiled(&policy, 1_000);
    for (now, reason) in [
        (1_999, Reason::Exempt),
        (2_000, Reason::Exempt),
        (3_000, Reason::PolicyDrop),
    ] {
        assert_eq!(verdict(&image, "21.0.0.1", now).1, reason, "at {now}");
    }
}

#[test]
fn profiles_are_shared_and_limited() {
    let with_combinations = |n: usize| {
        let mut policy = policy();
        for idx in 0..n {
            let id = format!("O{idx}");
            policy.orders.push(order(
                1,
                &id,
                None,
                None,
                vec![rule(1, Action::Drop, &["RU"], false)],
            ));
            for half in [0, 128] {
                let prefix = format!("198.51.{idx}.{half}/25");
                policy
                    .exemptions
                    .push(exemption(10 * idx as u32 + 10, &[&prefix], 2_000, Some(&[&id])));
            }
        }
        policy
    };
    let n_own = MAX_PROFILES - usize::from(profile::FIRST_OWN);
    let image = compiled(&with_combinations(n_own), 1_000);
    assert_eq!(image.profiles.len(), MAX_PROFILES);
    assert_eq!(image.profiles[3].name, "without O0");
    let refused = remarks(&with_combinations(n_own + 1), 1_000);
    assert!(
        refused[0].starts_with(
            "p.toml:621:1: error: this exemption is the one too many that lifts orders in a combination of its \
             own; a policy can have 61 combinations: `R620`"
        ),
        "{refused:?}"
    );
    let mut unknown = policy();
    unknown.exemptions = vec![exemption(10, &["21.0.0.0/8"], 2_000, Some(&["A"]))];
    assert_eq!(
        remarks(&unknown, 1_000),
        ["p.toml:12:1: error: no order has this id: `A`\n    fix: name an order of this policy"]
    );
}

#[test]
fn failed_tests_say_expected_got_and_why() {
    let mut policy = policy();
    policy.orders = vec![order(
        1,
        "A",
        None,
        Some(3_000),
        vec![rule(2, Action::Drop, &["RU"], false)],
    )];
    policy.denies = vec![list(10, &["20.0.0.0/24"], None)];
    policy.exemptions = vec![exemption(20, &["22.0.0.0/24"], 900, None)];
    let test = |line, address: &str, expect, instant: Option<u32>| Expectation {
        address: at(line, address.parse().unwrap()),
        expect,
        at: instant.map(|instant| at(line, Instant(instant))),
    };
    policy.tests = vec![
        test(30, "22.0.0.1", Action::Drop, None),
        test(31, "22.0.0.1", Action::Pass, Some(899)),
        test(32, "22.0.0.1", Action::Pass, Some(3_000)),
        test(33, "21.0.0.1", Action::Pass, None),
        test(40, "22.0.0.1", Action::Pass, None),
        test(41, "22.0.0.1", Action::Drop, Some(899)),
        test(42, "20.0.0.1", Action::Pass, None),
    ];
    assert_eq!(
        remarks(&policy, 1_000)[1..],
        [
            "p.toml:40:1: error: test failed: expected pass, got drop (class RU, policy_drop) at \
             1970-01-01T00:16:40Z: `22.0.0.1`\n    fix: correct the rules or the test",
            "p.toml:41:1: error: test failed: expected drop, got pass (class RU, exempt, 22.0.0.0/24 exemption \
             R20: customer) at 1970-01-01T00:14:59Z: `22.0.0.1`\n    fix: correct the rules or the test",
            "p.toml:42:1: error: test failed: expected pass, got drop (class AU, deny, 20.0.0.0/24 deny: because) \
             at 1970-01-01T00:16:40Z: `20.0.0.1`\n    fix: correct the rules or the test",
        ]
    );
}

#[test]
fn explanation_names_everything_that_led_to_the_verdict() {
    let mut policy = policy();
    policy.orders = vec![
        order(1, "A", None, None, vec![rule(2, Action::Drop, &["RU"], false)]),
        order(
            5,
            "B",
            Some(5_000),
            None,
            vec![rule(6, Action::Drop, &["RU"], false)],
        ),
    ];
    policy.exemptions = vec![exemption(20, &["22.0.0.0/24"], 2_000, None)];
    let image = compiled(&policy, 1_000);
    let failsafe = ["22.0.0.0/30".parse().unwrap()];
    let explain = |address: &str, now, failsafe| {
        image.explain(&Query {
            address: address.parse().unwrap(),
            now: Instant(now),
            failsafe,
        })
    };
    let explanation = explain("22.0.0.1", 1_000, &[]);
    assert_eq!((explanation.action, explanation.reason), ("pass", "exempt"));
    assert_eq!(explanation.class, "RU");
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_eq!(explanation.run, (ip("22.0.0.0"), ip("22.255.255.255")));
    assert_eq!(
        explanation.override_.as_deref(),
        Some("22.0.0.0/24 (exemption R20: customer) until 1970-01-01T00:33:20Z")
    );
    assert_eq!(
        explanation.orders,
        [("A".to_owned(), "authority of A".to_owned(), "drop")]
    );
    assert_eq!(explanation.changes_at, Some(Instant(2_000)));
    assert_eq!(explanation.failsafe, None);
    let after = explain("22.0.0.1", 2_000, &failsafe);
    assert_eq!(
        (after.reason, after.override_, after.changes_at),
        ("failsafe", None, None)
    );
    assert_eq!(after.failsafe, Some(failsafe[0]));
    assert_eq!(explain("22.0.0.9", 2_000, &failsafe).reason, "policy_drop");
}

#[test]
fn samples_hold_every_class_override_and_changed_prefix() {
    let mut policy = policy();
    policy.orders = vec![order(
        1,
        "A",
        None,
        None,
        vec![rule(2, Action::Drop, &["RU"], false)],
    )];
    policy.denies = vec![list(
        10,
        &["198.51.100.0/24", "2001:db8:77::/48", "169.254.0.0/16"],
        None,
    )];
    let previous = compiled(&policy, 1_000);
    policy.denies = vec![list(10, &["203.0.113.0/24"], None)];
    let mut image = compiled(&policy, 1_000);
    let networks = [
        ("20.0.0.0/8", flat("AU")),
        ("22.0.0.0/8", flat("RU")),
        ("22.7.0.0/16", flat("CN")),
    ];
    let other = database(BOTH_FAMILIES, &networks);
    let other = read_database("test.mmdb", other, FieldChoice::CountryFirst).unwrap();

    let sampled = samples(&image, Some(&previous), Instant(1_000));
    assert!(sampled.len() >= N_SAMPLES);
    assert!(sampled.is_sorted_by(|a, b| a.address < b.address), "each once");
    assert_eq!(
        sampled,
        samples(&image, Some(&previous), Instant(1_000)),
        "the same again"
    );
    let has = |sampled: &[super::Sample], address: &str| {
        let address: IpAddr = address.parse().unwrap();
        sampled.iter().any(|sample| sample.address == address)
    };
    for address in [
        "203.0.113.0",
        "203.0.113.255",
        "198.51.100.0",
        "198.51.100.255",
        "2001:db8:77::",
        "2001:db8:77:ffff:ffff:ffff:ffff:ffff",
        "10.0.0.0",
        "10.255.255.255",
        "fc00::",
        "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ] {
        assert!(has(&sampled, address), "{address}");
    }
    assert!(
        !has(&sampled, "169.254.0.0"),
        "link-local packets are answered before their place is looked up"
    );
    for is_v4 in [true, false] {
        for class in 0..image.location.classes.len() as u16 {
            assert!(
                sampled
                    .iter()
                    .any(|sample| sample.address.is_ipv4() == is_v4 && sample.expected.class == class),
                "class {class}, IPv4 {is_v4}"
            );
        }
    }
    for sample in &sampled {
        let query = Query {
            address: sample.address,
            now: Instant(1_000),
            failsafe: &[],
        };
        assert_eq!(sample.expected, naive_verdict(&policy, &image.location, &query));
    }

    image.location = Arc::new(other);
    let sampled = samples(&image, Some(&previous), Instant(1_000));
    for address in [
        "22.7.0.0",
        "22.7.255.255",
        "103.5.0.0",
        "103.5.255.255",
        "2400:2::",
        "21.0.0.0",
    ] {
        assert!(has(&sampled, address), "{address} is in a prefix that changed");
    }
    let class_of_lan = image.location.ranges_v4.class_of(0x0a00_0001);
    assert_eq!(class_of_lan, class::LAN);
}
