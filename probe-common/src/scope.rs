//! Services: which row of the matrix a packet takes, by where it goes.
//!
//! Each service has a bit. Every dimension (interface, VLAN, destination, protocol and port) has a table that gives
//! the services which it does not rule out; the AND over the dimensions is the set of services that the packet is
//! for (Lakshman and Stiliadis, "High-speed policy-based packet forwarding using efficient multi-dimensional range
//! matching", 1998). The set is looked up in `SCOPE_ROWS`.

use crate::shared::shared;

shared! {
    /// A set of services, one bit for each. Two words, because what stands behind a four-byte LPM key is aligned
    /// to four.
    pub struct ServiceSet[8] {
        /// Services 0-31.
        pub low: u32,
        /// Services 32-63.
        pub high: u32,
    }
}

impl ServiceSet {
    /// As one word.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        self.low as u64 | (self.high as u64) << 32
    }

    /// From one word.
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            low: bits as u32,
            high: (bits >> 32) as u32,
        }
    }
}

/// Set in the key of `SCOPE_ROWS` for a packet whose ports cannot be read (a later fragment, a header that is not
/// there): the other bits are the services it *may* be for, and the row is the strictest of all it may take.
pub const MAY: u64 = 1 << 63;

/// Set beside [`MAY`] if the protocol cannot be read either: the same services may leave other rows possible then.
pub const MAY_BE_ANY: u64 = 1 << 62;

/// Dimensions that a policy's services use, bits of the constant `SCOPE_DIMENSIONS`.
pub mod dimension {
    /// `SCOPE_INTERFACE`: name key -> services. Not there: those of the constant `SCOPE_ANY_INTERFACE`.
    pub const INTERFACE: u32 = 1;
    /// `SCOPE_VLAN`: outermost VLAN (index 4096: untagged) -> services.
    pub const VLAN: u32 = 2;
    /// `SCOPE_V4` and `SCOPE_V6`: destination -> services. Not there: those of `SCOPE_ANY_DESTINATION`.
    pub const DESTINATION: u32 = 4;
    /// `SCOPE_PROTOCOL` and `SCOPE_PORT`.
    pub const PROTOCOL: u32 = 8;
}

/// Size of `SCOPE_VLAN`.
pub const N_SCOPE_VLANS: u32 = 4096 + 1;
/// Index into `SCOPE_VLAN` of an untagged packet.
pub const UNTAGGED: u32 = 4096;

/// Size of `SCOPE_PROTOCOL`: for each protocol number the services that match it whatever the port; then for each
/// the services that may match it if the port is unknown; then one for an unknown protocol.
pub const N_SCOPE_PROTOCOLS: u32 = 256 + 256 + 1;
/// Index into `SCOPE_PROTOCOL` of the first "port unknown" element.
pub const PORT_UNKNOWN: u32 = 256;
/// Index into `SCOPE_PROTOCOL` of a packet whose protocol is unknown too.
pub const PROTOCOL_UNKNOWN: u32 = 512;

/// Size of `SCOPE_PORT`: TCP destination ports, then UDP ones.
pub const N_SCOPE_PORTS: u32 = 2 << 16;
/// Index into `SCOPE_PORT` of UDP port 0.
pub const FIRST_UDP_PORT: u32 = 1 << 16;

/// Key of `VLANS`: a VLAN that is judged on an interface. [`ONLY_LISTED`] instead of a VLAN marks an interface of
/// which only the listed VLANs are judged, and no packet without a tag.
#[inline(always)]
pub const fn vlan_key(ifindex: u32, vlan: u16) -> u64 {
    (ifindex as u64) << 16 | vlan as u64
}

/// See [`vlan_key`].
pub const ONLY_LISTED: u16 = 0xffff;
