//! What a host says about frames, as constants and small tables of a generation.

use crate::{limits::MAX_NAT64, shared::shared};

shared! {
    /// One NAT64 prefix (RFC 6052): sources below it hold an IPv4 address.
    pub struct Nat64[17] {
        /// The prefix, host bits zero.
        pub prefix: [u8; 16],
        /// Its length: 32, 40, 48, 56, 64 or 96.
        pub len: u8,
    }
}

shared! {
    /// Value of the constant `NAT64_PREFIXES`: the configured ones, without the well-known 64:ff9b::/96.
    pub struct Nat64Prefixes[68] {
        /// Those in use come first.
        pub prefixes: [Nat64; MAX_NAT64],
    }
}

/// The IPv4 address that RFC 6052 section 2.2 places behind a prefix of this length; `None` for a length it does
/// not know. Bits 64-71 are skipped.
#[inline(always)]
pub const fn embedded_v4(address: &[u8; 16], prefix_len: u8) -> Option<[u8; 4]> {
    let a = address;
    match prefix_len {
        32 => Some([a[4], a[5], a[6], a[7]]),
        40 => Some([a[5], a[6], a[7], a[9]]),
        48 => Some([a[6], a[7], a[9], a[10]]),
        56 => Some([a[7], a[9], a[10], a[11]]),
        64 => Some([a[9], a[10], a[11], a[12]]),
        96 => Some([a[12], a[13], a[14], a[15]]),
        _ => None,
    }
}

/// An IPv4 address that an IPv6 source holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// The IPv4 address, network order.
    pub address: [u8; 4],
    /// Whether a configured NAT64 prefix says so: behind one of those, private addresses are meant.
    pub is_configured: bool,
}

impl Embedded {
    /// Whether no honest packet has such a source: 6to4 (RFC 3056 section 2), the well-known NAT64 prefix (RFC 6052
    /// section 3.1) and Teredo (RFC 4380 section 5.2.4) hold global addresses only.
    #[inline(always)]
    pub const fn is_martian(self) -> bool {
        !self.is_configured && !is_global_v4(self.address)
    }
}

impl Nat64 {
    /// The IPv4 address inside an address below this prefix; `None` for any other address.
    #[inline(always)]
    pub const fn embedded(&self, address: &[u8; 16]) -> Option<[u8; 4]> {
        let (prefix_high, prefix_low) = halves(&self.prefix);
        let (high, low) = halves(address);
        let len = self.len as u32;
        let differs_high = (prefix_high ^ high) & leading_bits(len);
        let differs_low = (prefix_low ^ low) & leading_bits(len.saturating_sub(64));
        if differs_high | differs_low != 0 {
            return None;
        }
        embedded_v4(address, self.len)
    }
}

/// The IPv4 address inside an IPv6 source: that of the first configured NAT64 prefix around it, else that of a
/// 6to4, well-known NAT64 or Teredo address. A longer prefix must stand before a shorter one around it.
pub fn embedded(address: &[u8; 16], nat64: &[Nat64]) -> Option<Embedded> {
    match nat64.iter().find_map(|prefix| prefix.embedded(address)) {
        Some(address) => Some(Embedded {
            address,
            is_configured: true,
        }),
        None => embedded_by_standard(address),
    }
}

/// The same without configured prefixes.
#[inline(always)]
pub const fn embedded_by_standard(address: &[u8; 16]) -> Option<Embedded> {
    let a = address;
    // Compared by words: the kernel program has the source in two registers.
    let (high, low) = halves(address);
    let address = if high & SIX_TO_FOUR_MASK == SIX_TO_FOUR {
        [a[2], a[3], a[4], a[5]]
    } else if high & TEREDO_MASK == TEREDO {
        [!a[12], !a[13], !a[14], !a[15]]
    } else if high == NAT64 && low & NAT64_LOW_MASK == 0 {
        [a[12], a[13], a[14], a[15]]
    } else {
        return None;
    };
    Some(Embedded {
        address,
        is_configured: false,
    })
}

/// The two words of an IPv6 address, each in the byte order of memory: to be compared, not to be calculated with.
#[inline(always)]
pub const fn halves(a: &[u8; 16]) -> (u64, u64) {
    (
        u64::from_ne_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]]),
        u64::from_ne_bytes([a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]]),
    )
}

/// The first bits of a word in the byte order of memory; all of them if there are not as many.
const fn leading_bits(n_bits: u32) -> u64 {
    match u64::MAX.checked_shr(n_bits) {
        Some(rest) => (!rest).to_be(),
        None => u64::MAX,
    }
}

/// 2002::/16 (RFC 3056).
const SIX_TO_FOUR: u64 = u64::from_ne_bytes([0x20, 0x02, 0, 0, 0, 0, 0, 0]);
const SIX_TO_FOUR_MASK: u64 = u64::from_ne_bytes([0xff, 0xff, 0, 0, 0, 0, 0, 0]);
/// 2001::/32, the client's address inverted (RFC 4380 section 4).
const TEREDO: u64 = u64::from_ne_bytes([0x20, 0x01, 0, 0, 0, 0, 0, 0]);
const TEREDO_MASK: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
/// 64:ff9b::/96 (RFC 6052 section 2.1).
const NAT64: u64 = u64::from_ne_bytes([0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0]);
const NAT64_LOW_MASK: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);

/// Whether an IPv4 address may be the source of a packet on the Internet: not 0/8, 10/8, 127/8, 169.254/16, 172.16/12,
/// 192.168/16, 224/3.
#[inline(always)]
pub const fn is_global_v4(address: [u8; 4]) -> bool {
    !matches!(
        (address[0], address[1]),
        (0 | 10 | 127 | 224.., _) | (169, 254) | (172, 16..=31) | (192, 168)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_rfc_6052() {
        // Section 2.4: 192.0.2.33 in prefixes of 2001:db8::/32 and longer.
        let cases: [(u8, [u16; 8]); 6] = [
            (32, [0x2001, 0xdb8, 0xc000, 0x221, 0, 0, 0, 0]),
            (40, [0x2001, 0xdb8, 0x1c0, 0x2, 0x21, 0, 0, 0]),
            (48, [0x2001, 0xdb8, 0x122, 0xc000, 0x2, 0x2100, 0, 0]),
            (56, [0x2001, 0xdb8, 0x122, 0x3c0, 0, 0x221, 0, 0]),
            (64, [0x2001, 0xdb8, 0x122, 0x344, 0xc0, 0x2, 0x2100, 0]),
            (96, [0x2001, 0xdb8, 0x122, 0x344, 0, 0, 0xc000, 0x221]),
        ];
        for (len, groups) in cases {
            assert_eq!(
                embedded_v4(&address(groups), len),
                Some([192, 0, 2, 33]),
                "/{len}"
            );
        }
        assert_eq!(embedded_v4(&[0; 16], 33), None);
    }

    fn address(groups: [u16; 8]) -> [u8; 16] {
        let mut address = [0; 16];
        for (pair, group) in address.chunks_exact_mut(2).zip(groups) {
            pair.copy_from_slice(&group.to_be_bytes());
        }
        address
    }

    #[test]
    fn standards_that_embed() {
        let by_standard = |v4| {
            Some(Embedded {
                address: v4,
                is_configured: false,
            })
        };
        let cases = [
            (
                [0x2002, 0xc000, 0x221, 1, 2, 3, 4, 5],
                by_standard([192, 0, 2, 33]),
            ),
            ([0x2003, 0xc000, 0x221, 1, 2, 3, 4, 5], None),
            (
                [0x2001, 0, 1, 2, 3, 4, 0x3fff, 0xfdde],
                by_standard([192, 0, 2, 33]),
            ),
            ([0x2001, 1, 1, 2, 3, 4, 0x3fff, 0xfdde], None),
            (
                [0x64, 0xff9b, 0, 0, 0, 0, 0xc000, 0x221],
                by_standard([192, 0, 2, 33]),
            ),
            ([0x64, 0xff9b, 0, 0, 0, 1, 0xc000, 0x221], None),
            ([0x64, 0xff9b, 1, 0, 0, 0, 0xc000, 0x221], None),
            ([0x65, 0xff9b, 0, 0, 0, 0, 0xc000, 0x221], None),
            ([0, 0, 0, 0, 0, 0, 0xc000, 0x221], None),
        ];
        for (groups, expected) in cases {
            assert_eq!(embedded(&address(groups), &[]), expected, "{groups:04x?}");
        }
    }

    #[test]
    fn a_configured_prefix_comes_before_the_standards() {
        let prefix = |groups, len| Nat64 {
            prefix: address(groups),
            len,
        };
        let configured = |v4| {
            Some(Embedded {
                address: v4,
                is_configured: true,
            })
        };
        let nat64 = [
            prefix([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
            prefix([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96),
            prefix([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
        ];
        let cases = [
            (
                [0x64, 0xff9b, 1, 0xa00, 0, 0x100, 0, 0],
                configured([10, 0, 0, 1]),
            ),
            ([0x64, 0xff9b, 2, 0xa00, 0, 0x100, 0, 0], None),
            ([0x64, 0xff9b, 0, 0, 0, 0, 0xa00, 1], configured([10, 0, 0, 1])),
            ([0x64, 0xff9b, 0, 0, 0, 1, 0xa00, 1], None),
            ([0x2001, 0xdb8, 0xb00, 1, 9, 9, 9, 9], configured([11, 0, 0, 1])),
            ([0x2001, 0xdb9, 0xb00, 1, 9, 9, 9, 9], None),
        ];
        for (groups, expected) in cases {
            assert_eq!(embedded(&address(groups), &nat64), expected, "{groups:04x?}");
        }
    }

    #[test]
    fn only_configured_prefixes_hold_private_addresses() {
        let cases = [
            ([0, 255, 255, 255], false),
            ([1, 0, 0, 0], true),
            ([9, 255, 255, 255], true),
            ([10, 0, 0, 0], false),
            ([11, 0, 0, 0], true),
            ([126, 255, 255, 255], true),
            ([127, 0, 0, 1], false),
            ([128, 0, 0, 0], true),
            ([169, 253, 255, 255], true),
            ([169, 254, 0, 0], false),
            ([169, 255, 0, 0], true),
            ([172, 15, 255, 255], true),
            ([172, 16, 0, 0], false),
            ([172, 31, 255, 255], false),
            ([172, 32, 0, 0], true),
            ([192, 167, 255, 255], true),
            ([192, 168, 0, 0], false),
            ([192, 169, 0, 0], true),
            ([223, 255, 255, 255], true),
            ([224, 0, 0, 0], false),
            ([255, 255, 255, 255], false),
        ];
        for (address, is_global) in cases {
            let of = |is_configured| Embedded {
                address,
                is_configured,
            };
            assert_eq!(of(false).is_martian(), !is_global, "{address:?}");
            assert!(!of(true).is_martian(), "{address:?}");
        }
    }
}
