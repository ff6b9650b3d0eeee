//! The lockout check: whom would a policy cut off from this host? Pure.
//!
//! The policy alone is asked, without the host's failsafe prefixes: those are the last rope, and nobody should
//! hang on it without knowing. It is asked for now and for every instant at which it changes by itself, because
//! an order that takes effect at night cuts off just as well.

mod halt;
mod probes;

use std::{collections::BTreeMap, fmt, net::IpAddr};

use ipnet::IpNet;
use probe_common::{Action, FOREVER, Reason, profile};

pub use halt::{CutOff, cut_off_by_halt};

use super::surroundings::{Role, Surroundings};
use crate::{
    compile::{Heading, Image, Query},
    host::{Host, SourceUrl},
    instant::Instant,
    policy::halted_service,
};

/// Most instants that are asked about.
const MAX_INSTANTS: usize = 64;

/// Addresses that should stay reachable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// The prefix; a single address is one of full length.
    pub prefix: IpNet,
    /// Whose it is.
    pub what: String,
    /// Whether cutting it off is refused: not for those who have a connection, but have not logged in.
    pub is_binding: bool,
}

/// Somebody whom the policy cuts off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lockout {
    /// The first address found to be dropped.
    pub address: IpAddr,
    /// Whose it is.
    pub what: String,
    /// Its class: a country code, `unknown` or `lan`.
    pub class: String,
    /// What drops it.
    pub dropped_by: String,
    /// From when on; `None`: at once.
    pub from: Option<Instant>,
    /// What to change.
    pub fix: String,
    /// Whether it is refused, or only said.
    pub is_binding: bool,
}

impl Lockout {
    /// What cuts off whom, and from when on.
    pub fn message(&self) -> String {
        let from = self
            .from
            .map_or_else(String::new, |from| format!(" from {from} on"));
        format!(
            "{} cuts off the {} ({}){from}",
            self.dropped_by, self.what, self.class
        )
    }
}

impl fmt::Display for Lockout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} - {}", self.address, self.message(), self.fix)
    }
}

/// Everything that should stay reachable: the failsafe prefixes of the host file, the caller, and what the host
/// depends on.
pub fn guarded(host: &Host, ssh_peer: Option<IpAddr>, surroundings: &Surroundings) -> Vec<Guarded> {
    let failsafe = host.failsafe.iter().map(|entry| Guarded {
        prefix: entry.prefix.value.trunc(),
        what: match entry.comment.as_str() {
            "" => format!("failsafe prefix of {}", entry.prefix.place),
            comment => format!("failsafe prefix of {}, {comment}", entry.prefix.place),
        },
        is_binding: true,
    });
    let caller = ssh_peer.map(|address| Guarded {
        prefix: IpNet::from(address.to_canonical()),
        what: "SSH peer of this session".to_owned(),
        is_binding: true,
    });
    let others = surroundings.addresses.iter().map(|(address, role)| Guarded {
        prefix: IpNet::from(*address),
        what: role.text().to_owned(),
        is_binding: *role != Role::SshStranger,
    });
    // By name, a server may be anywhere by tomorrow; only an address can be judged today.
    let servers = host.sources.iter().filter_map(|source| match &source.url {
        SourceUrl::Web { host, .. } => host.parse::<IpAddr>().ok(),
        SourceUrl::File(_) => None,
    });
    let servers = servers
        .filter(|address| !address.is_loopback())
        .map(|address| Guarded {
            prefix: IpNet::from(address.to_canonical()),
            what: "bundle server".to_owned(),
            is_binding: true,
        });
    failsafe.chain(caller).chain(others).chain(servers).collect()
}

/// Whom the policy cuts off, each (whose, class, cause) once with the first address found. Where a policy has services,
/// they are asked for these TCP ports: the ways in that count.
pub fn lockouts(image: &Image, guarded: &[Guarded], ssh_ports: &[u16], now: Instant) -> Vec<Lockout> {
    let instants = instants(image, now);
    let mut found = BTreeMap::new();
    for (guarded_idx, entry) in guarded.iter().enumerate() {
        for address in probes::addresses(image, entry.prefix) {
            for (instant_idx, at) in instants.iter().enumerate() {
                let mut ports = ssh_ports.iter();
                let Some(cause) = ports.find_map(|port| cause_of_drop(image, address, *port, *at)) else {
                    continue;
                };
                let key = (guarded_idx, cause.class.clone(), cause.dropped_by.clone());
                found.entry(key).or_insert_with(|| Lockout {
                    address,
                    what: entry.what.clone(),
                    class: cause.class,
                    dropped_by: cause.dropped_by,
                    from: (instant_idx > 0).then_some(*at),
                    fix: cause.fix,
                    is_binding: entry.is_binding,
                });
            }
        }
    }
    // The caller is often a failsafe prefix and an established connection too: say it once.
    let mut seen = Vec::new();
    found
        .into_values()
        .filter(|lockout| {
            let key = (lockout.address, lockout.dropped_by.clone());
            let is_new = !seen.contains(&key);
            seen.push(key);
            is_new
        })
        .collect()
}

/// Now, then the instants after it at which the image changes by itself, ascending.
fn instants(image: &Image, now: Instant) -> Vec<Instant> {
    let ends = image
        .stages
        .iter()
        .flat_map(|stages| stages.until_s)
        .chain(image.overrides.iter().map(|entry| entry.value.until_s));
    let mut later: Vec<Instant> = ends
        .filter(|until_s| *until_s > now.0 && *until_s != FOREVER)
        .map(Instant)
        .collect();
    later.sort_unstable();
    later.dedup();
    later.truncate(MAX_INSTANTS - 1);
    later.insert(0, now);
    later
}

struct Cause {
    class: String,
    dropped_by: String,
    fix: String,
}

fn cause_of_drop(image: &Image, address: IpAddr, port: u16, at: Instant) -> Option<Cause> {
    let query = Query {
        heading: Heading::default(),
        address,
        now: at,
        failsafe: &[],
        runtime: &[],
    };
    let (verdict, row) = image.strictest_for_tcp_port(&query, port);
    // What is marked, limited or sent elsewhere still gets an answer, and a drain ends nothing that is open.
    if !matches!(verdict.action, Action::Reject | Action::Drop | Action::Drain) {
        return None;
    }
    let class = image.location.classes.name(verdict.class).to_owned();
    if verdict.reason == Reason::Deny {
        let entry = image
            .overrides
            .iter()
            .filter(|entry| {
                entry.value.profile == profile::DENY
                    && entry.value.is_live(at.0)
                    && entry.prefix.contains(&address)
            })
            .max_by_key(|entry| entry.prefix.prefix_len());
        let prefix = entry.map_or_else(|| "a prefix".to_owned(), |entry| entry.prefix.to_string());
        return Some(Cause {
            class,
            dropped_by: format!("the deny of {prefix}"),
            fix: format!("take {address} out of [[deny]]"),
        });
    }
    let speaking = image.speaking(row, verdict.class, at);
    let orders: Vec<String> = speaking
        .iter()
        .filter(|(_, _, action)| *action == verdict.action.name())
        .map(
            |(id, authority, _)| match (halted_service(id), authority.as_str()) {
                (Some(service), _) => format!("the halt of service {service}"),
                (None, "") => format!("order {id}"),
                (None, authority) => format!("order {id} ({authority})"),
            },
        )
        .collect();
    let dropped_by = match (orders.is_empty(), class.as_str()) {
        (false, _) => orders.join(" and "),
        (true, "unknown") => format!("unknown = \"{}\"", verdict.action.name()),
        (true, "lan") => format!("lan = \"{}\"", verdict.action.name()),
        (true, _) => format!("default = \"{}\"", verdict.action.name()),
    };
    let is_halted = speaking.iter().any(|(id, ..)| halted_service(id).is_some());
    Some(Cause {
        class,
        dropped_by,
        fix: if is_halted {
            format!(
                "add a [[failsafe]] with a prefix that covers {address} to the host file and restart the daemon"
            )
        } else {
            format!("add an [[allow]] with a prefix that covers {address}")
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::test_policy;

    const NOW: Instant = Instant(1_790_000_000);

    fn check(policy: &str, guarded: &[(&str, &str)]) -> Vec<String> {
        let image = test_policy::image(policy, NOW);
        let guarded: Vec<Guarded> = guarded
            .iter()
            .map(|(prefix, what)| Guarded {
                prefix: prefix.parse().unwrap(),
                what: (*what).to_owned(),
                is_binding: true,
            })
            .collect();
        lockouts(&image, &guarded, &[22], NOW)
            .iter()
            .map(Lockout::to_string)
            .collect()
    }

    const BLOCK_LIST: &str = "version = 1\ndefault = \"pass\"\nunknown = \"pass\"\n";

    #[test]
    fn nobody_is_cut_off_by_a_policy_that_passes() {
        assert_eq!(check(BLOCK_LIST, &[("198.51.100.0/24", "office")]), [""; 0]);
    }

    #[test]
    fn a_deny_inside_a_guarded_prefix_is_found() {
        let policy =
            format!("{BLOCK_LIST}[[deny]]\nprefixes = [\"198.51.100.64/30\"]\nreason = \"attack\"\n");
        let found = check(&policy, &[("198.51.100.0/24", "office")]);
        assert_eq!(
            found,
            [
                "198.51.100.64: the deny of 198.51.100.64/30 cuts off the office (unknown) - take 198.51.100.64 out of [[deny]]"
            ]
        );
    }

    #[test]
    fn an_unknown_source_is_cut_off_by_the_unknown_setting() {
        let policy = "version = 1\ndefault = \"pass\"\nunknown = \"drop\"\n";
        let found = check(
            policy,
            &[("198.51.100.7/32", "SSH peer"), ("192.168.1.1/32", "gateway")],
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("198.51.100.7: unknown = \"drop\" cuts off the SSH peer (unknown)"));
    }

    #[test]
    fn an_allow_that_ends_is_found_with_its_end() {
        let policy = "version = 1\ndefault = \"pass\"\nunknown = \"drop\"\n[[allow]]\nprefixes = [\"198.51.100.0/24\"]\nreason = \"office\"\nuntil = 2026-12-01T00:00:00Z\n";
        let found = check(policy, &[("198.51.100.7/32", "SSH peer")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("from 2026-12-01T00:00:00Z on"), "{found:?}");
    }

    #[test]
    fn what_cuts_off_a_service_is_named() {
        let policy = format!(
            "{BLOCK_LIST}[[service]]\nname = \"ssh\"\nprotocols = [\"tcp\"]\nports = [22]\n[[order]]\nid = \"o\"\n\
             authority = \"a\"\n[[order.rule]]\naction = \"drop\"\neverywhere = true\nservices = [\"ssh\"]\n"
        );
        let found = check(&policy, &[("198.51.100.7/32", "SSH peer")]);
        assert_eq!(
            found,
            [
                "198.51.100.7: order o (a) cuts off the SSH peer (unknown) - add an [[allow]] with a prefix that covers 198.51.100.7"
            ]
        );
    }

    #[test]
    fn one_address_in_two_roles_is_said_once() {
        let policy = "version = 1\ndefault = \"pass\"\nunknown = \"drop\"\n";
        let found = check(
            policy,
            &[("198.51.100.7/32", "SSH peer"), ("198.51.100.7/32", "resolver")],
        );
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn guarded_are_failsafe_prefixes_the_caller_and_the_surroundings() {
        let mut surroundings = Surroundings::default();
        surroundings.add(Role::Gateway, ["192.0.2.1".parse().unwrap()]);
        surroundings.add(Role::SshStranger, ["192.0.2.66".parse().unwrap()]);
        let found = guarded(
            &Host::default(),
            Some("::ffff:203.0.113.9".parse().unwrap()),
            &surroundings,
        );
        let found: Vec<String> = found
            .iter()
            .map(|entry| format!("{} {} {}", entry.prefix, entry.what, entry.is_binding))
            .collect();
        assert_eq!(
            found,
            [
                "203.0.113.9/32 SSH peer of this session true",
                "192.0.2.1/32 default gateway true",
                "192.0.2.66/32 peer of an SSH connection without a login false"
            ]
        );
    }
}
