//! `/proc/net/route` and `/proc/net/ipv6_route`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `RTF_UP | RTF_GATEWAY` (include/uapi/linux/route.h).
const UP_GATEWAY: u32 = 0x3;

/// Gateways of the IPv4 default routes.
pub fn parse_route(text: &str) -> Vec<IpAddr> {
    text.lines().skip(1).filter_map(gateway_v4).collect()
}

/// Gateways of the IPv6 default routes.
pub fn parse_ipv6_route(text: &str) -> Vec<IpAddr> {
    text.lines().filter_map(gateway_v6).collect()
}

/// Columns: Iface Destination Gateway Flags RefCnt Use Metric Mask ...
fn gateway_v4(line: &str) -> Option<IpAddr> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let number = |idx: usize| u32::from_str_radix(fields.get(idx)?, 16).ok();
    let is_default = number(1)? == 0 && number(7)? == 0;
    if !is_default || number(3)? & UP_GATEWAY != UP_GATEWAY {
        return None;
    }
    Some(IpAddr::V4(Ipv4Addr::from(number(2)?.to_ne_bytes())))
}

/// Columns: destination, its prefix length, source, its prefix length, next hop, metric, references, use, flags, ifname.
fn gateway_v6(line: &str) -> Option<IpAddr> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let flags = u32::from_str_radix(fields.get(8)?, 16).ok()?;
    if *fields.get(1)? != "00" || flags & UP_GATEWAY != UP_GATEWAY {
        return None;
    }
    let next_hop = u128::from_str_radix(fields.get(4)?, 16).ok()?;
    Some(IpAddr::V6(Ipv6Addr::from(next_hop)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Real files of a virtual machine, with documentation addresses.
    const ROUTE: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth0\t006433C6\t020200C0\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0
";
    const IPV6_ROUTE: &str = "\
fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 20010db8000000000000000000000001 00000400 00000002 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_default_route_names_the_gateway_and_others_do_not() {
        assert_eq!(parse_route(ROUTE), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn the_ipv6_default_route_names_the_gateway_and_the_unreachable_one_does_not() {
        assert_eq!(
            parse_ipv6_route(IPV6_ROUTE),
            ["2001:db8::1".parse::<IpAddr>().unwrap()]
        );
    }

    #[test]
    fn other_text_gives_nothing() {
        assert_eq!(parse_route("head\neth0 0\n\n"), Vec::<IpAddr>::new());
        assert_eq!(parse_ipv6_route("x\n"), Vec::<IpAddr>::new());
    }
}
