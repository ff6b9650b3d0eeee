//! Prefixes that belong to no place by design, whatever a database says about them.

use probe_common::class;

use super::{address::Address, ranges::Ranges};

/// Private (RFC 1918) and shared (RFC 6598) addresses.
pub(crate) const LAN_V4: [(u32, u8); 4] = [
    (0x0a00_0000, 8),
    (0x6440_0000, 10),
    (0xac10_0000, 12),
    (0xc0a8_0000, 16),
];

/// Unique local addresses (RFC 4193).
pub(crate) const LAN_V6: [(u128, u8); 1] = [(0xfc << 120, 7)];

/// Gives these prefixes the class LAN, longer prefixes of the database inside them included.
pub(super) fn mark_lan(ranges_v4: &mut Ranges<u32>, ranges_v6: &mut Ranges<u128>) {
    for (addr, prefix_len) in LAN_V4 {
        ranges_v4.overlay(addr, addr.last_of(prefix_len), class::LAN);
    }
    for (addr, prefix_len) in LAN_V6 {
        ranges_v6.overlay(addr, addr.last_of(prefix_len), class::LAN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_private_prefixes_are_lan() {
        let (mut v4, mut v6) = (Ranges::default(), Ranges::default());
        mark_lan(&mut v4, &mut v6);
        let v4_class = |text: &str| v4.class_of(text.parse::<std::net::Ipv4Addr>().unwrap().into());
        for inside in [
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.0",
            "192.168.255.255",
        ] {
            assert_eq!(v4_class(inside), class::LAN, "{inside}");
        }
        for outside in [
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
        ] {
            assert_eq!(v4_class(outside), class::UNKNOWN, "{outside}");
        }
        let v6_class = |text: &str| v6.class_of(text.parse::<std::net::Ipv6Addr>().unwrap().into());
        assert_eq!(v6_class("fc00::"), class::LAN);
        assert_eq!(v6_class("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), class::LAN);
        assert_eq!(
            v6_class("fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            class::UNKNOWN
        );
        assert_eq!(v6_class("fe00::"), class::UNKNOWN);
    }
}
