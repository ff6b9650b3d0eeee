//! Maps that the entry program and every generation share; they live in the pin directory itself.
//!
//! Each program includes the modules whose maps it uses: a map that is merely linked in would be created with
//! every load.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, LpmTrie, lpm_trie::Key},
    macros::btf_map,
};
use probe_common::{State, limits::FAILSAFE_ENTRIES};
use probe_ebpf::parse::Address;

/// Value of a failsafe entry: being there is all it says.
pub type Present = u32;

/// Shared: state word and its neighbours.
#[btf_map]
pub static STATE: Array<State, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Shared: IPv4 prefixes that no policy can block.
#[btf_map]
pub static FAILSAFE_V4: LpmTrie<[u8; 4], Present, { FAILSAFE_ENTRIES as usize }> = LpmTrie::new();

/// Shared: IPv6 prefixes that no policy can block.
#[btf_map]
pub static FAILSAFE_V6: LpmTrie<[u8; 16], Present, { FAILSAFE_ENTRIES as usize }> = LpmTrie::new();

/// Whether the source is one that no policy can block.
#[inline(always)]
pub fn is_failsafe(source: &Address) -> bool {
    match source {
        Address::V4(source) => FAILSAFE_V4.get(&Key::new(32, *source)).is_some(),
        Address::V6(source) => FAILSAFE_V6.get(&Key::new(128, *source)).is_some(),
    }
}
