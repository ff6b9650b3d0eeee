//! Failsafe prefixes, asked for packets that would not pass.

use probe_ebpf::parse::Address;

use crate::{shared_maps, word::AddressWords};

/// Whether no policy can block an address.
#[inline(always)]
pub fn is_failsafe(address: AddressWords) -> bool {
    if address.is_v4() {
        shared_maps::is_failsafe(&Address::V4(address.v4()))
    } else {
        shared_maps::is_failsafe(&Address::V6(address.v6()))
    }
}
