//! Programs that cordon is measured against and tested with. None of them is part of a running cordon.
//!
//! `drop_only` is the floor of every comparison: an XDP program that looks at nothing. `generate` makes traffic.
//! `listed` is the list as an LPM trie.
//! `two_maps` publishes the way cordon must not: two maps, replaced one after the other.
#![no_std]
#![no_main]
#![expect(
    missing_docs,
    reason = "the `xdp` macro makes an undocumented function beside the documented one"
)]

use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::{ArrayOfMaps, LpmTrie, lpm_trie::Key},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use probe_ebpf::parse::{WithoutGeneration, parse};

mod generate;
mod headers;
mod listed;
mod lookup;

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
