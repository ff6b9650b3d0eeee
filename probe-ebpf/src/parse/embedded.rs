//! IPv4 addresses inside IPv6 sources.

use probe_common::{Embedded, embedded_by_standard};

use super::{Address, FrameOptions};

/// What is judged for a source on the wire: the IPv4 address inside it, if there is one.
#[inline(always)]
pub fn judged(source: Address, options: &FrameOptions) -> Address {
    match source {
        Address::V4(_) => source,
        Address::V6(address) => match embedded_v4(&address, options) {
            Some(embedded) => Address::V4(embedded.address),
            None => source,
        },
    }
}

/// As [`probe_common::embedded`], with the prefixes of the generation.
#[inline(always)]
pub(super) fn embedded_v4(address: &[u8; 16], options: &FrameOptions) -> Option<Embedded> {
    if let Some((n_prefixes, prefixes)) = options.nat64 {
        for (idx, prefix) in prefixes.iter().enumerate() {
            if idx as u32 >= n_prefixes {
                break;
            }
            if let Some(address) = prefix.load().embedded(address) {
                return Some(Embedded {
                    address,
                    is_configured: true,
                });
            }
        }
    }
    embedded_by_standard(address)
}
