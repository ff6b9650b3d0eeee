//! Tiers: how strict one is beside another, and what the kernel is given of them.

use std::collections::BTreeMap;

use probe_common::{Action, BYTE_COST_SHIFT, Decision, Tier, limit_per, name_key};

use crate::{
    diagnostic::Diagnostic,
    policy::{self, Located, Policy, Treatment},
};

const NS_PER_S: u64 = 1_000_000_000;
/// The default burst is what arrives at the rate in this part of a second.
const DEFAULT_BURST_DIVISOR: u64 = 10;
/// The longest ordinary frame: a burst below it would let nothing of full size start at once.
const MIN_DEFAULT_BURST_BYTES: u64 = 1514;

/// Which of two decisions is stricter.
///
/// The action decides: pass < count < mark < limit < redirect < drain < reject < drop. Among limits the lower packet
/// rate is stricter, then the lower byte rate, an absent one being unlimited. Among equals, and among marks and
/// redirects, the tier that stands first in the file is.
#[derive(Clone, Debug, Default)]
pub(super) struct Strictness {
    /// By index of the tier: larger is stricter among tiers of one action.
    ranks: Vec<usize>,
}

impl Strictness {
    pub(super) fn new(tiers: &[policy::Tier]) -> Self {
        let rates = |tier: &policy::Tier| match tier.treatment {
            Treatment::Limit {
                packets_per_s,
                bytes_per_s,
                ..
            } => (packets_per_s.unwrap_or(u64::MAX), bytes_per_s.unwrap_or(u64::MAX)),
            Treatment::Plain(_) | Treatment::Mark { .. } | Treatment::Redirect { .. } => (0, 0),
        };
        let mut strictest_first: Vec<usize> = (0..tiers.len()).collect();
        strictest_first.sort_by_key(|idx| rates(&tiers[*idx]));
        let mut ranks = vec![0; tiers.len() + 1];
        for (place, idx) in strictest_first.iter().enumerate() {
            ranks[idx + 1] = tiers.len() - place;
        }
        Self { ranks }
    }

    fn key(&self, decision: Decision) -> (u8, usize) {
        let rank = self.ranks.get(usize::from(decision.tier()));
        (decision.action_code(), rank.copied().unwrap_or(0))
    }

    /// The stricter of two answers. It holds for both directions if one of them does: what is stopped by one
    /// authority's order alone is stopped for both by the other's.
    pub(super) fn stricter(&self, a: Decision, b: Decision) -> Decision {
        let stricter = if self.key(a) >= self.key(b) { a } else { b };
        let is_stopped = matches!(stricter.action(), Action::Reject | Action::Drop);
        if is_stopped && (a.is_both() || b.is_both()) {
            stricter.both()
        } else {
            stricter
        }
    }

    /// The less strict of two answers; of equals the one for one direction only.
    pub(super) fn milder(&self, a: Decision, b: Decision) -> Decision {
        let key = |decision: Decision| (self.key(decision), decision.is_both());
        if key(a) <= key(b) { a } else { b }
    }
}

/// The kernel's form of the policy's tiers, and their names; element 0 is unused. Empty if there are none.
pub(super) fn tiers(policy: &Policy) -> (Vec<Tier>, Vec<String>) {
    if policy.tiers.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let none = (Tier::default(), String::new());
    let tiers = policy
        .tiers
        .iter()
        .map(|tier| (compiled(&tier.treatment), tier.name.value.clone()));
    std::iter::once(none).chain(tiers).unzip()
}

fn compiled(treatment: &Treatment) -> Tier {
    match treatment {
        Treatment::Plain(_) => Tier::default(),
        Treatment::Mark { dscp } => Tier {
            dscp: *dscp,
            ..Tier::default()
        },
        Treatment::Limit {
            packets_per_s,
            bytes_per_s,
            burst_packets,
            burst_bytes,
            per_class,
        } => {
            let (packet_cost_ns, packet_ahead_ns) = packets_per_s
                .map(|rate| packet_costs(rate, burst_packets.unwrap_or(rate / DEFAULT_BURST_DIVISOR)))
                .unwrap_or_default();
            let default_burst = |rate: u64| (rate / DEFAULT_BURST_DIVISOR).max(MIN_DEFAULT_BURST_BYTES);
            let (byte_cost, byte_ahead_ns) = bytes_per_s
                .map(|rate| byte_costs(rate, burst_bytes.unwrap_or_else(|| default_burst(rate))))
                .unwrap_or_default();
            Tier {
                packet_cost_ns,
                packet_ahead_ns,
                byte_cost,
                byte_ahead_ns,
                limit_per: if *per_class {
                    limit_per::CLASS
                } else {
                    limit_per::SOURCE
                },
                ..Tier::default()
            }
        }
        Treatment::Redirect { interface, next_hop } => Tier {
            target: name_key(&interface.value),
            next_hop: next_hop.unwrap_or_default(),
            ..Tier::default()
        },
    }
}

/// What a packet costs, rounded up so that the rate is never exceeded, and how far packets may run ahead: all of a
/// burst but the packet that is judged.
fn packet_costs(per_s: u64, burst: u64) -> (u64, u64) {
    let cost = NS_PER_S.div_ceil(per_s);
    (cost, (burst.max(1) - 1).saturating_mul(cost))
}

/// The same for bytes. A packet that begins within the burst passes whole.
fn byte_costs(per_s: u64, burst: u64) -> (u64, u64) {
    let cost = (NS_PER_S << BYTE_COST_SHIFT).div_ceil(per_s);
    let ahead = (u128::from(burst.max(1) - 1) * u128::from(cost)) >> BYTE_COST_SHIFT;
    (cost, u64::try_from(ahead).unwrap_or(u64::MAX))
}

/// The interfaces that redirects go to, each once.
pub(super) fn redirects(policy: &Policy) -> Vec<String> {
    let mut names: Vec<String> = redirect_interfaces(policy)
        .map(|interface| interface.value.clone())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn redirect_interfaces(policy: &Policy) -> impl Iterator<Item = &Located<String>> {
    policy.tiers.iter().filter_map(|tier| match &tier.treatment {
        Treatment::Redirect { interface, .. } => Some(interface),
        Treatment::Plain(_) | Treatment::Mark { .. } | Treatment::Limit { .. } => None,
    })
}

/// Refuses two interface names that the kernel's tables could not tell apart.
pub(super) fn refuse_equal_keys(policy: &Policy, remarks: &mut Vec<Diagnostic>) {
    let of_services = policy.services.iter().flat_map(|service| &service.interfaces);
    let mut names: BTreeMap<u32, &Located<String>> = BTreeMap::new();
    for name in redirect_interfaces(policy).chain(of_services) {
        let first = *names.entry(name_key(&name.value)).or_insert(name);
        if first.value != name.value {
            remarks.push(Diagnostic::error(
                name.place.clone(),
                &name.value,
                format!(
                    "the kernel's tables cannot tell this interface from \"{}\" at {}: their names have one hash",
                    first.value, first.place
                ),
                "rename one of the two interfaces",
            ));
        }
    }
}

/// The parameters of a tier, for explanations.
pub(super) fn describe(decision: Decision, tier: &Tier, redirects: &[String]) -> String {
    match decision.action() {
        Action::Mark => format!("dscp {}", tier.dscp),
        Action::Limit => {
            let mut parts = Vec::new();
            // Costs are rounded up: rates are rounded to what was written.
            let ns = NS_PER_S + tier.packet_cost_ns / 2;
            if let Some(rate) = ns.checked_div(tier.packet_cost_ns) {
                let burst = tier.packet_ahead_ns / tier.packet_cost_ns + 1;
                parts.push(format!("{rate} packets/s, {burst} at once"));
            }
            if tier.byte_cost != 0 {
                let cost = u128::from(tier.byte_cost);
                let burst = (u128::from(tier.byte_ahead_ns) << BYTE_COST_SHIFT).div_ceil(cost) + 1;
                let rate = ((u128::from(NS_PER_S) << BYTE_COST_SHIFT) + cost / 2) / cost;
                parts.push(format!("{rate} bytes/s, {burst} at once"));
            }
            parts.push(match tier.limit_per {
                limit_per::CLASS => "all sources of a place together".to_owned(),
                _ => "each source by itself".to_owned(),
            });
            parts.join("; ")
        }
        Action::Redirect => {
            let name = redirects.iter().find(|name| name_key(name) == tier.target);
            let interface = name.map_or("?", String::as_str);
            match tier.next_hop {
                [0, 0, 0, 0, 0, 0] => format!("out of {interface}"),
                mac => {
                    let mac: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
                    format!("out of {interface} to {}", mac.join(":"))
                }
            }
        }
        Action::Pass | Action::Count | Action::Drain | Action::Reject | Action::Drop => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use probe_common::gcra;

    use super::*;

    #[test]
    fn costs_are_those_of_the_rate_and_never_below_it() {
        assert_eq!(packet_costs(10, 3), (100_000_000, 200_000_000));
        assert_eq!(packet_costs(3, 1), (333_333_334, 0), "rounded up");
        assert_eq!(packet_costs(10_000_000, 1).0, 100);
        // 125 MB/s is a gigabit per second: 8 ns a byte.
        assert_eq!(byte_costs(125_000_000, 1001), (8 << BYTE_COST_SHIFT, 8_000));
        // 100 Gbit/s: 0.08 ns a byte, to within one part in a thousand.
        assert_eq!(byte_costs(12_500_000_000, 1).0, 5_243);
        assert_eq!(byte_costs(1, u64::MAX).1, u64::MAX, "no overflow");
    }

    /// Sends packets of one length at a rate for some seconds; how many conform.
    fn sent(tier: &Tier, bytes: u64, per_s: u64, seconds: u64) -> u64 {
        let (mut packets, mut total) = (0, 0);
        let mut n_passed = 0;
        let start = NS_PER_S;
        for tick in 0..per_s * seconds {
            let now = start + tick * (NS_PER_S / per_s);
            let by_packets = gcra(packets, now, tier.packet_cost_ns, tier.packet_ahead_ns);
            let cost = (bytes * tier.byte_cost) >> BYTE_COST_SHIFT;
            let by_bytes = gcra(total, now, cost, tier.byte_ahead_ns);
            if let (Some(next_packets), Some(next_bytes)) = (by_packets, by_bytes) {
                (packets, total) = (next_packets, next_bytes);
                n_passed += 1;
            }
        }
        n_passed
    }

    fn limit(packets: Option<(u64, u64)>, bytes: Option<(u64, u64)>) -> Tier {
        compiled(&Treatment::Limit {
            packets_per_s: packets.map(|(rate, _)| rate),
            burst_packets: packets.map(|(_, burst)| burst),
            bytes_per_s: bytes.map(|(rate, _)| rate),
            burst_bytes: bytes.map(|(_, burst)| burst),
            per_class: false,
        })
    }

    #[test]
    fn a_limit_lets_through_its_burst_and_then_its_rate_exactly() {
        // 1,000 packets a second against 100: the burst at once, then one each 10 ms.
        let tier = limit(Some((100, 20)), None);
        assert_eq!(sent(&tier, 60, 1_000, 10), 20 + 999);
        // 1,000 bytes a packet, 100 a second against 50,000 bytes a second: five of the burst, then 50 a second. The
        // last of them begins within the burst.
        let tier = limit(None, Some((50_000, 5_000)));
        assert_eq!(sent(&tier, 1_000, 100, 10), 5 + 499 + 1);
        let both = limit(Some((10, 1)), Some((1_000_000, 1_000_000)));
        assert_eq!(
            sent(&both, 1_000, 100, 10),
            100,
            "the slower of the two rates decides"
        );
    }

    #[test]
    fn default_bursts_are_a_tenth_of_a_second_and_never_below_one_frame() {
        let with_default = |packets_per_s, bytes_per_s| {
            compiled(&Treatment::Limit {
                packets_per_s,
                bytes_per_s,
                burst_packets: None,
                burst_bytes: None,
                per_class: true,
            })
        };
        let tier = with_default(Some(1_000), None);
        assert_eq!(tier.packet_ahead_ns, 99 * 1_000_000);
        assert_eq!((tier.byte_cost, tier.limit_per), (0, limit_per::CLASS));
        assert_eq!(with_default(Some(5), None).packet_ahead_ns, 0);
        let tier = with_default(None, Some(1_000));
        assert_eq!(tier.byte_ahead_ns, 1_513 * 1_000_000);
        assert_eq!(tier.packet_cost_ns, 0);
    }

    #[test]
    fn parameters_are_told_as_they_were_written() {
        let decision = Decision::with_tier(Action::Limit, 1);
        let tier = limit(Some((100, 20)), Some((50_000, 5_000)));
        let odd = limit(Some((3, 1)), None);
        assert_eq!(
            describe(decision, &odd, &[]),
            "3 packets/s, 1 at once; each source by itself"
        );
        assert_eq!(
            describe(decision, &tier, &[]),
            "100 packets/s, 20 at once; 50000 bytes/s, 5000 at once; each source by itself"
        );
    }
}
