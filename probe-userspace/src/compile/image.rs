//! The generation image: exactly what the dataplane loads, and what the oracle judges by.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use ipnet::{IpNet, Ipv6Net};
use probe_common::{
    Cell, OverrideValue, Stages, Tier, lift_key,
    scope::{MAY, dimension},
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    Heading, OrderInfo,
    rows::Examples,
    services::{ServiceBox, TCP, Transport, services_of, set_of},
};
use crate::{geo::Location, policy::Events};

/// One compiled, immutable set of tables.
#[derive(Clone, Debug)]
pub struct Image {
    /// Name of the policy.
    pub policy_name: String,
    /// SHA-256 of the policy's text, lower-case hexadecimal.
    pub policy_sha256: String,
    /// The location tables; images that differ in policy only share them.
    pub location: Arc<Location>,
    /// (row, profile, class) -> cell.
    pub matrix: Matrix,
    /// Which row a packet takes; empty if the policy has no services.
    pub scopes: Scopes,
    /// Parameters of decisions; element 0 is unused and present only if there is another.
    pub tiers: Vec<Tier>,
    /// Name of each tier, by its index.
    pub tier_names: Vec<String>,
    /// Interfaces that redirects go to, each once.
    pub redirects: Vec<String>,
    /// Whether answers to the host's own connections pass.
    pub replies: bool,
    /// Which verdicts are reported.
    pub events: Option<Events>,
    /// What the host says about frames.
    pub frame: FrameSettings,
    /// What timed cells point into.
    pub stages: Vec<Stages>,
    /// Exemptions, allows and denies, sorted by prefix, each prefix once.
    pub overrides: Vec<Override>,
    /// Profile of each lift key that run-time exemptions have ([`probe_common::lift_key`]).
    pub runtime_profiles: [u8; lift_key::N],
    /// The lift keys that were known when this was compiled. They need not lift anything under this policy.
    pub runtime_known: BTreeSet<u8>,
    /// What each profile stands for, by its number.
    pub profiles: Vec<ProfileInfo>,
    /// What each order says, for explanations, in the order of the policy.
    pub orders: Vec<OrderInfo>,
    /// SHA-256 over everything above that reaches the kernel. The same policy, location and instant of compiling
    /// give the same digest. A later instant gives another one once an order or an override has begun or ended
    /// in between, because what is over is left out.
    pub digest: [u8; 32],
}

/// What the host file says about frames: what the generation is compiled with besides the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FrameSettings {
    /// `icmp_error = "pass"` (default): ICMP errors that the network needs pass, up to a cap, where the policy
    /// would drop them.
    pub icmp_error_pass: bool,
    /// `inspect_inner`, default false: judge the inner source of a tunnel too.
    pub inspect_inner: bool,
    /// `martians = "drop"` (default): sources that cannot come by the wire drop.
    pub martians_drop: bool,
    /// `nat64_prefixes`, besides 64:ff9b::/96.
    pub nat64_prefixes: Vec<Ipv6Net>,
}

impl Default for FrameSettings {
    fn default() -> Self {
        Self {
            icmp_error_pass: true,
            inspect_inner: false,
            martians_drop: true,
            nat64_prefixes: Vec::new(),
        }
    }
}

/// The tables that lead from a packet's heading to a row of the matrix; see [`probe_common::scope`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// Names of the services, by their bit.
    pub services: Vec<String>,
    /// Dimensions in use, see [`probe_common::scope::dimension`].
    pub dimensions: u32,
    /// Services that do not ask for an interface.
    pub any_interface: u64,
    /// Services that do not ask for a destination.
    pub any_destination: u64,
    /// (interface, services), by name.
    pub interfaces: Vec<(String, u64)>,
    /// [`probe_common::scope::N_SCOPE_VLANS`] sets, or none.
    pub vlans: Vec<u64>,
    /// (destination, services), sorted by prefix. A set holds the services of the prefixes around it too.
    pub destinations: Vec<(IpNet, u64)>,
    /// [`probe_common::scope::N_SCOPE_PROTOCOLS`] sets, or none.
    pub protocols: Vec<u64>,
    /// [`probe_common::scope::N_SCOPE_PORTS`] sets, or none.
    pub ports: Vec<u64>,
    /// (set of services, row), sorted by set.
    pub rows: Vec<(u64, u32)>,
    /// What each row stands for: the names of its services, or the rows that it is the strictest of.
    pub row_names: Vec<String>,
    /// The last rows: each is the strictest of these, for packets whose ports cannot be read.
    pub strictest_of: Vec<Vec<u32>>,
    /// A packet for each set of `rows`, as far as there is one.
    pub examples: Vec<(u64, Examples)>,
    /// The services as the policy writes them, by their bit: what the oracle asks, and not the tables above.
    pub boxes: Vec<ServiceBox>,
}

impl Scopes {
    /// The rows that a row is the strictest of; itself, if it is no such row.
    pub fn possible_rows(&self, row: u32) -> Vec<u32> {
        let n_exact = self.row_names.len() - self.strictest_of.len();
        let vague = (row as usize).checked_sub(n_exact);
        match vague.and_then(|idx| self.strictest_of.get(idx)) {
            Some(rows) => rows.clone(),
            None => vec![row],
        }
    }

    /// Rows that tell a reader how services differ: that of no service, then for each service the row of packets that
    /// are for it and as few others as there can be.
    pub fn telling_rows(&self) -> Vec<u32> {
        let mut rows = vec![0];
        for idx in 0..self.boxes.len() {
            let of_service = self
                .rows
                .iter()
                .filter(|(set, _)| set & (MAY | 1 << idx) == 1 << idx);
            let alone = of_service.min_by_key(|(set, _)| set.count_ones());
            rows.extend(alone.map(|(_, row)| *row).filter(|row| !rows.contains(row)));
        }
        rows
    }

    /// The rows that packets to a TCP port can take, whatever interface, VLAN and destination they have.
    pub fn rows_of_tcp_port(&self, port: u16) -> Vec<u32> {
        if self.boxes.is_empty() {
            return vec![0];
        }
        let possible = set_of(&self.boxes, |service| {
            service.has_transport(Transport::Port(TCP, port))
        });
        self.rows
            .iter()
            .filter(|(set, _)| set & !possible == 0)
            .map(|(_, row)| *row)
            .collect()
    }

    /// The row that a packet takes; `None` for a set of services that no packet should have.
    pub fn row_of(&self, heading: &Heading, source: IpAddr) -> Option<u32> {
        if self.boxes.is_empty() {
            return Some(0);
        }
        let may = if self.dimensions & dimension::PROTOCOL != 0 {
            Transport::of(heading, source.is_ipv6()).may()
        } else {
            0
        };
        let set = services_of(&self.boxes, heading, source) | may;
        let idx = self.rows.binary_search_by_key(&set, |(set, _)| *set).ok()?;
        self.rows.get(idx).map(|(_, row)| *row)
    }
}

/// The verdict matrix, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Classes of a profile.
    pub n_classes: usize,
    /// Profiles of a row.
    pub n_profiles: usize,
    /// `cells[(row * n_profiles + profile) * n_classes + class]`.
    pub cells: Vec<Cell>,
}

impl Matrix {
    /// The cell of a row, profile and class; `None` outside the matrix.
    pub fn cell(&self, row: u32, profile: u8, class: u16) -> Option<Cell> {
        if usize::from(class) >= self.n_classes || usize::from(profile) >= self.n_profiles {
            return None;
        }
        let row = row as usize * self.n_profiles + usize::from(profile);
        self.cells.get(row * self.n_classes + usize::from(class)).copied()
    }
}

/// One entry of the override tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The prefix, host bits zero.
    pub prefix: IpNet,
    /// What the kernel is given.
    pub value: OverrideValue,
    /// Why: reference and reason, for explanations.
    pub why: String,
}

/// What a profile stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProfileInfo {
    /// For people: `all orders`, `deny`, `lift all`, `without X, Y`.
    pub name: String,
}

impl Image {
    /// The digest of what the kernel is given, see [`Image::digest`]. Lengths stand before every list, so that no two
    /// images have one text.
    pub(super) fn kernel_digest(&self) -> [u8; 32] {
        let mut text = Text(b"cordon image 3\n".to_vec());
        text.0.extend(self.location.digest);
        text.number(self.matrix.n_classes as u64);
        text.number(self.matrix.n_profiles as u64);
        text.list(&self.matrix.cells, |text, cell| {
            text.0.extend(cell.0.to_be_bytes())
        });
        text.list(&self.stages, |text, stages| {
            for until_s in stages.until_s {
                text.0.extend(until_s.to_be_bytes());
            }
            for decision in stages.decision {
                text.0.extend(decision.to_be_bytes());
            }
        });
        text.list(&self.overrides, |text, Override { prefix, value, .. }| {
            text.prefix(prefix);
            text.0.extend([value.profile]);
            text.0.extend(value.until_s.to_be_bytes());
        });
        text.0.extend(self.runtime_profiles);
        text.list(&self.tiers, |text, tier| {
            text.number(tier.packet_cost_ns);
            text.number(tier.packet_ahead_ns);
            text.number(tier.byte_cost);
            text.number(tier.byte_ahead_ns);
            text.0.extend(tier.target.to_be_bytes());
            text.0.extend(tier.next_hop);
            text.0.extend([tier.dscp, tier.limit_per]);
        });
        text.list(&self.redirects, |text, name| text.name(name));
        text.scopes(&self.scopes);
        text.number(u64::from(self.replies));
        text.list(&Vec::from_iter(self.events), |text, events| {
            for number in [events.drops, events.passes, events.per_second] {
                text.0.extend(number.to_be_bytes());
            }
            text.0.extend(events.source_bits);
        });
        let frame = &self.frame;
        for flag in [frame.icmp_error_pass, frame.inspect_inner, frame.martians_drop] {
            text.number(u64::from(flag));
        }
        text.list(&frame.nat64_prefixes, |text, prefix| {
            text.prefix(&IpNet::V6(*prefix))
        });
        Sha256::digest(&text.0).into()
    }
}

/// A text to be hashed.
struct Text(Vec<u8>);

impl Text {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_be_bytes());
    }

    fn list<T>(&mut self, list: &[T], write: impl Fn(&mut Self, &T)) {
        self.number(list.len() as u64);
        for element in list {
            write(self, element);
        }
    }

    fn name(&mut self, name: &str) {
        self.number(name.len() as u64);
        self.0.extend(name.as_bytes());
    }

    fn prefix(&mut self, prefix: &IpNet) {
        match prefix {
            IpNet::V4(prefix) => self.0.extend(prefix.addr().to_ipv6_mapped().octets()),
            IpNet::V6(prefix) => self.0.extend(prefix.addr().octets()),
        }
        self.0.extend([prefix.max_prefix_len(), prefix.prefix_len()]);
    }

    fn scopes(&mut self, scopes: &Scopes) {
        self.number(u64::from(scopes.dimensions));
        self.number(scopes.any_interface);
        self.number(scopes.any_destination);
        self.list(&scopes.interfaces, |text, (name, set)| {
            text.name(name);
            text.number(*set);
        });
        self.list(&scopes.destinations, |text, (prefix, set)| {
            text.prefix(prefix);
            text.number(*set);
        });
        for table in [&scopes.vlans, &scopes.protocols, &scopes.ports] {
            self.list(table, |text, set| text.number(*set));
        }
        self.list(&scopes.rows, |text, (set, row)| {
            text.number(*set);
            text.0.extend(row.to_be_bytes());
        });
    }
}
