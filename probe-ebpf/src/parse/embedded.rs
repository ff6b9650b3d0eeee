//! IPv4 addresses inside IPv6 sources.

use probe_common::{Embedded, embedded_by_standard};

use super::{Address, FrameOptions};

/// What is judged for a source on the wire: the IPv4 address inside it, if there is one.
#[inline(always)]
pub fn judged(source: Address, options: &impl FrameOptions) -> Address {
    if source.is_v4() {
        return source;
    }
    match embedded_v4(source, options) {
        Some(embedded) => Address::from_v4(embedded.address),
        None => source,
    }
}

/// As [`probe_common::embedded`], with the prefixes of the generation.
#[inline(always)]
pub(super) fn embedded_v4(address: Address, options: &impl FrameOptions) -> Option<Embedded> {
    if let Some(address) = options.nat64(address) {
        return Some(Embedded {
            address,
            is_configured: true,
        });
    }
    embedded_by_standard(&address.v6())
}
