//! Maps that the entry program and every generation share; they live in the pin directory itself.
//!
//! Each program includes the modules whose maps it uses: a map that is merely linked in would be created with
//! every load.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_NOEXIST},
    btf_maps::{Array, LpmTrie, PerCpuHashMap, lpm_trie::Key},
    macros::btf_map,
    programs::XdpContext,
};
use probe_common::{
    Counter, Reason, State,
    limits::{FAILSAFE_ENTRIES, MAX_ETHERTYPES},
};
use probe_ebpf::{
    packet::frame_len,
    parse::{Address, Answer, Facts, wire_source},
};

/// Value of an entry that says all by being there.
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

/// Shared: frames counted as [`Reason::NotIp`], by ethertype.
#[btf_map]
pub static ETHERTYPES: PerCpuHashMap<u16, Counter, { MAX_ETHERTYPES as usize }> = PerCpuHashMap::new();

/// Element of [`ETHERTYPES`] for types that found no room. No frame has this type: it would be a length.
const OTHER_ETHERTYPES: u16 = 0;

/// A static, because the verifier refuses the call that would clear it on the stack.
static NOTHING_COUNTED: Counter = Counter { packets: 0, bytes: 0 };

/// Whether the source is one that no policy can block.
#[inline(always)]
pub fn is_failsafe(source: &Address) -> bool {
    if source.is_v4() {
        FAILSAFE_V4.get(&Key::new(32, source.v4())).is_some()
    } else {
        FAILSAFE_V6.get(&Key::new(128, source.v6())).is_some()
    }
}

/// Whether the packet comes from a source that no policy can block: the one that is judged, or the one on the wire
/// around it.
#[inline(always)]
pub fn is_failsafe_source(ctx: &XdpContext, facts: &Facts) -> bool {
    if is_failsafe(&facts.source) {
        return true;
    }
    if !facts.is_embedded() {
        return false;
    }
    match wire_source(ctx, facts) {
        Some(source) => is_failsafe(&source),
        None => false,
    }
}

/// Counts a frame that is not IP by its type. Other answers are left alone.
#[inline(always)]
pub fn count_not_ip(ctx: &XdpContext, answer: &Answer) {
    if !matches!(answer.verdict.reason, Reason::NotIp) {
        return;
    }
    let bytes = frame_len(ctx);
    if add(answer.ethertype, bytes) {
        return;
    }
    // What takes the rest must be there before the table is full. If another CPU was faster, its entry is as good.
    if ETHERTYPES.get_ptr(OTHER_ETHERTYPES).is_none() {
        let _ = ETHERTYPES.insert(OTHER_ETHERTYPES, &NOTHING_COUNTED, u64::from(BPF_NOEXIST));
    }
    let _ = ETHERTYPES.insert(answer.ethertype, &NOTHING_COUNTED, u64::from(BPF_NOEXIST));
    if !add(answer.ethertype, bytes) {
        add(OTHER_ETHERTYPES, bytes);
    }
}

/// Whether the type is one that is counted.
#[inline(always)]
fn add(ethertype: u16, bytes: u64) -> bool {
    let Some(counter) = ETHERTYPES.get_ptr_mut(ethertype) else {
        return false;
    };
    // SAFETY: the pointer is to this CPU's own copy of a map value, and no other XDP program interrupts this one
    // here, so there is no second writer.
    unsafe {
        (*counter).packets += 1;
        (*counter).bytes += bytes;
    }
    true
}
