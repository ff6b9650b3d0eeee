//! Prefix lists and exemptions to override entries.

use std::collections::BTreeSet;

use ipnet::IpNet;
use probe_common::{
    Decision, FOREVER, OverrideValue,
    limits::{MAX_PROFILES, OVERRIDE_MAX_LEVELS},
    profile,
};

use super::{
    Override,
    orders::{Lift, Phased, Profile},
};
use crate::{
    diagnostic::{Diagnostic, Place},
    instant::Instant,
    policy::{Located, Policy, PrefixList},
};

/// An override as the policy writes it, before anything is left out.
pub(super) struct Written {
    pub(super) entry: Override,
    pub(super) place: Place,
}

/// Every prefix of the policy's lists with its profile; adds the policy's own profiles.
pub(super) fn written(
    policy: &Policy,
    profiles: &mut Vec<Profile>,
    remarks: &mut Vec<Diagnostic>,
) -> Vec<Written> {
    let mut written = Vec::new();
    let lists = [
        ("allow", profile::LIFT_ALL, &policy.allows),
        ("deny", profile::DENY, &policy.denies),
    ];
    for (kind, profile, lists) in lists {
        for PrefixList {
            prefixes,
            reason,
            until,
        } in lists
        {
            let until = until.as_ref().map(|until| until.value);
            add(
                &mut written,
                prefixes,
                profile,
                until,
                &format!("{kind}: {reason}"),
            );
        }
    }
    for exemption in &policy.exemptions {
        let lift = Lift {
            orders: exemption
                .orders
                .as_ref()
                .map(|orders| lifted(policy, orders, remarks)),
            phases: Phased::new(&exemption.phases, Decision::PASS).phases,
            place: Some(exemption.until.place.clone()),
        };
        let Some(profile) = lifting_profile(profiles, lift) else {
            remarks.push(Diagnostic::error(
                exemption.until.place.clone(),
                &exemption.reference,
                format!(
                    "this exemption is the one too many that lifts orders in a combination of its own; a policy can \
                     have {} combinations",
                    MAX_PROFILES - usize::from(profile::FIRST_OWN)
                ),
                "let exemptions lift the same orders, and in the same phases",
            ));
            continue;
        };
        let why = format!("exemption {}: {}", exemption.reference, exemption.reason);
        add(
            &mut written,
            &exemption.prefixes,
            profile,
            Some(exemption.until.value),
            &why,
        );
    }
    written
}

fn add(
    written: &mut Vec<Written>,
    prefixes: &[Located<IpNet>],
    profile: u8,
    until: Option<Instant>,
    why: &str,
) {
    for prefix in prefixes {
        written.push(Written {
            entry: Override {
                prefix: prefix.value.trunc(),
                value: OverrideValue {
                    until_s: until.map_or(FOREVER, |until| until.0),
                    profile,
                    prefix_len: prefix.value.prefix_len(),
                    flags: 0,
                },
                why: why.to_owned(),
            },
            place: prefix.place.clone(),
        });
    }
}

/// Indexes of the orders with these ids.
fn lifted(policy: &Policy, ids: &[Located<String>], remarks: &mut Vec<Diagnostic>) -> BTreeSet<usize> {
    let mut lifted = BTreeSet::new();
    for id in ids {
        match policy.orders.iter().position(|order| order.id.value == id.value) {
            Some(idx) => {
                lifted.insert(idx);
            }
            None => remarks.push(Diagnostic::error(
                id.place.clone(),
                &id.value,
                "no order has this id",
                "name an order of this policy",
            )),
        }
    }
    lifted
}

/// The number of the profile that lifts the same, a new one if there is none yet.
fn lifting_profile(profiles: &mut Vec<Profile>, lift: Lift) -> Option<u8> {
    let same = profiles.iter().position(|known| match known {
        Profile::Lift(known) => known.means_the_same_as(&lift),
        Profile::AllOrders | Profile::Deny | Profile::Runtime(_) => false,
    });
    let idx = match same {
        Some(idx) => idx,
        None if profiles.len() < MAX_PROFILES => {
            profiles.push(Profile::Lift(lift));
            profiles.len() - 1
        }
        None => return None,
    };
    u8::try_from(idx).ok()
}

/// The entries for the kernel: sorted, each prefix once, without what is over.
pub(super) fn entries(
    written: Vec<Written>,
    now: Instant,
    profile_name: impl Fn(u8) -> String,
    remarks: &mut Vec<Diagnostic>,
) -> Vec<Override> {
    let mut live: Vec<Written> = written
        .into_iter()
        .filter(|written| written.entry.value.is_live(now.0))
        .collect();
    live.sort_by(|a, b| (a.entry.prefix, &a.place).cmp(&(b.entry.prefix, &b.place)));
    let mut kept: Vec<Written> = Vec::with_capacity(live.len());
    for next in live {
        match kept.last_mut() {
            Some(last) if last.entry.prefix == next.entry.prefix => {
                if last.entry.value.profile != next.entry.value.profile {
                    remarks.push(Diagnostic::error(
                        next.place,
                        next.entry.prefix.to_string(),
                        format!(
                            "this prefix gets the profile \"{}\" here and \"{}\" at {}",
                            profile_name(next.entry.value.profile),
                            profile_name(last.entry.value.profile),
                            last.place,
                        ),
                        "keep one of the two",
                    ));
                } else if last.entry.value.until_s < next.entry.value.until_s {
                    *last = next;
                }
            }
            _ => kept.push(next),
        }
    }
    refuse_deep_nesting(&kept, remarks);
    kept.into_iter().map(|written| written.entry).collect()
}

/// The kernel looks up again, with a shorter prefix, when what it found is over. Every entry up to the first
/// without an end may have to be looked at.
fn refuse_deep_nesting(sorted: &[Written], remarks: &mut Vec<Diagnostic>) {
    let mut covering: Vec<&Written> = Vec::new();
    for written in sorted {
        let prefix = written.entry.prefix;
        while covering
            .pop_if(|outer| !outer.entry.prefix.contains(&prefix))
            .is_some()
        {}
        covering.push(written);
        let is_timed = |written: &&&Written| written.entry.value.until_s != FOREVER;
        let n_timed = covering.iter().rev().take_while(is_timed).count();
        let n_looked_at = covering.len().min(n_timed + 1);
        if n_looked_at > OVERRIDE_MAX_LEVELS {
            let chain: Vec<String> = covering[covering.len() - n_looked_at..]
                .iter()
                .rev()
                .map(|outer| outer.entry.prefix.to_string())
                .collect();
            remarks.push(Diagnostic::error(
                written.place.clone(),
                chain.join(" in "),
                format!(
                    "{n_looked_at} nested prefixes that may be over one after the other; the kernel looks through \
                     {OVERRIDE_MAX_LEVELS}"
                ),
                "remove one of them, or take away the end of an inner one",
            ));
        }
    }
}
