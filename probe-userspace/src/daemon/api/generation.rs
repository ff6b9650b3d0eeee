//! What the status says of a generation.

use serde::{Deserialize, Serialize};

/// A generation in the kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Generation {
    /// Number.
    pub number: u32,
    /// Slot.
    pub slot: u8,
    /// When it was published.
    pub published: String,
    /// Digest of the image.
    pub image_digest: String,
    /// Digest of the location tables.
    pub location_digest: String,
    /// How IPv4 addresses are looked up: `index` or `lpm`.
    #[serde(default)]
    pub engine_v4: String,
    /// How IPv6 addresses are looked up.
    #[serde(default)]
    pub engine_v6: String,
    /// Location prefixes that are in an LPM trie; an index leaves none to one.
    #[serde(default)]
    pub lpm_prefixes: usize,
}
