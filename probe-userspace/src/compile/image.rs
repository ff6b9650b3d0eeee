//! The generation image: exactly what the dataplane loads, and what the oracle judges by.

use std::sync::Arc;

use ipnet::IpNet;
use probe_common::{Cell, OverrideValue, Stages};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::OrderInfo;
use crate::geo::Location;

/// One compiled, immutable set of tables.
#[derive(Clone, Debug)]
pub struct Image {
    /// Name of the policy.
    pub policy_name: String,
    /// SHA-256 of the policy's text, lower-case hexadecimal.
    pub policy_sha256: String,
    /// The location tables; images that differ in policy only share them.
    pub location: Arc<Location>,
    /// (profile, class) -> cell.
    pub matrix: Matrix,
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

/// The verdict matrix, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Classes in a row.
    pub n_classes: usize,
    /// `cells[profile * n_classes + class]`.
    pub cells: Vec<Cell>,
}

impl Matrix {
    /// The cell of a profile and class; `None` outside the matrix.
    pub fn cell(&self, profile: u8, class: u16) -> Option<Cell> {
        if usize::from(class) >= self.n_classes {
            return None;
        }
        self.cells
            .get(usize::from(profile) * self.n_classes + usize::from(class))
            .copied()
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
        text.extend(stages.action);
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
