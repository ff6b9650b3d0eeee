//! This host's own addresses; shared by all generations.

use aya_ebpf::{bindings::BPF_F_NO_PREALLOC, btf_maps::HashMap, macros::btf_map, programs::XdpContext};
use probe_common::limits::MAX_OWN;
use probe_ebpf::parse::{Address, Facts, wire_source};

use crate::shared_maps::{Present, STATE};

/// Shared: this host's IPv4 addresses.
#[btf_map]
pub static OWN_V4: HashMap<[u8; 4], Present, { MAX_OWN as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Shared: this host's IPv6 addresses.
#[btf_map]
pub static OWN_V6: HashMap<[u8; 16], Present, { MAX_OWN as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Whether the packet says that it comes from this host: only the source on the wire counts, since hosts behind this
/// one may have 6to4 addresses made of its own IPv4 address.
#[inline(always)]
pub fn is_own_source(ctx: &XdpContext, facts: &Facts) -> bool {
    if facts.version == 4 {
        let source = facts.source.v4();
        return is_in_filter(source[3]) && OWN_V4.get_ptr(source).is_some();
    }
    match wire_source(ctx, facts).map(Address::v6) {
        Some(source) => is_in_filter(source[15]) && OWN_V6.get_ptr(source).is_some(),
        None => false,
    }
}

/// Whether any own address ends in this byte. Spares most packets the look-up.
#[inline(always)]
fn is_in_filter(last_byte: u8) -> bool {
    let Some(state) = STATE.get_ptr(0) else {
        return false;
    };
    // SAFETY: element 0 of the `STATE` map lives as long as the program, and the index is below the four words.
    // Volatile, because the daemon stores them meanwhile.
    let word = unsafe {
        (&raw const (*state).own_filter)
            .cast::<u64>()
            .add(usize::from(last_byte >> 6))
            .read_volatile()
    };
    word >> (last_byte & 63) & 1 == 1
}
