//! What a policy means once parsed. What is refused, and how, is shown by the goldens in `tests/broken`.

use probe_common::{Action, Decision};
use proptest::prelude::*;

use super::{Events, Policy, Selector, Treatment, parse};
use crate::{diagnostic::Severity, host};

const EXAMPLES: [&str; 6] = [
    include_str!("../../../policies/examples/allow-only.toml"),
    include_str!("../../../policies/examples/block-list.toml"),
    include_str!("../../../policies/examples/two-orders.toml"),
    include_str!("../../../policies/examples/worldwide-halt.toml"),
    include_str!("../../../policies/examples/migration-window.toml"),
    include_str!("../../../policies/examples/services.toml"),
];
const HOST_EXAMPLE: &str = include_str!("../../../policies/examples/cordon.toml");

fn parsed(text: &str) -> Policy {
    let (policy, remarks) = parse("p.toml", text);
    assert!(remarks.is_empty(), "{}", remarks[0]);
    policy.unwrap()
}

/// Remarks on a policy that is taken, as text.
fn warnings(text: &str) -> Vec<String> {
    let (policy, remarks) = parse("p.toml", text);
    assert!(policy.is_some(), "{}", remarks[0]);
    remarks
        .iter()
        .map(|remark| format!("{}: {}", remark.place.line, remark.message))
        .collect()
}

fn codes(selector: &Selector) -> Vec<&str> {
    match selector {
        Selector::Everywhere | Selector::AllSources => vec!["*"],
        Selector::Places(items) => items.iter().map(|item| item.code.as_str()).collect(),
    }
}

#[test]
fn defaults_are_the_documented_ones() {
    let policy = parsed("version = 1\ndefault = \"drop\"\nunknown = \"pass\"\n");
    assert_eq!((policy.name.as_str(), policy.file.as_str()), ("p", "p.toml"));
    assert_eq!(
        (policy.default, policy.unknown, policy.lan),
        (Decision::DROP, Decision::PASS, Decision::PASS)
    );
}

#[test]
fn everything_that_is_written_arrives() {
    let policy = parsed(EXAMPLES[1]);
    assert_eq!(policy.name, "block-list");
    let order = &policy.orders[0];
    assert_eq!(order.id.value, "embargo-2026");
    assert_eq!(
        codes(&order.rules[0].selector),
        ["RU", "BY", "IR", "KP", "SY", "CU"]
    );
    let Selector::Places(items) = &order.rules[0].selector else {
        panic!("the rule names places");
    };
    assert_eq!(items[1].group, None);
    assert_eq!(items[2].group.as_deref(), Some("E:1"));
    assert_eq!(items[5].group.as_deref(), Some("our-own"));
    assert_eq!(
        items[5].place.line, items[2].place.line,
        "a group's countries stand where the rule names it"
    );
    assert_eq!(
        policy.denies[0].prefixes[1].value.to_string(),
        "2001:db8:bad::/48"
    );
    assert_eq!(
        policy.denies[0].until.as_ref().unwrap().value.to_string(),
        "2031-01-01T00:00:00Z"
    );
    assert_eq!(policy.allows[0].until, None);
    let exemption = &policy.exemptions[0];
    assert_eq!(exemption.reference, "CASE-17");
    assert_eq!(exemption.orders.as_ref().unwrap()[0].value, "embargo-2026");
    assert_eq!(policy.tests.last().unwrap().expect, Decision::DROP);

    let policy = parsed(EXAMPLES[2]);
    assert_eq!(
        policy.orders[0].effective.as_ref().unwrap().value.to_string(),
        "2026-02-28T23:00:00Z"
    );
    assert!(policy.orders[0].rules[0].no_exemptions);
    assert!(!policy.orders[0].rules[1].no_exemptions);
    assert!(policy.exemptions[1].orders.is_none());
}

#[test]
fn instants_may_be_strings_too() {
    let with = |at: &str| {
        let test = format!("[[test]]\naddress = \"::1\"\nexpect = \"pass\"\nat = {at}\n");
        let policy = parsed(&format!(
            "version = 1\ndefault = \"drop\"\nunknown = \"pass\"\n{test}"
        ));
        policy.tests[0].at.as_ref().unwrap().value.0
    };
    assert_eq!(with("2026-03-01T01:00:00+01:00"), 1_772_323_200);
    assert_eq!(with("2026-03-01 00:00:00z"), 1_772_323_200);
    assert_eq!(with("\"2026-03-01T00:00:00Z\""), 1_772_323_200);
    assert_eq!(
        with("2106-02-07T06:28:14Z"),
        u32::MAX - 1,
        "the last instant before `for ever`"
    );
}

#[test]
fn country_codes_are_normalised_and_the_author_is_told() {
    let text = "version = 1\ndefault = \"pass\"\nunknown = \"pass\"\n[[order]]\nid = \"a\"\nauthority = \"b\"\n\
                [[order.rule]]\naction = \"drop\"\ncountries = [\"ru\",\n\"UK\",\n\"GB\", \"XK\"]\n";
    assert_eq!(
        warnings(text),
        [
            "9: country codes are written in capitals",
            "10: `UK` is not the ISO code and is read as `GB` (United Kingdom)",
            "11: the country is already in this list, in line 10",
        ]
    );
    let (policy, _) = parse("p.toml", text);
    assert_eq!(
        codes(&policy.unwrap().orders[0].rules[0].selector),
        ["RU", "GB", "XK"]
    );
}

#[test]
fn order_without_rules_and_unused_group_are_remarked_on() {
    let text = "version = 1\ndefault = \"pass\"\nunknown = \"pass\"\n[[order]]\nid = \"a\"\nauthority = \"b\"\n\
                [[group]]\nname = \"mine\"\ncountries = [\"DE\"]\n";
    assert_eq!(
        warnings(text),
        [
            "4: the order has no rules, so it says nothing",
            "8: no rule uses this group"
        ]
    );
}

#[test]
fn rule_is_dead_only_if_every_kind_of_source_met_another_first() {
    let order = |rules: &[&str]| {
        let mut text = "version = 1\ndefault = \"pass\"\nunknown = \"pass\"\n".to_owned();
        text.push_str("[[order]]\nid = \"a\"\nauthority = \"b\"\n");
        for rule in rules {
            text.push_str(&format!("[[order.rule]]\naction = \"drop\"\n{rule}\n"));
        }
        warnings(&text).len()
    };
    let (ru, ru_always) = (
        "countries = [\"RU\"]",
        "countries = [\"RU\"]\nno_exemptions = true",
    );
    let (all, all_always) = ("everywhere = true", "everywhere = true\nno_exemptions = true");
    assert_eq!(order(&[ru, ru]), 1);
    assert_eq!(
        order(&[ru, ru_always]),
        0,
        "for exempt sources the second one is the first"
    );
    assert_eq!(order(&[ru_always, ru]), 1);
    assert_eq!(order(&[ru_always, ru_always]), 1);
    assert_eq!(order(&[all, ru]), 1);
    assert_eq!(order(&[all, ru_always]), 0);
    assert_eq!(order(&[all_always, ru_always]), 1);
    assert_eq!(order(&[ru, all]), 0);
    assert_eq!(order(&[all, all]), 1);
    assert_eq!(
        order(&[
            "countries = [\"IR\", \"SY\"]",
            "countries = [\"KP\"]",
            "groups = [\"E:1\"]"
        ]),
        1
    );
    assert_eq!(
        order(&["countries = [\"IR\", \"SY\"]", "groups = [\"E:1\"]"]),
        0,
        "KP is left"
    );
}

#[test]
fn long_lists_of_remarks_are_cut_and_counted() {
    let keys: String = (0..2000).map(|key| format!("k{key} = 1\n")).collect();
    let (policy, remarks) = parse("p.toml", &keys);
    assert!(policy.is_none());
    assert_eq!(remarks.len(), super::limits::MAX_REMARKS + 1);
    assert_eq!(remarks.last().unwrap().message, "1503 more remarks are not shown");
}

#[test]
fn largest_file_on_one_line_takes_no_more_than_linear_time() {
    // A million prefixes behind each other: with a place found by counting from the line start this would not end.
    let mut text =
        "version = 1\ndefault = \"pass\"\nunknown = \"pass\"\n[[deny]]\nreason = \"é\"\nprefixes = ["
            .to_owned();
    for n in 0..400_000u32 {
        text.push_str(&format!("\"{}/32\",", std::net::Ipv4Addr::from(n << 4)));
    }
    text.push(']');
    let policy = parsed(&text);
    assert_eq!(policy.denies[0].prefixes.len(), 400_000);
    let last = policy.denies[0].prefixes.last().unwrap();
    assert_eq!(last.place.line, 6);
    assert!(last.place.column > 6_000_000);
}

/// Parses as both kinds of file: no panic, and a refusal is never without a reason.
fn assert_refusals_have_a_reason(text: &str) {
    let (policy, policy_remarks) = parse("p.toml", text);
    let (host, host_remarks) = host::parse("h.toml", text);
    for (taken, remarks) in [(policy.is_some(), policy_remarks), (host.is_some(), host_remarks)] {
        let refused = remarks.iter().any(|remark| remark.severity == Severity::Error);
        assert_eq!(taken, !refused, "{remarks:?}\n{text}");
        for remark in remarks {
            let shown = remark.to_string();
            assert!(
                !remark.message.ends_with('.') && !remark.fix.ends_with('.'),
                "{shown}"
            );
            assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        }
    }
}

/// A piece of one of the examples, or something that breaks them.
fn piece() -> impl Strategy<Value = String> {
    let lines: Vec<String> = EXAMPLES
        .iter()
        .chain([&HOST_EXAMPLE])
        .flat_map(|text| text.lines())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    prop_oneof![
        6 => proptest::sample::select(lines),
        1 => "[\\[\\]{}\"'=.,#a-z0-9 \\\\\n-]{0,12}",
        1 => "\\PC{0,8}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_text_is_refused_with_a_reason_or_taken(text in any::<String>()) {
        assert_refusals_have_a_reason(&text);
    }

    #[test]
    fn any_sequence_of_example_lines_is_refused_with_a_reason_or_taken(
        pieces in proptest::collection::vec(piece(), 0..25),
    ) {
        assert_refusals_have_a_reason(&pieces.join("\n"));
    }

    #[test]
    fn any_mutated_example_is_refused_with_a_reason_or_taken(
        which in 0..=EXAMPLES.len(),
        edits in proptest::collection::vec((0.0..1.0f64, 0..20usize, "[\\[\\]{}\"'=.,#a-z0-9\n/:-]{0,6}|\\PC{0,3}"), 1..6),
    ) {
        let mut text = EXAMPLES.get(which).copied().unwrap_or(HOST_EXAMPLE).to_owned();
        for (at, n_removed, inserted) in edits {
            let boundary = |mut offset: usize| {
                offset = offset.min(text.len());
                while !text.is_char_boundary(offset) {
                    offset -= 1;
                }
                offset
            };
            let start = boundary((text.len() as f64 * at) as usize);
            let end = boundary(start + n_removed).max(start);
            text.replace_range(start..end, &inserted);
        }
        assert_refusals_have_a_reason(&text);
    }
}

#[test]
fn tiers_services_and_phases_arrive() {
    let policy = parsed(EXAMPLES[5]);
    assert!(policy.replies);
    assert_eq!(
        policy.events,
        Some(Events {
            drops: 1,
            passes: 0,
            per_second: 500,
            source_bits: [24, 48]
        })
    );
    let names: Vec<&str> = policy.tiers.iter().map(|tier| tier.name.value.as_str()).collect();
    assert_eq!(names, ["reduced", "slow", "second-host"]);
    assert_eq!(policy.tiers[0].treatment, Treatment::Mark { dscp: 1 });
    let Treatment::Redirect { interface, next_hop } = &policy.tiers[2].treatment else {
        panic!("the third tier redirects");
    };
    assert_eq!(
        (interface.value.as_str(), *next_hop),
        ("eth1", Some([2, 0, 0, 0, 0, 2]))
    );
    assert_eq!(policy.services[0].ports, [80..=80, 443..=443, 8000..=8099]);
    assert_eq!(policy.services[1].protocols, [6, 17]);
    assert_eq!(policy.services[2].vlans, [40]);
    let rules = &policy.orders[0].rules;
    assert_eq!(rules[1].decision, Decision::with_tier(Action::Limit, 2));
    assert_eq!(rules[1].services.as_deref(), Some(&[1][..]));
    assert_eq!(
        (rules[3].decision, &rules[3].services),
        (Decision::new(Action::Reject), &None)
    );
    assert_eq!(policy.tests[1].heading.port, Some(443));

    let policy = parsed(EXAMPLES[4]);
    assert_eq!(policy.orders[0].rules[0].decision, Decision::DROP);
    let exemption = &policy.exemptions[0];
    assert_eq!(exemption.phases.len(), 3);
    assert_eq!(
        exemption.until, exemption.phases[2].until,
        "the last phase ends it"
    );
}

#[test]
fn a_direction_holds_for_what_is_stopped_and_a_plain_tier_is_another_name() {
    let text = "version = 1\ndefault = \"nothing\"\nunknown = \"pass\"\nreplies = false\n\
                [[tier]]\nname = \"nothing\"\naction = \"drop\"\n\
                [[order]]\nid = \"a\"\nauthority = \"b\"\n[[order.rule]]\naction = \"reject\"\ndirection = \"both\"\n\
                countries = [\"RU\"]\nphases = [{ until = 2027-01-01T00:00:00Z, action = \"drain\" }, \
                { until = 2027-02-01T00:00:00Z, action = \"nothing\" }]\n";
    let policy = parsed(text);
    assert!(!policy.replies);
    assert_eq!(policy.default, Decision::DROP);
    let rule = &policy.orders[0].rules[0];
    assert_eq!(rule.decision, Decision::new(Action::Reject).both());
    assert_eq!(rule.phases[0].decision, Decision::new(Action::Drain));
    assert_eq!(rule.phases[1].decision, Decision::DROP.both());
}

#[test]
fn a_rule_of_a_service_is_dead_behind_rules_for_all_or_for_the_same() {
    let order = |rules: &[&str]| {
        let mut text = "version = 1\ndefault = \"pass\"\nunknown = \"pass\"\n".to_owned();
        text.push_str(
            "[[service]]\nname = \"web\"\nports = [443]\n[[service]]\nname = \"dns\"\nports = [53]\n",
        );
        text.push_str("[[order]]\nid = \"z\"\nauthority = \"b\"\n[[order.rule]]\naction = \"pass\"\n");
        text.push_str("countries = [\"DE\"]\nservices = [\"web\", \"dns\"]\n");
        text.push_str("[[order]]\nid = \"a\"\nauthority = \"b\"\n");
        for services in rules {
            text.push_str(&format!(
                "[[order.rule]]\naction = \"drop\"\ncountries = [\"RU\"]\n{services}\n"
            ));
        }
        warnings(&text).len()
    };
    let (web, dns, both) = (
        "services = [\"web\"]",
        "services = [\"dns\"]",
        "services = [\"web\", \"dns\"]",
    );
    assert_eq!(order(&[web, web]), 1);
    assert_eq!(order(&[web, dns]), 0);
    assert_eq!(order(&[web, both]), 0, "dns is left");
    assert_eq!(order(&[both, web]), 1);
    assert_eq!(order(&[web, dns, both]), 1);
    assert_eq!(order(&["", web]), 1);
    assert_eq!(order(&[web, dns, ""]), 0, "packets of no service are left");
}
