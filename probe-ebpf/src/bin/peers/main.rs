//! Programs that cordon is measured against and tested with. None of them is part of a running cordon.
//!
//! `drop_only` is the floor of every comparison: an XDP program that looks at nothing. `generate` makes traffic.
//! `two_maps` publishes the way cordon must not: two maps, replaced one after the other.
#![no_std]
#![no_main]
#![expect(
    missing_docs,
    reason = "the `xdp` macro makes an undocumented function beside the documented one"
)]

use aya_ebpf::{
    Global,
    bindings::xdp_action,
    btf_maps::{Array, ArrayOfMaps, LpmTrie, PerCpuArray, lpm_trie::Key},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use probe_ebpf::parse::{WithoutGeneration, parse};

mod headers;
mod lookup;

/// Sources that `generate` takes in turn; the loader fills it.
const N_SOURCES: u32 = 1 << 14;

/// Source addresses, network order; an IPv4 address stands in the first four bytes.
#[btf_map]
static SOURCES: Array<[u8; 16], { N_SOURCES as usize }> = Array::new();

/// Which source comes next.
#[btf_map]
static NEXT_SOURCE: PerCpuArray<u32, 1> = PerCpuArray::new();

/// 4 or 6: the family of the frame that `generate` is given.
#[unsafe(no_mangle)]
static FAMILY: Global<u32> = Global::new(4);

/// An IPv4 blocklist as an LPM trie.
type BlockedV4 = LpmTrie<[u8; 4], u32, 64>;
/// An IPv6 blocklist as an LPM trie.
type BlockedV6 = LpmTrie<[u8; 16], u32, 64>;

/// Holds the IPv4 blocklist in force.
#[btf_map]
static OUTER_V4: ArrayOfMaps<BlockedV4, 1> = ArrayOfMaps::new();

/// Holds the IPv6 blocklist in force.
#[btf_map]
static OUTER_V6: ArrayOfMaps<BlockedV6, 1> = ArrayOfMaps::new();

/// Drops every packet unseen.
#[xdp(frags)]
pub fn drop_only(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

/// Passes every packet unseen.
#[xdp(frags)]
pub fn pass_only(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Writes the next source into the frame and sends it: run by BPF_PROG_TEST_RUN with live frames.
#[xdp]
pub fn generate(ctx: XdpContext) -> u32 {
    const SOURCE_V4: usize = 14 + 12;
    const SOURCE_V6: usize = 14 + 8;
    let Some(next) = NEXT_SOURCE.get_ptr_mut(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: this CPU's own copy of a map value; nothing else runs this program on it meanwhile.
    let idx = unsafe {
        *next = (*next).wrapping_add(1);
        *next & (N_SOURCES - 1)
    };
    let Some(source) = SOURCES.get(idx) else {
        return xdp_action::XDP_ABORTED;
    };
    let (data, data_end) = (ctx.data(), ctx.data_end());
    if FAMILY.load() == 4 {
        if data + SOURCE_V4 + 4 > data_end {
            return xdp_action::XDP_ABORTED;
        }
        // SAFETY: the four bytes lie within the frame, checked above.
        unsafe { ((data + SOURCE_V4) as *mut [u8; 4]).write([source[0], source[1], source[2], source[3]]) };
    } else {
        if data + SOURCE_V6 + 16 > data_end {
            return xdp_action::XDP_ABORTED;
        }
        // SAFETY: the sixteen bytes lie within the frame, checked above.
        unsafe { ((data + SOURCE_V6) as *mut [u8; 16]).write(*source) };
    }
    xdp_action::XDP_TX
}

/// Drops what the blocklist of the packet's family holds.
#[xdp(frags)]
pub fn two_maps(ctx: XdpContext) -> u32 {
    let is_blocked = match parse(&ctx, &WithoutGeneration).map(|facts| facts.source) {
        Ok(source) if source.is_v4() => match OUTER_V4.get(0) {
            Some(blocked) => blocked.get(&Key::new(32, source.v4())).is_some(),
            None => false,
        },
        Ok(source) => match OUTER_V6.get(0) {
            Some(blocked) => blocked.get(&Key::new(128, source.v6())).is_some(),
            None => false,
        },
        Err(_) => false,
    };
    if is_blocked {
        xdp_action::XDP_DROP
    } else {
        xdp_action::XDP_PASS
    }
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
