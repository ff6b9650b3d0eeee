//! Generates the rows. What a case expects is written here by hand, from the specification.

mod drain;
mod embedded;
mod fragments;
mod icmp;
mod lengths;
mod link;
mod sources;
mod state;
mod tunnels;

use std::{net::IpAddr, ops::RangeInclusive};

use probe_common::{Fate, Reason};

use super::{
    Case, Settings, Target,
    build::{ip_frame, number::UDP, udp},
    data::Row,
    places::{A4, A6, B4, B6, U4, U6},
};

/// All rows, in order.
pub fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    sources::add(&mut rows);
    embedded::add(&mut rows);
    link::add(&mut rows);
    fragments::add(&mut rows);
    icmp::add(&mut rows);
    tunnels::add(&mut rows);
    lengths::add(&mut rows);
    state::add(&mut rows);
    rows.sort_by_key(|row| row.number);
    rows
}

/// Both families' sources of a kind, with a word for each.
const BLOCKED: [(&str, IpAddr); 2] = [("IPv4 from B", IpAddr::V4(B4)), ("IPv6 from B", IpAddr::V6(B6))];
const ALLOWED: [(&str, IpAddr); 2] = [("IPv4 from A", IpAddr::V4(A4)), ("IPv6 from A", IpAddr::V6(A6))];
const UNLISTED: [(&str, IpAddr); 2] = [("IPv4 from U", IpAddr::V4(U4)), ("IPv6 from U", IpAddr::V6(U6))];

/// B drops, A passes: what most frames are tried with.
fn drop_and_pass() -> impl Iterator<Item = (&'static str, IpAddr, Reason)> {
    let blocked = BLOCKED.map(|(who, source)| (who, source, Reason::PolicyDrop));
    let allowed = ALLOWED.map(|(who, source)| (who, source, Reason::PolicyPass));
    blocked.into_iter().chain(allowed)
}

/// A datagram like any other.
fn plain(source: IpAddr) -> Vec<u8> {
    ip_frame(
        source,
        UDP,
        &udp(40_000, 443, b"corpus: a payload of 32 bytes..."),
    )
}

/// An address in the source of a row.
fn text(source: &str) -> IpAddr {
    source.parse().expect("an address in the source of a row")
}

fn row(rows: &mut Vec<Row>, number: u8, says: &str, cases: Vec<Case>) {
    let cases = cases.into_iter().map(|case| Case { row: number, ..case });
    rows.push(Row {
        number,
        says: says.to_owned(),
        cases: cases.collect(),
    });
}

fn case(name: impl Into<String>, frame: Vec<u8>, fate: Fate, reason: Reason) -> Case {
    Case {
        row: 0,
        name: name.into(),
        frame,
        lengths: None,
        linear: None,
        settings: Settings::default(),
        on_wire: true,
        fate,
        reason,
    }
}

/// A case that drops.
fn drops(name: impl Into<String>, frame: Vec<u8>, reason: Reason) -> Case {
    case(name, frame, Fate::Dropped, reason)
}

/// A case that passes.
fn passes(name: impl Into<String>, frame: Vec<u8>, reason: Reason) -> Case {
    case(name, frame, Fate::Passed, reason)
}

/// A case that the policy passes or drops.
fn judged(name: impl Into<String>, frame: Vec<u8>, reason: Reason) -> Case {
    match reason {
        Reason::PolicyDrop | Reason::PolicyDrain => drops(name, frame, reason),
        _ => passes(name, frame, reason),
    }
}

impl Case {
    fn policy(mut self, name: &str) -> Self {
        self.settings.policy = name.to_owned();
        self
    }

    fn icmp_error_drop(mut self) -> Self {
        self.settings.icmp_error_pass = false;
        self
    }

    fn inspect_inner(mut self) -> Self {
        self.settings.inspect_inner = true;
        self
    }

    fn martians_pass(mut self) -> Self {
        self.settings.martians_drop = false;
        self
    }

    fn nat64(mut self, prefix: &str) -> Self {
        self.settings
            .nat64_prefixes
            .push(prefix.parse().expect("a prefix in the source of a row"));
        self
    }

    fn failsafe(mut self, prefix: &str) -> Self {
        self.settings
            .failsafe
            .push(prefix.parse().expect("a prefix in the source of a row"));
        self
    }

    fn vlans(mut self, vlans: &[u16]) -> Self {
        self.settings.vlans = vlans.to_vec();
        self.off_wire()
    }

    fn target(mut self, target: Target) -> Self {
        self.settings.target = target;
        self.off_wire()
    }

    fn lengths(mut self, lengths: RangeInclusive<usize>) -> Self {
        self.lengths = Some(lengths);
        self
    }

    fn linear(mut self, linear: RangeInclusive<usize>) -> Self {
        self.linear = Some(linear);
        self.off_wire()
    }

    fn off_wire(mut self) -> Self {
        self.on_wire = false;
        self
    }
}
