//! Rows 1-5, 26, 27, 35 and 39: where the source is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use probe_common::Reason::{
    Exempt, Failsafe, LinkLocal, Martian, NeighbourDiscovery, PolicyDrop, PolicyPass, WithinLimit,
};

use super::{ALLOWED, BLOCKED, UNLISTED, drain, drop_and_pass, drops, judged, passes, plain, row, text};
use crate::{
    corpus::{
        Case,
        build::{self, ACK, SYN, extension, icmp, ip_frame, number, tcp, udp, v4, v6},
        data::Row,
        places::{A4, A6, B4, B6},
    },
    lab::{EDGE_V4, EDGE_V6},
};

pub(super) fn add(rows: &mut Vec<Row>) {
    baseline(rows);
    nested(rows);
    from_nowhere(rows);
    lan(rows);
    destinations(rows);
    spoofed(rows);
}

fn baseline(rows: &mut Vec<Row>) {
    let tcp_and_udp = |who: &str, source: IpAddr, reason, policy: &str| {
        let syn = ip_frame(source, number::TCP, &tcp(40_000, 443, SYN, b""));
        [
            judged(format!("TCP over {who}"), syn, reason).policy(policy),
            judged(format!("UDP over {who}"), plain(source), reason).policy(policy),
        ]
    };
    let mut cases = Vec::new();
    for (who, source) in BLOCKED {
        cases.extend(tcp_and_udp(who, source, PolicyDrop, "block-list"));
        let name = format!("{who}, but failsafe");
        let prefix = if source.is_ipv4() {
            "198.51.100.7/32"
        } else {
            "2001:db8:b::7/128"
        };
        cases.push(passes(name, plain(source), Failsafe).failsafe(prefix));
    }
    for (name, source, reason) in [
        ("first address of B's /24", "198.51.100.0", PolicyDrop),
        ("last address of B's /24", "198.51.100.255", PolicyDrop),
        ("the address below B's /24", "198.51.99.255", PolicyPass),
        ("the address above B's /24", "198.51.101.0", PolicyPass),
        ("first address of B's /48", "2001:db8:b::", PolicyDrop),
        (
            "last address of B's /48",
            "2001:db8:b:ffff:ffff:ffff:ffff:ffff",
            PolicyDrop,
        ),
        (
            "the address below B's /48",
            "2001:db8:a:ffff:ffff:ffff:ffff:ffff",
            PolicyPass,
        ),
        ("the address above B's /48", "2001:db8:c::", PolicyPass),
        ("lowest IPv4 address that is no martian", "0.0.0.1", PolicyPass),
        ("highest IPv4 address", "255.255.255.255", PolicyPass),
        (
            "highest IPv6 address",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            PolicyPass,
        ),
    ] {
        cases.push(judged(name, plain(text(source)), reason));
    }
    cases.push(like_failsafe());
    cases.extend(drain::of_blocked());
    cases.extend(first_of_each_source());
    row(rows, 1, "IPv4 and IPv6, TCP and UDP from B: drop", cases);

    let mut cases = Vec::new();
    for (who, source) in ALLOWED {
        cases.extend(tcp_and_udp(who, source, PolicyPass, "block-list"));
        let name = format!("{who}, allow-list");
        cases.push(passes(name, plain(source), PolicyPass).policy("allow-list"));
    }
    cases.push(passes(
        "lower half like a mapped address of B, upper half A's",
        plain(text("2001:db8:a::ffff:c633:6407")),
        PolicyPass,
    ));
    cases.extend(drain::of_allowed());
    row(rows, 2, "from A: pass", cases);

    let cases = UNLISTED.map(|(who, source)| tcp_and_udp(who, source, PolicyPass, "block-list"));
    let cases = [cases.concat(), drain::of_unlisted()].concat();
    row(rows, 3, "from U: pass", cases);

    let mut cases = Vec::new();
    for (who, source) in UNLISTED.into_iter().chain(BLOCKED) {
        cases.extend(tcp_and_udp(who, source, PolicyDrop, "allow-list"));
    }
    row(rows, 4, "from U in allow-list mode: drop", cases);
}

/// IPv4's bytes where IPv6 has its source: time to live, protocol, checksum, addresses. 2001::/16 is failsafe.
fn like_failsafe() -> Case {
    let header = build::V4 {
        ttl: 0x20,
        ..v4(B4, number::ICMP)
    };
    let frame = header.frame(&icmp(8, 0, &[0, 1, 0, 1]));
    let name = "IPv4 from B, its header like a failsafe source of IPv6";
    drops(name, frame, PolicyDrop).failsafe("2001::/16")
}

/// Each source has a limit of its own, so that its first packet is within it.
fn first_of_each_source() -> Vec<Case> {
    let sources = [
        "198.51.100.7",
        "198.51.100.8",
        "198.19.100.7",
        "2001:db8:b::7",
        "2001:db8:b:1::7",
        "2002:c633:6409::1",
    ];
    sources
        .into_iter()
        .map(|source| {
            let name = format!("limit: first packet of {source}");
            passes(name, plain(text(source)), WithinLimit)
                .policy("limit")
                .off_wire()
        })
        .collect()
}

fn nested(rows: &mut Vec<Row>) {
    let cases = [
        ("B's /16", "198.19.6.255", PolicyDrop),
        ("A's /24 in B's /16, first", "198.19.7.0", PolicyPass),
        ("A's /24 in B's /16, last", "198.19.7.255", PolicyPass),
        ("B's /16 above A's /24", "198.19.8.0", PolicyDrop),
        ("A's /16", "198.18.6.255", PolicyPass),
        ("B's /24 in A's /16, first", "198.18.7.0", PolicyDrop),
        ("B's /24 in A's /16, last", "198.18.7.255", PolicyDrop),
        ("A's /32 in B's /24 in A's /16", "198.18.7.128", PolicyPass),
        ("A's /16 above B's /24", "198.18.8.0", PolicyPass),
        ("B's /32 of IPv6", "3fff:b:9:ffff::", PolicyDrop),
        ("A's /48 in B's /32", "3fff:b:a::", PolicyPass),
        ("B's /32 above A's /48", "3fff:b:b::", PolicyDrop),
        ("A's /32 of IPv6", "3fff:a:a:ffff::", PolicyPass),
        ("B's /48 in A's /32", "3fff:a:b::", PolicyDrop),
        ("A's /128 in B's /48 in A's /32", "3fff:a:b::a", PolicyPass),
        ("B's /48 in A's /32, beside A's /128", "3fff:a:b::b", PolicyDrop),
    ];
    let cases = cases.map(|(name, source, reason)| judged(name, plain(text(source)), reason));
    let overridden = [
        ("an allowed prefix inside B's, IPv4", "198.51.100.8", Exempt),
        ("below it", "198.51.100.7", PolicyDrop),
        ("above it", "198.51.100.16", PolicyDrop),
        ("an allowed prefix inside B's, IPv6", "2001:db8:b:8::1", Exempt),
        ("beside it", "2001:db8:b:9::1", PolicyDrop),
    ];
    let overridden = overridden.map(|(name, source, reason)| {
        judged(format!("overrides: {name}"), plain(text(source)), reason).policy("overrides")
    });
    row(
        rows,
        5,
        "nested: B's prefix with A's inside, and the reverse: the longest wins",
        cases.into_iter().chain(overridden).collect(),
    );
}

fn from_nowhere(rows: &mut Vec<Row>) {
    let to_group = |group: &str, next_header| build::V6 {
        destination: group.parse().expect("an address in the source of a row"),
        hop_limit: 255,
        ..v6(Ipv6Addr::UNSPECIFIED, next_header)
    };
    let report = extension(number::ICMPV6, 0, &icmp(143, 0, &[0; 4]));
    let datagram = udp(40_000, 443, b"corpus");
    let blocked = |case: Case| case.policy("allow-list-no-lan");
    let mut cases = vec![
        blocked(passes(
            "duplicate address detection from ::",
            to_group("ff02::1:ff00:1", number::ICMPV6).frame(&icmp(135, 0, &[0; 20])),
            NeighbourDiscovery,
        )),
        blocked(passes(
            "multicast listener report from ::",
            to_group("ff02::16", number::HOP_BY_HOP).frame(&report),
            LinkLocal,
        )),
        blocked(passes(
            "from :: to ff02::1",
            to_group("ff02::1", number::UDP).frame(&datagram),
            LinkLocal,
        )),
        blocked(drops(
            "from :: to ff03::1",
            to_group("ff03::1", number::UDP).frame(&datagram),
            PolicyDrop,
        )),
        blocked(drops(
            "from :: to fe02::1",
            to_group("fe02::1", number::UDP).frame(&datagram),
            PolicyDrop,
        )),
        blocked(drops(
            "from :: to the host",
            plain(Ipv6Addr::UNSPECIFIED.into()),
            PolicyDrop,
        )),
        blocked(drops(
            "from ::5 to ff02::1",
            build::V6 {
                source: Ipv6Addr::from_bits(5),
                ..to_group("ff02::1", number::UDP)
            }
            .frame(&datagram),
            PolicyDrop,
        )),
        passes("from ::2", plain(text("::2")), PolicyPass),
        passes("from 126.255.255.255", plain(text("126.255.255.255")), PolicyPass),
        passes("from 128.0.0.0", plain(text("128.0.0.0")), PolicyPass),
        passes(
            "a neighbour of the host's own IPv4 address",
            plain(text("198.18.0.2")),
            PolicyPass,
        ),
        passes(
            "the last byte of the host's own IPv4 address",
            plain(text("192.0.2.1")),
            PolicyPass,
        ),
        passes(
            "a neighbour of the host's own IPv6 address",
            plain(text("2001:2::2")),
            PolicyPass,
        ),
        passes(
            "the last byte of the host's own IPv6 address",
            plain(text("2001:2::1:1")),
            PolicyPass,
        ),
    ];
    for (name, source) in [
        ("from 127.0.0.1", text("127.0.0.1")),
        ("from 127.0.0.0", text("127.0.0.0")),
        ("from 127.255.255.255", text("127.255.255.255")),
        ("from ::1", text("::1")),
        ("from the host's own IPv4 address", EDGE_V4.into()),
        ("from the host's own IPv6 address", EDGE_V6.into()),
    ] {
        cases.push(drops(name, plain(source), Martian));
        cases.push(passes(format!("{name}, martians pass"), plain(source), PolicyPass).martians_pass());
    }
    row(
        rows,
        26,
        ":: for duplicate address detection: pass; ::1, 127/8, own addresses: drop, by `martians`",
        cases,
    );
}

fn lan(rows: &mut Vec<Row>) {
    let mut cases: Vec<Case> = Vec::new();
    for source in [
        "10.0.0.0",
        "10.255.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.168.0.0",
        "192.168.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "fc00::",
        "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ] {
        let frame = || plain(text(source));
        cases.push(passes(source, frame(), PolicyPass));
        cases
            .push(passes(format!("{source}, allow-list with LAN"), frame(), PolicyPass).policy("allow-list"));
        cases.push(
            drops(format!("{source}, allow-list without LAN"), frame(), PolicyDrop)
                .policy("allow-list-no-lan"),
        );
    }
    for source in [
        "9.255.255.255",
        "11.0.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fe00::",
    ] {
        cases
            .push(drops(format!("{source} is no LAN"), plain(text(source)), PolicyDrop).policy("allow-list"));
    }
    row(
        rows,
        27,
        "RFC 1918, 100.64/10, unique local: pass; allow-list mode: pass if `lan`",
        cases,
    );
}

fn destinations(rows: &mut Vec<Row>) {
    let mut cases = Vec::new();
    for (who, source, reason) in [("B", B4, PolicyDrop), ("A", A4, PolicyPass)] {
        for (to, destination) in [
            ("all hosts", Ipv4Addr::BROADCAST),
            ("the hosts of a network", Ipv4Addr::new(198, 19, 255, 255)),
            ("a group", Ipv4Addr::new(224, 0, 0, 251)),
        ] {
            let header = build::V4 {
                destination,
                ..v4(source, number::UDP)
            };
            cases.push(judged(
                format!("IPv4 from {who} to {to}"),
                header.frame(&udp(5353, 5353, b"multicast")),
                reason,
            ));
        }
    }
    for (who, source, reason) in [("B", B6, PolicyDrop), ("A", A6, PolicyPass)] {
        let destination: Ipv6Addr = "ff02::fb".parse().expect("an address in a row");
        let header = build::V6 {
            destination,
            ..v6(source, number::UDP)
        };
        let frame = header.frame(&udp(5353, 5353, b"multicast"));
        cases.push(judged(format!("IPv6 from {who} to a group"), frame, reason));
    }
    row(
        rows,
        35,
        "multicast or broadcast destination, source B: drop",
        cases,
    );
}

fn spoofed(rows: &mut Vec<Row>) {
    let mut cases = Vec::new();
    for (who, source, reason) in drop_and_pass() {
        let syn = ip_frame(source, number::TCP, &tcp(40_000, 443, SYN, b""));
        cases.push(judged(format!("spoofed {who}, TCP SYN"), syn, reason));
        let ack = ip_frame(source, number::TCP, &tcp(40_000, 443, ACK, b""));
        cases.push(judged(format!("spoofed {who}, TCP ACK"), ack, reason));
    }
    row(
        rows,
        39,
        "spoofed A: pass, it cannot be known; spoofed B: drop, without an answer",
        cases,
    );
}
