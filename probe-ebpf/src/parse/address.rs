//! Addresses, in words.

use core::hint::black_box;

use probe_common::halves;

/// An address.
///
/// In words, all of them defined whichever the family: the compiler would take sixteen bytes apart and keep them one by
/// one wherever they are used again, and move undefined ones about, which the verifier refuses.
#[derive(Clone, Copy)]
pub struct Address {
    is_v4: bool,
    /// An IPv4 address as it stands in memory; else zero.
    v4: u32,
    /// An IPv6 address as it stands in memory; else zero.
    v6: [u64; 2],
}

impl Address {
    /// An IPv4 address, network order.
    #[inline(always)]
    pub const fn from_v4(address: [u8; 4]) -> Self {
        Self {
            is_v4: true,
            v4: u32::from_ne_bytes(address),
            v6: [0; 2],
        }
    }

    /// An IPv6 address, network order.
    #[inline(always)]
    pub fn from_v6(address: [u8; 16]) -> Self {
        Self {
            is_v4: false,
            v4: 0,
            // So that the compiler does not see that these words were bytes.
            v6: black_box(<[u64; 2]>::from(halves(&address))),
        }
    }

    /// Whether it is an IPv4 address.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        self.is_v4
    }

    /// The IPv4 address, network order.
    #[inline(always)]
    pub const fn v4(self) -> [u8; 4] {
        self.v4.to_ne_bytes()
    }

    /// The IPv6 address, network order.
    #[inline(always)]
    pub fn v6(self) -> [u8; 16] {
        let mut address = [0; 16];
        address[..8].copy_from_slice(&self.v6[0].to_ne_bytes());
        address[8..].copy_from_slice(&self.v6[1].to_ne_bytes());
        address
    }

    /// The address in two words as they stand in memory, IPv4 as ::ffff:a.b.c.d.
    #[inline(always)]
    pub const fn halves(self) -> [u64; 2] {
        if self.is_v4 {
            let [a, b, c, d] = self.v4();
            [0, u64::from_ne_bytes([0, 0, 0xff, 0xff, a, b, c, d])]
        } else {
            self.v6
        }
    }

    /// From [`Address::halves`].
    #[inline(always)]
    pub const fn from_halves(is_v4: bool, [high, low]: [u64; 2]) -> Self {
        let [_, _, _, _, a, b, c, d] = low.to_ne_bytes();
        if is_v4 {
            Self::from_v4([a, b, c, d])
        } else {
            Self {
                is_v4,
                v4: 0,
                v6: [high, low],
            }
        }
    }
}
