//! IPv4 addresses inside IPv6 sources.

use aya_ebpf::Global;
use probe_common::{Embedded, Nat64, Nat64Prefixes, embedded_by_standard, limits::MAX_NAT64};

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
        for idx in 0..MAX_NAT64 {
            if idx as u32 >= n_prefixes {
                break;
            }
            if let Some(address) = prefix(prefixes, idx).embedded(address) {
                return Some(Embedded {
                    address,
                    is_configured: true,
                });
            }
        }
    }
    embedded_by_standard(address)
}

#[inline(always)]
fn prefix(prefixes: &'static Global<Nat64Prefixes>, idx: usize) -> Nat64 {
    let first = (&raw const *prefixes).cast::<Nat64>();
    // SAFETY: `Global` is transparent and `Nat64Prefixes` is an array of `MAX_NAT64`; the caller's `idx` is below that.
    // Volatile, as in `Global::load`: the loader sets the value that the compiler sees.
    unsafe { first.add(idx).read_volatile() }
}
