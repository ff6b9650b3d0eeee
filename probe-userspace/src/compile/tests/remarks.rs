//! What the compiler refuses and remarks on, to the letter.

use super::*;

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
        expect: Decision::new(expect),
        heading: Heading::default(),
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
