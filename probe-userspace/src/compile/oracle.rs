//! The userspace oracle: the verdict the kernel must give, computed from the image without the kernel's tables.

use std::net::IpAddr;

use ipnet::IpNet;
use probe_common::{Action, Decision, FOREVER, Reason, Verdict, limits::OVERRIDE_MAX_LEVELS, profile};
use serde::Serialize;

use super::{Image, Override};
use crate::{
    geo::{Address, Ranges, location_of},
    instant::Instant,
};

/// Where a packet goes: what services ask for. The default is a packet of an experimental protocol (253) to the
/// unspecified address, untagged, from no interface that has a name: one that is for no service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heading {
    /// Destination.
    pub destination: Option<IpAddr>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Destination port; `None` with a protocol that has ports: it cannot be read, as in a later fragment.
    pub port: Option<u16>,
    /// Interface it comes in by.
    pub interface: Option<String>,
    /// Outermost VLAN.
    pub vlan: Option<u16>,
    /// Whether it opens a connection: TCP SYN without ACK, QUIC Initial.
    pub opens: bool,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// Source address.
    pub address: IpAddr,
    /// Where the packet goes.
    pub heading: Heading,
    /// When.
    pub now: Instant,
    /// The host's failsafe prefixes; empty to ask the generation alone.
    pub failsafe: &'a [IpNet],
}

/// A verdict and everything that led to it.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The address asked about.
    pub address: IpAddr,
    /// `pass`, `drop`.
    pub action: &'static str,
    /// Name of the reason.
    pub reason: &'static str,
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
}

/// The order in which a packet is judged. `live_profile` is that of the longest live override, `action` that of
/// a profile's cell.
pub(super) fn judge(
    class: u16,
    live_profile: Option<u8>,
    is_failsafe: bool,
    action: impl Fn(u8) -> Decision,
) -> Verdict {
    let verdict = |action, reason| Verdict {
        action,
        reason,
        class,
    };
    let is_denied = live_profile == Some(profile::DENY);
    if !is_denied && action(profile::ALL_ORDERS) == Decision::PASS {
        return verdict(Action::Pass, Reason::PolicyPass);
    }
    if is_failsafe {
        return verdict(Action::Pass, Reason::Failsafe);
    }
    match live_profile {
        Some(profile::DENY) => verdict(Action::Drop, Reason::Deny),
        Some(profile) if action(profile) == Decision::PASS => verdict(Action::Pass, Reason::Exempt),
        _ => verdict(Action::Drop, Reason::PolicyDrop),
    }
}

impl Image {
    /// The verdict for a packet from an address whose frame has nothing special about it.
    pub fn verdict(&self, query: &Query<'_>) -> Verdict {
        let class = location_of(&self.location, query.address);
        let live = self.live_override(query.address, query.now);
        judge(
            class,
            live.map(|entry| entry.value.profile),
            query
                .failsafe
                .iter()
                .any(|prefix| prefix.contains(&query.address)),
            |profile| self.action(profile, class, query.now),
        )
    }

    /// The verdict, with everything that led to it.
    pub fn explain(&self, query: &Query<'_>) -> Explanation {
        let verdict = self.verdict(query);
        let orders = self.orders.iter().filter(|order| order.in_force(query.now));
        Explanation {
            address: query.address,
            action: verdict.action.name(),
            reason: verdict.reason.name(),
            class: self.location.classes.name(verdict.class).to_owned(),
            run: match query.address {
                IpAddr::V4(address) => run_of(&self.location.ranges_v4, address.into()),
                IpAddr::V6(address) => run_of(&self.location.ranges_v6, address.into()),
            },
            override_: self
                .live_override(query.address, query.now)
                .map(|entry| match entry.value.until_s {
                    FOREVER => format!("{} ({})", entry.prefix, entry.why),
                    until_s => format!("{} ({}) until {}", entry.prefix, entry.why, Instant(until_s)),
                }),
            failsafe: query
                .failsafe
                .iter()
                .filter(|prefix| prefix.contains(&query.address))
                .max_by_key(|prefix| prefix.prefix_len())
                .copied(),
            orders: orders
                .filter_map(|order| {
                    let action = order.action(verdict.class)?;
                    Some((order.id.clone(), order.authority.clone(), action.action().name()))
                })
                .collect(),
            changes_at: self.changes_at(query, verdict),
        }
    }

    /// The action of a cell at an instant. A cell that does not exist drops: it cannot be reached.
    fn action(&self, profile: u8, class: u16, now: Instant) -> Decision {
        let Some(cell) = self.matrix.cell(0, profile, class) else {
            return Decision::DROP;
        };
        match cell.stages_idx() {
            None => cell.fixed_decision(),
            Some(idx) => self
                .stages
                .get(idx as usize)
                .map_or(Decision::DROP, |stages| stages.decision_at(now.0)),
        }
    }

    /// The longest live override: the longest of all, or, while that is over, the next shorter one, as often as
    /// the kernel looks.
    fn live_override(&self, address: IpAddr, now: Instant) -> Option<&Override> {
        self.covering(address)
            .take(OVERRIDE_MAX_LEVELS)
            .find(|entry| entry.value.is_live(now.0))
    }

    /// All overrides that cover an address, longest first: each prefix length is tried in turn.
    fn covering(&self, address: IpAddr) -> impl Iterator<Item = &Override> {
        let host = IpNet::from(address);
        let lens = if self.overrides.is_empty() {
            0..=0
        } else {
            0..=host.prefix_len()
        };
        lens.rev().filter_map(move |prefix_len| {
            let prefix = IpNet::new(address, prefix_len).ok()?.trunc();
            let idx = self
                .overrides
                .binary_search_by(|entry| entry.prefix.cmp(&prefix))
                .ok()?;
            Some(&self.overrides[idx])
        })
    }

    /// The first instant after the query's at which the verdict is another one.
    fn changes_at(&self, query: &Query<'_>, verdict: Verdict) -> Option<Instant> {
        let mut instants: Vec<u32> = Vec::new();
        let mut profiles = vec![profile::ALL_ORDERS];
        for entry in self.covering(query.address) {
            instants.push(entry.value.until_s);
            profiles.push(entry.value.profile);
        }
        for profile in profiles {
            let cell = self.matrix.cell(0, profile, verdict.class);
            if let Some(stages) = cell
                .and_then(|cell| cell.stages_idx())
                .and_then(|idx| self.stages.get(idx as usize))
            {
                instants.extend(stages.until_s);
            }
        }
        instants.sort_unstable();
        instants
            .into_iter()
            .filter(|instant| *instant > query.now.0 && *instant != FOREVER)
            .map(Instant)
            .find(|now| {
                self.verdict(&Query {
                    now: *now,
                    ..query.clone()
                }) != verdict
            })
    }
}

fn run_of<A: Address>(ranges: &Ranges<A>, address: A) -> (IpAddr, IpAddr) {
    let (first, last) = ranges.run_of(address);
    (first.to_ip(), last.to_ip())
}
