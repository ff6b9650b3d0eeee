//! Rows 1-5, 22-27, 35 and 39: where the source is, also inside an IPv6 address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use probe_common::Reason::{
    Failsafe, LinkLocal, Malformed, Martian, NeighbourDiscovery, PolicyDrop, PolicyPass,
};

use super::{ALLOWED, BLOCKED, UNLISTED, drop_and_pass, drops, judged, passes, plain, row};
use crate::{
    corpus::{
        Case,
        build::{ACK, SYN, extension, icmp, ip_frame, number, tcp, udp, v4, v6},
        data::Row,
        places::{A4, A6, B4, B6, U4, nat64, six_to_four, teredo},
    },
    lab::{EDGE_V4, EDGE_V6},
};

pub(super) fn add(rows: &mut Vec<Row>) {
    baseline(rows);
    nested(rows);
    mapped(rows);
    embedded(rows);
    from_nowhere(rows);
    lan(rows);
    destinations(rows);
    spoofed(rows);
}

fn text(source: &str) -> IpAddr {
    source.parse().expect("an address in the source of a row")
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
    row(rows, 1, "IPv4 and IPv6, TCP and UDP from B: drop", cases);

    let mut cases = Vec::new();
    for (who, source) in ALLOWED {
        cases.extend(tcp_and_udp(who, source, PolicyPass, "block-list"));
        let name = format!("{who}, allow-list");
        cases.push(passes(name, plain(source), PolicyPass).policy("allow-list"));
    }
    row(rows, 2, "from A: pass", cases);

    let cases = UNLISTED.map(|(who, source)| tcp_and_udp(who, source, PolicyPass, "block-list"));
    row(rows, 3, "from U: pass", cases.concat());

    let mut cases = Vec::new();
    for (who, source) in UNLISTED.into_iter().chain(BLOCKED) {
        cases.extend(tcp_and_udp(who, source, PolicyDrop, "allow-list"));
    }
    row(rows, 4, "from U in allow-list mode: drop", cases);
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
    row(
        rows,
        5,
        "nested: B's prefix with A's inside, and the reverse: the longest wins",
        cases.into(),
    );
}

fn mapped(rows: &mut Vec<Row>) {
    let mut cases = Vec::new();
    for (name, inside) in [("B", B4), ("A", A4), ("0.0.0.0", Ipv4Addr::UNSPECIFIED)] {
        let source: IpAddr = IpAddr::V6(inside.to_ipv6_mapped());
        cases.push(drops(format!("::ffff: and {name}"), plain(source), Malformed));
        cases.push(
            drops(
                format!("::ffff: and {name}, martians pass"),
                plain(source),
                Malformed,
            )
            .martians_pass(),
        );
    }
    for (name, source) in [
        ("below ::ffff:0:0/96", "::fffe:ffff:ffff"),
        ("above ::ffff:0:0/96", "::1:0:0:0"),
        (
            "IPv4-translated ::ffff:0:198.51.100.7, of no meaning here",
            "::ffff:0:c633:6407",
        ),
        (
            "IPv4-compatible ::198.51.100.7, of no meaning any more",
            "::c633:6407",
        ),
    ] {
        cases.push(passes(name, plain(text(source)), PolicyPass));
    }
    row(rows, 22, "::ffff:a.b.c.d from the wire (any): drop", cases);
}

fn embedded(rows: &mut Vec<Row>) {
    let family = |name: &str, around: fn(Ipv4Addr) -> Ipv6Addr| {
        let source = |inside: &str| IpAddr::V6(around(inside.parse().expect("an address in a row")));
        let mut cases = vec![
            drops(format!("{name} around B"), plain(around(B4).into()), PolicyDrop),
            passes(format!("{name} around A"), plain(around(A4).into()), PolicyPass),
            passes(format!("{name} around U"), plain(around(U4).into()), PolicyPass),
            drops(
                format!("{name} around U, allow-list"),
                plain(around(U4).into()),
                PolicyDrop,
            )
            .policy("allow-list"),
            passes(
                format!("{name} around B, failsafe by the IPv4 address"),
                plain(around(B4).into()),
                Failsafe,
            )
            .failsafe("198.51.100.7/32"),
            passes(
                format!("{name} around A's /32 in B's /24"),
                plain(source("198.18.7.128")),
                PolicyPass,
            ),
            passes(
                format!("{name} around 100.64.0.1"),
                plain(source("100.64.0.1")),
                PolicyPass,
            )
            .policy("allow-list"),
        ];
        for inside in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.0.0",
            "169.254.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.0",
            "192.168.255.255",
            "224.0.0.0",
            "255.255.255.255",
        ] {
            cases.push(drops(
                format!("{name} around {inside}"),
                plain(source(inside)),
                Martian,
            ));
        }
        for inside in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "223.255.255.255",
        ] {
            cases.push(passes(
                format!("{name} around {inside}"),
                plain(source(inside)),
                PolicyPass,
            ));
        }
        let lan = plain(source("10.0.0.1"));
        cases.push(passes(format!("{name} around 10.0.0.1, martians pass"), lan, PolicyPass).martians_pass());
        cases
    };
    let neighbour = |name: &str, source: IpAddr, reason| judged(name, plain(source), reason);

    let mut cases = family("6to4", six_to_four);
    cases.push(
        passes(
            "6to4 around B, failsafe by the IPv6 address",
            plain(six_to_four(B4).into()),
            Failsafe,
        )
        .failsafe("2002:c633:6400::/40"),
    );
    cases.push(neighbour(
        "below 2002::/16",
        text("2001:ffff:c633:6407::1"),
        PolicyPass,
    ));
    cases.push(neighbour(
        "above 2002::/16",
        text("2003:c633:6407::1"),
        PolicyPass,
    ));
    row(
        rows,
        23,
        "6to4, 2002:WWXX:YYZZ::/48 with B or A inside: drop; pass",
        cases,
    );

    let mut cases = family("NAT64", nat64);
    cases.push(
        passes(
            "NAT64 around B, failsafe by the IPv6 address",
            plain(nat64(B4).into()),
            Failsafe,
        )
        .failsafe("64:ff9b::c633:6400/120"),
    );
    cases.push(neighbour(
        "beside 64:ff9b::/96",
        text("64:ff9b::1:0:c633:6407"),
        PolicyPass,
    ));
    cases.push(neighbour(
        "below 64:ff9b::/96",
        text("64:ff9a:ffff:ffff:ffff:ffff:c633:6407"),
        PolicyPass,
    ));
    // 198.51.100.7 behind prefixes of every length that RFC 6052 knows; the byte of bits 64-71 is skipped.
    for (prefix, around_b, around_a, around_lan) in [
        (
            "2001:db8::/32",
            "2001:db8:c633:6407::",
            "2001:db8:c000:207::",
            "2001:db8:a00:1::",
        ),
        (
            "2001:db8:100::/40",
            "2001:db8:1c6:3364:7::",
            "2001:db8:1c0:2:7::",
            "2001:db8:10a:0:1::",
        ),
        (
            "64:ff9b:1::/48",
            "64:ff9b:1:c633:64:700::",
            "64:ff9b:1:c000:2:700::",
            "64:ff9b:1:a00:0:100::",
        ),
        (
            "2001:db8:1:200::/56",
            "2001:db8:1:2c6:33:6407::",
            "2001:db8:1:2c0:0:207::",
            "2001:db8:1:20a::1:0:0",
        ),
        (
            "64:ff9b:1:2::/64",
            "64:ff9b:1:2:c6:3364:700:0",
            "64:ff9b:1:2:c0:2:700:0",
            "64:ff9b:1:2:a:0:100:0",
        ),
        (
            "64:ff9b:1::/96",
            "64:ff9b:1::c633:6407",
            "64:ff9b:1::c000:207",
            "64:ff9b:1::a00:1",
        ),
    ] {
        let [around_b, around_a, around_lan] = [around_b, around_a, around_lan].map(text);
        cases.push(drops(format!("B behind {prefix}"), plain(around_b), PolicyDrop).nat64(prefix));
        cases.push(
            passes(format!("A behind {prefix}"), plain(around_a), PolicyPass)
                .nat64(prefix)
                .policy("allow-list"),
        );
        cases.push(
            passes(format!("10.0.0.1 behind {prefix}"), plain(around_lan), PolicyPass)
                .nat64(prefix)
                .policy("allow-list"),
        );
        cases.push(passes(
            format!("B behind {prefix}, not configured"),
            plain(around_b),
            PolicyPass,
        ));
    }
    row(
        rows,
        24,
        "NAT64, 64:ff9b::/96 with B or A: drop; pass; other prefixes by the host file",
        cases,
    );

    let mut cases = family("Teredo", teredo);
    cases.push(neighbour(
        "Teredo, but B's address is not inverted",
        text("2001::63bf:c633:6407"),
        PolicyPass,
    ));
    cases.push(neighbour(
        "above 2001::/32",
        text("2001:1:c000:207:0:63bf:39cc:9bf8"),
        PolicyPass,
    ));
    row(
        rows,
        25,
        "Teredo, 2001::/32 with B in the last 32 bits, inverted: drop",
        cases,
    );
}

fn from_nowhere(rows: &mut Vec<Row>) {
    let solicitation = v6(Ipv6Addr::UNSPECIFIED, number::ICMPV6);
    let solicitation = super::super::build::V6 {
        hop_limit: 255,
        ..solicitation
    };
    let report = extension(number::ICMPV6, 0, &icmp(143, 0, &[0; 4]));
    let mut cases = vec![
        passes(
            "duplicate address detection from ::",
            solicitation.frame(&icmp(135, 0, &[0; 20])),
            NeighbourDiscovery,
        ),
        passes(
            "multicast listener report from ::",
            v6(Ipv6Addr::UNSPECIFIED, number::HOP_BY_HOP).frame(&report),
            LinkLocal,
        ),
        passes(
            "from ::, allow-list",
            plain(Ipv6Addr::UNSPECIFIED.into()),
            LinkLocal,
        )
        .policy("allow-list-no-lan"),
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
            let header = super::super::build::V4 {
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
        let header = super::super::build::V6 {
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
