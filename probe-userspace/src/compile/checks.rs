//! The compile itself, with its remarks.

use std::{collections::BTreeMap, sync::Arc};

use probe_common::profile;
use sha2::{Digest, Sha256};

use super::{
    FrameSettings, Image, OrderInfo, ProfileInfo, Scopes,
    image::digest,
    matrix::matrix,
    oracle::judge,
    orders::{Meaning, Profile},
    overrides::{Written, entries, written},
};
use crate::{
    diagnostic::{Diagnostic, Place, has_errors},
    geo::{ClassTable, Location, location_of},
    instant::Instant,
    policy::{Expectation, Policy, PrefixList, Rule, Selector},
};

/// Compiles a policy. Gives all remarks in one pass; the image is `None` if any of them is an error. `now`
/// decides which overrides and orders are over already, and when `[[test]]`s without `at` are judged.
/// `text` is the policy's text, for its digest.
pub fn compile(
    policy: &Policy,
    text: &str,
    location: &Arc<Location>,
    now: Instant,
    frame: &FrameSettings,
) -> (Option<Image>, Vec<Diagnostic>) {
    let mut remarks = Vec::new();
    let classes = &location.classes;
    let mut profiles = Profile::fixed();
    let written = written(policy, &mut profiles, &mut remarks);
    let meaning = Meaning {
        policy,
        orders: policy
            .orders
            .iter()
            .map(|order| OrderInfo::new(order, classes))
            .collect(),
        profiles,
    };
    let (matrix, stages) = matrix(&meaning, classes, now, &mut remarks);
    for test in &policy.tests {
        remarks.extend(failure(test, &meaning, &written, location, now));
    }
    remark_on_orders(policy, classes, now, &mut remarks);
    remark_on_ended_lists(policy, now, &mut remarks);
    let name = |profile: u8| {
        let profile = &meaning.profiles[usize::from(profile)];
        profile.name(&meaning.orders)
    };
    let overrides = entries(written, now, name, &mut remarks);
    remarks.sort_by(|a, b| a.place.cmp(&b.place));
    if has_errors(&remarks) {
        return (None, remarks);
    }
    let profiles = meaning
        .profiles
        .iter()
        .map(|profile| ProfileInfo {
            name: profile.name(&meaning.orders),
        })
        .collect();
    let image = Image {
        policy_name: policy.name.clone(),
        policy_sha256: Sha256::digest(text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        digest: digest(location, &matrix, &stages, &overrides),
        location: Arc::clone(location),
        matrix,
        stages,
        scopes: Scopes::default(),
        tiers: Vec::new(),
        tier_names: Vec::new(),
        redirects: Vec::new(),
        replies: policy.replies,
        events: policy.events,
        frame: frame.clone(),
        overrides,
        profiles,
        orders: meaning.orders,
    };
    (Some(image), remarks)
}

/// Judges a `[[test]]` at its own instant by the policy as written, with what is over by now: its instant may
/// lie before.
fn failure(
    test: &Expectation,
    meaning: &Meaning<'_>,
    written: &[Written],
    location: &Location,
    now: Instant,
) -> Option<Diagnostic> {
    let at = test.at.as_ref().map_or(now, |at| at.value);
    let address = test.address.value;
    let class = location_of(location, address);
    let live = written
        .iter()
        .map(|written| &written.entry)
        .filter(|entry| entry.prefix.contains(&address) && entry.value.is_live(at.0))
        .max_by_key(|entry| (entry.prefix.prefix_len(), entry.value.profile == profile::DENY));
    let verdict = judge(class, live.map(|entry| entry.value.profile), false, |profile| {
        meaning.action(&meaning.profiles[usize::from(profile)], class, at)
    });
    (verdict.action != test.expect.action()).then(|| {
        let by = live.map_or_else(String::new, |entry| format!(", {} {}", entry.prefix, entry.why));
        Diagnostic::error(
            test.address.place.clone(),
            address.to_string(),
            format!(
                "test failed: expected {}, got {} (class {}, {}{by}) at {at}",
                test.expect.action().name(),
                verdict.action.name(),
                location.classes.name(class),
                verdict.reason.name(),
            ),
            "correct the rules or the test",
        )
    })
}

/// Remarks on orders that are over and on places that the database does not know.
fn remark_on_orders(policy: &Policy, classes: &ClassTable, now: Instant, remarks: &mut Vec<Diagnostic>) {
    for order in &policy.orders {
        if let Some(until) = order.until.as_ref().filter(|until| until.value <= now) {
            remarks.push(Diagnostic::warning(
                until.place.clone(),
                until.value.to_string(),
                format!("the order \"{}\" is over", order.id.value),
                "remove it, or give it a later end",
            ));
        }
        for rule in &order.rules {
            remark_on_rule(rule, classes, remarks);
        }
    }
}

fn remark_on_rule(rule: &Rule, classes: &ClassTable, remarks: &mut Vec<Diagnostic>) {
    let Selector::Places(items) = &rule.selector else {
        return;
    };
    let mut missing: BTreeMap<(&Place, Option<&str>), Vec<&str>> = BTreeMap::new();
    let mut n_missing = 0;
    for item in items.iter().filter(|item| classes.class_of(&item.code).is_none()) {
        n_missing += 1;
        let codes = missing.entry((&item.place, item.group.as_deref())).or_default();
        codes.push(&item.code);
    }
    if n_missing == items.len() && n_missing > 0 {
        let codes: Vec<&str> = items.iter().map(|item| item.code.as_str()).collect();
        remarks.push(Diagnostic::warning(
            rule.place.clone(),
            codes.join(", "),
            "this rule matches nothing: the database has no network in any of its countries",
            "correct the countries, or take another database",
        ));
        return;
    }
    for ((place, group), codes) in missing {
        let of_group = group.map_or_else(String::new, |group| format!(" (group \"{group}\")"));
        remarks.push(Diagnostic::warning(
            place.clone(),
            codes.join(", "),
            format!("the database has no network in this country{of_group}"),
            "",
        ));
    }
}

/// Remarks on allows, denies and exemptions that are over.
fn remark_on_ended_lists(policy: &Policy, now: Instant, remarks: &mut Vec<Diagnostic>) {
    let list = |kind: &'static str| move |list: &PrefixList| Some((kind.to_owned(), list.until.clone()?));
    let exemptions = policy.exemptions.iter();
    let ends = policy
        .allows
        .iter()
        .filter_map(list("this allow list"))
        .chain(policy.denies.iter().filter_map(list("this deny list")))
        .chain(exemptions.map(|exemption| {
            let name = format!("the exemption \"{}\"", exemption.reference);
            (name, exemption.until.clone())
        }));
    for (name, until) in ends {
        if until.value <= now {
            remarks.push(Diagnostic::warning(
                until.place,
                until.value.to_string(),
                format!("{name} is over and is left out"),
                "remove it, or give it a later end",
            ));
        }
    }
}
