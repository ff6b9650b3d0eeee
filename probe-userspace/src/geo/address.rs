//! Addresses as numbers, so that one piece of code serves both families.

use std::{fmt::Debug, net::IpAddr};

/// An address as a number in host order: `u32` (IPv4) or `u128` (IPv6).
pub trait Address: Copy + Default + Ord + Debug + Send + Sync + 'static {
    /// Bits of an address.
    const BITS: u8;
    /// The first address of the family.
    const FIRST: Self;
    /// The last address of the family.
    const LAST: Self;

    /// The address with one more bit set; bit 0 is the most significant one.
    fn with_bit(self, idx: u8) -> Self;
    /// The last address of the prefix of this length that starts here.
    fn last_of(self, prefix_len: u8) -> Self;
    /// The address after this one.
    fn next(self) -> Option<Self>;
    /// The address before this one.
    fn previous(self) -> Option<Self>;
    /// The address as the standard library has it.
    fn to_ip(self) -> IpAddr;
    /// The address as a number that is wide enough for both families.
    fn to_number(self) -> u128;
    /// The address of a number, which is one of this family's.
    fn from_number(number: u128) -> Self;
}

macro_rules! address {
    ($number:ty, $ip:ty) => {
        impl Address for $number {
            const BITS: u8 = <$number>::BITS as u8;
            const FIRST: Self = <$number>::MIN;
            const LAST: Self = <$number>::MAX;

            fn with_bit(self, idx: u8) -> Self {
                self | 1 << (<$number>::BITS - 1 - u32::from(idx))
            }

            fn last_of(self, prefix_len: u8) -> Self {
                self | <$number>::MAX.checked_shr(prefix_len.into()).unwrap_or(0)
            }

            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }

            fn previous(self) -> Option<Self> {
                self.checked_sub(1)
            }

            fn to_ip(self) -> IpAddr {
                <$ip>::from(self).into()
            }

            fn to_number(self) -> u128 {
                self.into()
            }

            fn from_number(number: u128) -> Self {
                number as $number
            }
        }
    };
}

address!(u32, std::net::Ipv4Addr);
address!(u128, std::net::Ipv6Addr);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_where_they_should() {
        assert_eq!(0u32.last_of(0), u32::MAX);
        assert_eq!(0x0a00_0000u32.last_of(8), 0x0aff_ffff);
        assert_eq!(7u32.last_of(32), 7);
        assert_eq!(0u128.last_of(0), u128::MAX);
        assert_eq!(7u128.last_of(128), 7);
        assert_eq!(0u32.with_bit(0), 1 << 31);
        assert_eq!(0u128.with_bit(127), 1);
    }
}
