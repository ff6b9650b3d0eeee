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
            let mut address = [0; 16];
            for (pair, group) in address.chunks_exact_mut(2).zip(groups) {
                pair.copy_from_slice(&group.to_be_bytes());
            }
            assert_eq!(embedded_v4(&address, len), Some([192, 0, 2, 33]), "/{len}");
        }
        assert_eq!(embedded_v4(&[0; 16], 33), None);
    }
}
