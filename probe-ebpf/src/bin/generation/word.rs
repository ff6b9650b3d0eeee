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
        source: Address::V6([0; 16]),
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

/// An address in two words.
///
/// The compiler takes sixteen bytes apart and keeps them one by one wherever they are used again; so it must not see
/// that these words were bytes.
#[derive(Clone, Copy)]
pub struct AddressWords {
    is_v4: bool,
    /// The bytes as they stand in memory; IPv4 as ::ffff:a.b.c.d.
    halves: [u64; 2],
}

impl AddressWords {
    /// From an address.
    #[inline(always)]
    pub fn new(address: &Address) -> Self {
        let (is_v4, halves) = match address {
            Address::V4([a, b, c, d]) => (true, [0, u64::from_ne_bytes([0, 0, 0xff, 0xff, *a, *b, *c, *d])]),
            Address::V6([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]) => (
                false,
                [
                    u64::from_ne_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
                    u64::from_ne_bytes([*i, *j, *k, *l, *m, *n, *o, *p]),
                ],
            ),
        };
        Self {
            is_v4,
            halves: black_box(halves),
        }
    }

    /// From its parts.
    #[inline(always)]
    pub const fn from_halves(is_v4: bool, halves: [u64; 2]) -> Self {
        Self { is_v4, halves }
    }

    /// The IPv4 address.
    #[inline(always)]
    pub const fn v4(self) -> [u8; 4] {
        let [_, _, _, _, a, b, c, d] = self.halves[1].to_ne_bytes();
        [a, b, c, d]
    }

    /// The IPv6 address.
    #[inline(always)]
    pub fn v6(self) -> [u8; 16] {
        let mut address = [0; 16];
        address[..8].copy_from_slice(&self.halves[0].to_ne_bytes());
        address[8..].copy_from_slice(&self.halves[1].to_ne_bytes());
        address
    }

    /// Whether it is IPv4.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        self.is_v4
    }

    /// The words.
    #[inline(always)]
    pub const fn halves(self) -> [u64; 2] {
        self.halves
    }
}
