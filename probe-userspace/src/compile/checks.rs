//! The compile itself, with its remarks.

use std::{collections::BTreeMap, sync::Arc};

use probe_common::{Decision, Reason, profile};
use sha2::{Digest, Sha256};

use super::{
    FrameSettings, Image, OrderInfo, ProfileInfo, Scopes,
    matrix::matrix,
    oracle::{Judged, judge},
    orders::{Meaning, Profile},
    overrides::{Written, entries, written},
    runtime::runtime,
    scopes,
    services::ServiceBox,
    source::judged_source,
    tiers::{self, Strictness},
};
use crate::{
    diagnostic::{Diagnostic, Place, has_errors},
    exemption::KnownLifts,
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
    compile_with_lifts(policy, text, location, now, frame, &KnownLifts::default())
}

/// As [`compile`], for a host with run-time exemptions: the generation will know these lifts.
pub fn compile_with_lifts(
    policy: &Policy,
    text: &str,
    location: &Arc<Location>,
    now: Instant,
    frame: &FrameSettings,
    lifts: &KnownLifts,
) -> (Option<Image>, Vec<Diagnostic>) {
    let mut remarks = Vec::new();
    let classes = &location.classes;
    let boxes: Vec<ServiceBox> = policy.services.iter().map(ServiceBox::new).collect();
    let rows = scopes::rows(policy, &boxes, &mut remarks);
    let are_rows_refused = has_errors(&remarks);
    let scopes = scopes::scopes(policy, boxes, &rows);
    tiers::refuse_equal_keys(policy, &mut remarks);
    let mut profiles = Profile::fixed();
    let written = written(policy, &mut profiles, &mut remarks);
    let runtime = runtime(policy, lifts, &mut profiles, &mut remarks);
    let meaning = Meaning {
        policy,
        orders: policy
            .orders
            .iter()
            .map(|order| OrderInfo::new(order, classes, &rows))
            .collect(),
        profiles,
        rows,
        strictness: Strictness::new(&policy.tiers),
    };
    let (matrix, stages) = matrix(&meaning, classes, &scopes.row_names, now, &mut remarks);
    let asked = Asked {
        meaning: &meaning,
        written: &written,
        scopes: &scopes,
        location,
        frame,
        now,
    };
    // Without rows of their own, services would fail tests that hold.
    if !are_rows_refused {
        remarks.extend(policy.tests.iter().filter_map(|test| asked.failure(test)));
    }
    remark_on_orders(policy, classes, now, &mut remarks);
    remark_on_ended_lists(policy, now, &mut remarks);
    let name = |profile: u8| {
        let profile = &meaning.profiles[usize::from(profile)];
        profile.name(&meaning.orders, &policy.services, |decision| {
            name_of(policy, decision)
        })
    };
    let overrides = entries(written, now, name, &mut remarks);
    remarks.sort_by(|a, b| a.place.cmp(&b.place));
    if has_errors(&remarks) {
        return (None, remarks);
    }
    let profiles = (0..)
        .take(meaning.profiles.len())
        .map(|profile| ProfileInfo { name: name(profile) });
    let (tiers, tier_names) = tiers::tiers(policy);
    let mut image = Image {
        policy_name: policy.name.clone(),
        policy_sha256: Sha256::digest(text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        digest: [0; 32],
        location: Arc::clone(location),
        matrix,
        stages,
        scopes,
        tiers,
        tier_names,
        redirects: tiers::redirects(policy),
        replies: policy.replies,
        events: policy.events,
        frame: frame.clone(),
        overrides,
        runtime_profiles: runtime.profiles,
        runtime_known: runtime.known,
        profiles: profiles.collect(),
        orders: meaning.orders,
    };
    image.digest = image.kernel_digest();
    (Some(image), remarks)
}

/// How a policy names a decision: by its tier, or by its action.
fn name_of(policy: &Policy, decision: Decision) -> String {
    let tier = usize::from(decision.tier())
        .checked_sub(1)
        .and_then(|idx| policy.tiers.get(idx));
    tier.map_or_else(
        || decision.action().name().to_owned(),
        |tier| tier.name.value.clone(),
    )
}

/// What the tests of a policy are judged by.
struct Asked<'a> {
    meaning: &'a Meaning<'a>,
    written: &'a [Written],
    scopes: &'a Scopes,
    location: &'a Location,
    frame: &'a FrameSettings,
    now: Instant,
}

impl Asked<'_> {
    /// Judges a `[[test]]` at its own instant by the policy as written, with what is over by now: its instant may
    /// lie before.
    fn failure(&self, test: &Expectation) -> Option<Diagnostic> {
        let policy = self.meaning.policy;
        let at = test.at.as_ref().map_or(self.now, |at| at.value);
        let address = judged_source(test.address.value, &self.frame.nat64_prefixes);
        let class = location_of(self.location, address);
        let live = self
            .written
            .iter()
            .map(|written| &written.entry)
            .filter(|entry| entry.prefix.contains(&address) && entry.value.is_live(at.0))
            .max_by_key(|entry| (entry.prefix.prefix_len(), entry.value.profile == profile::DENY));
        let row = self.scopes.row_of(&test.heading, test.address.value);
        let judged = Judged {
            source: test.address.value,
            heading: &test.heading,
            class,
            runtime_profile: profile::ALL_ORDERS,
            live_profile: live.map(|entry| entry.value.profile),
            is_failsafe: false,
        };
        let (verdict, decision) = judge(&judged, |profile| {
            let profile = &self.meaning.profiles[usize::from(profile)];
            row.map_or(Decision::DROP, |row| {
                self.meaning.decision(row, profile, class, at)
            })
        });
        let tier = decision.tier();
        let is_met = (verdict.action, tier) == (test.expect.action(), test.expect.tier());
        // What opens a connection does not survive a drain.
        let is_drained = verdict.reason == Reason::PolicyDrain && test.expect == Decision::DROP;
        (!is_met && !is_drained).then(|| {
            let by = live.map_or_else(String::new, |entry| format!(", {} {}", entry.prefix, entry.why));
            let service = match (row, row.and_then(|row| self.scopes.row_names.get(row as usize))) {
                (None | Some(0), _) | (_, None) => String::new(),
                (Some(_), Some(name)) => format!(", for {name}"),
            };
            Diagnostic::error(
                test.address.place.clone(),
                test.address.value.to_string(),
                format!(
                    "test failed: expected {}, got {} (class {}, {}{service}{by}) at {at}",
                    name_of(policy, test.expect),
                    name_of(policy, Decision::with_tier(verdict.action, tier)),
                    self.location.classes.name(class),
                    verdict.reason.name(),
                ),
                "correct the rules or the test",
            )
        })
    }
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
