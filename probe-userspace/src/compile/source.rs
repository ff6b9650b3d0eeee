//! Which address a packet is judged by: an IPv6 source may hold the IPv4 address that it stands for. Written without
//! the kernel's code for the same, so that the two can be compared.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

/// The IPv4 address in an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedV4 {
    /// The address.
    pub address: Ipv4Addr,
    /// Whether it stands behind a prefix of the host file.
    pub is_configured: bool,
}

impl EmbeddedV4 {
    /// Whether it is no address of the global internet where only such ones belong.
    pub fn is_martian(&self) -> bool {
        let [first, second, ..] = self.address.octets();
        let is_global = !matches!(
            (first, second),
            (0 | 10 | 127 | 224..=255, _) | (169, 254) | (172, 16..=31) | (192, 168)
        );
        !self.is_configured && !is_global
    }
}

/// Finds the IPv4 address that an IPv6 source stands for: behind one of the host's own NAT64 prefixes, in 6to4
/// (RFC 3056), behind the well-known NAT64 prefix (RFC 6052), in Teredo (RFC 4380).
pub fn embedded_v4(address: Ipv6Addr, nat64: &[Ipv6Net]) -> Option<EmbeddedV4> {
    let octets = address.octets();
    let configured = nat64
        .iter()
        .filter(|prefix| prefix.contains(&address))
        .max_by_key(|prefix| prefix.prefix_len());
    if let Some(prefix) = configured {
        // RFC 6052 section 2.2: right behind the prefix, octet 8 left out.
        let mut behind = (usize::from(prefix.prefix_len() / 8)..16).filter(|idx| *idx != 8);
        let mut v4 = [0; 4];
        for byte in &mut v4 {
            *byte = octets[behind.next()?];
        }
        return Some(EmbeddedV4 {
            address: v4.into(),
            is_configured: true,
        });
    }
    let low = u128::from(address) as u32;
    let v4 = match address.segments() {
        [0x2002, high, low, ..] => (u32::from(high) << 16) | u32::from(low),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => low,
        [0x2001, 0, ..] => !low,
        _ => return None,
    };
    Some(EmbeddedV4 {
        address: v4.into(),
        is_configured: false,
    })
}

/// The address whose place, overrides and failsafe prefixes count.
pub fn judged_source(address: IpAddr, nat64: &[Ipv6Net]) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => embedded_v4(v6, nat64).map_or(address, |embedded| embedded.address.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transition_addresses_are_judged_by_what_they_hold() {
        let nat64: [Ipv6Net; 2] = [
            "2001:db8:100::/40".parse().unwrap(),
            "2001:db8:122:344::/64".parse().unwrap(),
        ];
        for (address, expected) in [
            ("2002:c000:221::1", "192.0.2.33"),
            ("64:ff9b::c000:221", "192.0.2.33"),
            ("64:ff9b::1:0:c000:221", "64:ff9b::1:0:c000:221"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdde", "192.0.2.33"),
            ("2001:db8:1c0:2:21::", "192.0.2.33"),
            ("2001:db8:122:344:c0:2:2100::", "192.0.2.33"),
            ("2001:db8::1", "2001:db8::1"),
            ("2003::1", "2003::1"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            let judged = judged_source(address.parse().unwrap(), &nat64);
            assert_eq!(judged.to_string(), expected, "{address}");
        }
    }

    #[test]
    fn only_what_is_not_global_is_a_martian_and_never_behind_a_prefix_of_the_host() {
        let is_martian = |address: &str, nat64: &[Ipv6Net]| {
            embedded_v4(address.parse().unwrap(), nat64).unwrap().is_martian()
        };
        for address in [
            "10.0.0.1",
            "127.0.0.1",
            "169.254.9.9",
            "172.31.0.1",
            "192.168.0.1",
            "0.0.0.1",
            "240.0.0.1",
        ] {
            assert!(is_martian(&format!("64:ff9b::{address}"), &[]), "{address}");
        }
        for address in [
            "172.32.0.1",
            "169.253.0.1",
            "192.169.0.1",
            "100.64.0.1",
            "223.255.255.255",
            "8.8.8.8",
        ] {
            assert!(!is_martian(&format!("64:ff9b::{address}"), &[]), "{address}");
        }
        let own = ["2001:db8:64::/96".parse().unwrap()];
        assert!(!is_martian("2001:db8:64::10.0.0.1", &own));
    }
}
