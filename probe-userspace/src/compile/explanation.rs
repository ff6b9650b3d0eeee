//! Explanations: a verdict with everything that led to it.

use std::net::IpAddr;

use ipnet::IpNet;
use probe_common::{Decision, FOREVER, Verdict, profile};
use serde::Serialize;

use super::{Heading, Image, Query, tiers};
use crate::{
    geo::{Address, Ranges},
    instant::Instant,
};

/// Changes ahead that an explanation tells.
const MAX_CHANGES: usize = 8;

/// A verdict and everything that led to it.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The address asked about.
    pub address: IpAddr,
    /// The IPv4 address inside it, if that is what is judged.
    pub judged_as: Option<IpAddr>,
    /// Name of the action.
    pub action: &'static str,
    /// Name of the reason.
    pub reason: &'static str,
    /// The tier that the action has its parameters from.
    pub tier: Option<TierName>,
    /// What the packet is for: the names of the services, or what it may be for.
    pub service: Option<String>,
    /// Class name: a country code, `unknown` or `lan`.
    pub class: String,
    /// First and last address of the run of this class around the address.
    pub run: (IpAddr, IpAddr),
    /// The override that covers it, if one is live.
    #[serde(rename = "override")]
    pub override_: Option<String>,
    /// The failsafe prefix that covers it.
    pub failsafe: Option<IpNet>,
    /// The orders that speak about the class now, with what each says: (id, authority, action).
    pub orders: Vec<(String, String, &'static str)>,
    /// When the verdict changes next, if it does.
    pub changes_at: Option<Instant>,
    /// The changes ahead, the next one first.
    pub changes: Vec<Change>,
    /// Services for which the verdict is another one; asked for only if nothing was said about where the packet goes.
    pub other_services: Vec<OtherService>,
}

/// A tier by name, with its parameters in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TierName {
    /// Name.
    pub name: String,
    /// Parameters.
    pub parameters: String,
}

/// A change of the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// From when on.
    pub at: Instant,
    /// Name of the action then.
    pub action: &'static str,
    /// Name of the reason then.
    pub reason: &'static str,
    /// Name of the tier then.
    pub tier: Option<String>,
}

/// A service with another verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherService {
    /// Its name; several names for packets that are for all of them.
    pub service: String,
    /// Name of the action.
    pub action: &'static str,
    /// Name of the reason.
    pub reason: &'static str,
    /// Name of the tier.
    pub tier: Option<String>,
}

impl Image {
    /// The verdict, with everything that led to it.
    pub fn explain(&self, query: &Query<'_>) -> Explanation {
        let (verdict, tier) = self.decide(query);
        let address = self.judged_source(query.address);
        let row = self.scopes.row_of(&query.heading, query.address).unwrap_or(0);
        let changes = self.changes(query, row);
        Explanation {
            address: query.address,
            judged_as: (address != query.address).then_some(address),
            action: verdict.action.name(),
            reason: verdict.reason.name(),
            tier: self.tier(verdict, tier),
            service: self.scopes.row_names.get(row as usize).cloned(),
            class: self.location.classes.name(verdict.class).to_owned(),
            run: match address {
                IpAddr::V4(address) => run_of(&self.location.ranges_v4, address.into()),
                IpAddr::V6(address) => run_of(&self.location.ranges_v6, address.into()),
            },
            override_: self
                .live_override(address, query.now)
                .map(|entry| match entry.value.until_s {
                    FOREVER => format!("{} ({})", entry.prefix, entry.why),
                    until_s => format!("{} ({}) until {}", entry.prefix, entry.why, Instant(until_s)),
                }),
            failsafe: query
                .failsafe
                .iter()
                .filter(|prefix| prefix.contains(&address) || prefix.contains(&query.address))
                .max_by_key(|prefix| prefix.prefix_len())
                .copied(),
            orders: self.speaking(row, verdict.class, query.now),
            changes_at: changes.first().map(|change| change.at),
            changes,
            other_services: self.other_services(query),
        }
    }

    /// Name and parameters of the tier that a verdict comes with.
    pub fn tier(&self, verdict: Verdict, tier: u8) -> Option<TierName> {
        let name = self.tier_name(tier)?;
        let parameters = self.tiers.get(usize::from(tier))?;
        let decision = Decision::with_tier(verdict.action, tier);
        Some(TierName {
            name,
            parameters: tiers::describe(decision, parameters, &self.redirects),
        })
    }

    fn tier_name(&self, tier: u8) -> Option<String> {
        match tier {
            0 => None,
            tier => self.tier_names.get(usize::from(tier)).cloned(),
        }
    }

    /// The orders that say something about packets of a class that take a row: id, authority, action.
    pub fn speaking(&self, row: u32, class: u16, now: Instant) -> Vec<(String, String, &'static str)> {
        let rows = self.scopes.possible_rows(row);
        let in_force = self.orders.iter().filter(|order| order.in_force(now));
        in_force
            .filter_map(|order| {
                let decisions = rows.iter().filter_map(|row| order.decision(*row, class, now));
                let action = decisions.map(Decision::action).max()?;
                Some((order.id.clone(), order.authority.clone(), action.name()))
            })
            .collect()
    }

    /// The instants after the query's at which the verdict becomes another one.
    fn changes(&self, query: &Query<'_>, row: u32) -> Vec<Change> {
        let address = self.judged_source(query.address);
        let mut before = self.decide(query);
        let mut instants: Vec<u32> = Vec::new();
        let mut profiles = vec![profile::ALL_ORDERS];
        for (until, key) in query.runtime {
            instants.push(until.0);
            profiles.push(self.runtime_profiles[usize::from(*key)]);
        }
        for entry in self.covering(address) {
            instants.push(entry.value.until_s);
            profiles.push(entry.value.profile);
        }
        for profile in profiles {
            let cell = self.matrix.cell(row, profile, before.0.class);
            if let Some(stages) = cell
                .and_then(|cell| cell.stages_idx())
                .and_then(|idx| self.stages.get(idx as usize))
            {
                instants.extend(stages.until_s);
            }
        }
        instants.retain(|instant| *instant > query.now.0 && *instant != FOREVER);
        instants.sort_unstable();
        instants.dedup();
        let mut changes = Vec::new();
        for at in instants.into_iter().map(Instant) {
            let after = self.decide(&Query {
                now: at,
                ..query.clone()
            });
            if after != before {
                changes.push(Change {
                    at,
                    action: after.0.action.name(),
                    reason: after.0.reason.name(),
                    tier: self.tier_name(after.1),
                });
                before = after;
            }
            if changes.len() == MAX_CHANGES {
                break;
            }
        }
        changes
    }

    /// If nothing was said about where the packet goes: the services to which it would fare otherwise.
    fn other_services(&self, query: &Query<'_>) -> Vec<OtherService> {
        if query.heading != Heading::default() {
            return Vec::new();
        }
        let here = self.decide(query);
        let rows = self.scopes.telling_rows().into_iter();
        rows.filter_map(|row| {
            let name = self.scopes.row_names.get(row as usize)?;
            let (verdict, decision) = self.decide_in_row(query, Some(row));
            let there = (verdict, decision.tier());
            (there != here).then(|| OtherService {
                service: name.clone(),
                action: there.0.action.name(),
                reason: there.0.reason.name(),
                tier: self.tier_name(there.1),
            })
        })
        .collect()
    }
}

fn run_of<A: Address>(ranges: &Ranges<A>, address: A) -> (IpAddr, IpAddr) {
    let (first, last) = ranges.run_of(address);
    (first.to_ip(), last.to_ip())
}
