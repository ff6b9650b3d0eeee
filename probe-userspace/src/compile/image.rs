//! The generation image: exactly what the dataplane loads, and what the oracle judges by.

use std::sync::Arc;

use ipnet::{IpNet, Ipv6Net};
use probe_common::{Cell, OverrideValue, Stages, Tier};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::OrderInfo;
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
    /// What each row stands for: the names of its services; row 0: none.
    pub row_names: Vec<String>,
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

/// The digest of what the kernel is given. Lengths stand before every list, so that no two images have one text.
pub(super) fn digest(
    location: &Location,
    matrix: &Matrix,
    stages: &[Stages],
    overrides: &[Override],
) -> [u8; 32] {
    let mut text = b"cordon image 1\n".to_vec();
    text.extend(location.digest);
    text.extend((matrix.n_classes as u64).to_be_bytes());
    text.extend((matrix.cells.len() as u64).to_be_bytes());
    for cell in &matrix.cells {
        text.extend(cell.0.to_be_bytes());
    }
    text.extend((stages.len() as u64).to_be_bytes());
    for stages in stages {
        for until_s in stages.until_s {
            text.extend(until_s.to_be_bytes());
        }
        for decision in stages.decision {
            text.extend(decision.to_be_bytes());
        }
    }
    text.extend((overrides.len() as u64).to_be_bytes());
    for Override { prefix, value, .. } in overrides {
        match prefix {
            IpNet::V4(prefix) => text.extend(prefix.addr().to_ipv6_mapped().octets()),
            IpNet::V6(prefix) => text.extend(prefix.addr().octets()),
        }
        text.extend([prefix.max_prefix_len(), value.prefix_len, value.profile]);
        text.extend(value.until_s.to_be_bytes());
    }
    Sha256::digest(&text).into()
}
