//! A packet's facts in one word, as global functions take them.

use core::hint::black_box;

use probe_common::scope::UNTAGGED;
use probe_ebpf::parse::{Address, Facts};

const IP_LEN_SHIFT: u32 = 16;
const VERSION_SHIFT: u32 = 24;
const PROTOCOL_SHIFT: u32 = 32;
const LATER_FRAGMENT: u64 = 1 << 40;
const FRAGMENT: u64 = 1 << 41;
const VLAN_SHIFT: u32 = 42;
/// No IP header begins behind it: addresses, four tags and PPPoE come to less. The verifier does not know what
/// crosses the border of a global function, and must see that offsets are small.
const IP_OFFSET_MASK: u64 = 0x7f;

/// All facts but the source.
#[inline(always)]
pub const fn pack(facts: &Facts) -> u64 {
    let mut word = facts.ip_offset as u64
        | (facts.ip_len as u64) << IP_LEN_SHIFT
        | (facts.version as u64) << VERSION_SHIFT
        | (facts.protocol as u64) << PROTOCOL_SHIFT
        | (facts.vlan as u64) << VLAN_SHIFT;
    if facts.is_later_fragment {
        word |= LATER_FRAGMENT;
    }
    if facts.is_fragment {
        word |= FRAGMENT;
    }
    word
}

/// The facts again. The source is none: who needs it reads it from the packet or takes it besides.
#[inline(always)]
pub fn unpack(word: u64) -> Facts {
    // The compiler knows which bits can be set, the verifier does not: so the compiler must not leave masks away.
    let word = black_box(word);
    Facts {
        source: Address::from_halves(false, [0; 2]),
        ip_offset: (word & IP_OFFSET_MASK) as u16,
        ip_len: (word >> IP_LEN_SHIFT) as u8,
        version: (word >> VERSION_SHIFT) as u8,
        protocol: (word >> PROTOCOL_SHIFT) as u8,
        is_later_fragment: word & LATER_FRAGMENT != 0,
        is_fragment: word & FRAGMENT != 0,
        vlan: (word >> VLAN_SHIFT) as u16,
    }
}

const _: () = assert!(UNTAGGED < 1 << 16);

/// Offset of the IP header, in bounds that the verifier sees.
#[inline(always)]
pub fn ip_offset(facts: &Facts) -> usize {
    usize::from(facts.ip_offset) & IP_OFFSET_MASK as usize
}
