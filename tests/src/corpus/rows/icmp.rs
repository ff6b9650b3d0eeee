//! Rows 16-20, 33 and 34: what keeps the network alive.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use probe_common::Reason::{
    Dhcp, Failsafe, IcmpError, LinkLocal, NeighbourDiscovery, PolicyDrop, PolicyPass,
};

use super::{drops, judged, passes, plain, row};
use crate::corpus::{
    Case,
    build::{MORE_FRAGMENTS, V4, V6, extension, icmp, ip, number, tagged, udp, v4, v6},
    data::Row,
    places::{A4, A6, B4, B6, nat64, six_to_four},
};

pub(super) fn add(rows: &mut Vec<Row>) {
    neighbour_discovery(rows);
    link_local(rows);
    errors_v6(rows);
    errors_v4(rows);
    dhcp(rows);
    dhcp_v6(rows);
}

const DISCOVERY: [(&str, u8); 5] = [
    ("router solicitation", 133),
    ("router advertisement", 134),
    ("neighbour solicitation", 135),
    ("neighbour advertisement", 136),
    ("redirect", 137),
];

fn address(text: &str) -> Ipv6Addr {
    text.parse().expect("an address in the source of a row")
}

fn neighbour_discovery(rows: &mut Vec<Row>) {
    let frame = |source, message_type, hop_limit| {
        V6 {
            hop_limit,
            ..v6(source, number::ICMPV6)
        }
        .frame(&icmp(message_type, 0, &[0; 20]))
    };
    let mut on_link: Vec<Case> = Vec::new();
    let mut off_link: Vec<Case> = Vec::new();
    for (name, message_type) in DISCOVERY {
        for (who, source) in [
            ("fe80::1", address("fe80::1")),
            ("::", Ipv6Addr::UNSPECIFIED),
            ("B", B6),
            ("A", A6),
            ("6to4 around B", six_to_four(B4)),
        ] {
            let reason = if who == "fe80::1" {
                LinkLocal
            } else {
                NeighbourDiscovery
            };
            on_link.push(passes(
                format!("{name} from {who}, hop limit 255"),
                frame(source, message_type, 255),
                reason,
            ));
        }
        on_link.push(passes(
            format!("{name} from B behind a tag"),
            tagged(&[(number::DOT1Q, 42)], &frame(B6, message_type, 255)),
            NeighbourDiscovery,
        ));
        on_link.push(
            passes(
                format!("{name} from B, everything blocked"),
                frame(B6, message_type, 255),
                NeighbourDiscovery,
            )
            .policy("allow-list-no-lan"),
        );
        for hop_limit in [254, 64, 1, 0] {
            off_link.push(drops(
                format!("{name} from B, hop limit {hop_limit}"),
                frame(B6, message_type, hop_limit),
                PolicyDrop,
            ));
        }
        let cut = frame(B6, message_type, 255)[..54].to_vec();
        off_link.push(drops(format!("{name} from B, no type to read"), cut, PolicyDrop));
        off_link.push(passes(
            format!("{name} from A, hop limit 254"),
            frame(A6, message_type, 254),
            PolicyPass,
        ));
    }
    for message_type in [128, 129, 130, 132, 138, 143] {
        off_link.push(drops(
            format!("ICMPv6 type {message_type} from B, hop limit 255"),
            frame(B6, message_type, 255),
            PolicyDrop,
        ));
    }
    let as_udp = V6 {
        hop_limit: 255,
        ..v6(B6, number::UDP)
    }
    .frame(&udp(135 << 8, 443, b"corpus"));
    off_link.push(drops(
        "UDP that looks like neighbour discovery, from B",
        as_udp,
        PolicyDrop,
    ));
    let as_v4 = V4 {
        ttl: 255,
        ..v4(B4, number::ICMPV6)
    }
    .frame(&icmp(135, 0, &[0; 20]));
    off_link.push(drops("ICMPv6 over IPv4, from B", as_v4, PolicyDrop));
    row(
        rows,
        16,
        "ND with hop limit 255 from fe80::, :: or a global address in B: pass",
        on_link,
    );
    row(rows, 17, "ND with hop limit 254 from B: drop", off_link);
}

fn link_local(rows: &mut Vec<Row>) {
    let report = extension(number::ICMPV6, 0, &icmp(143, 0, &[0; 4]));
    let mut cases = vec![passes(
        "multicast listener report from fe80::1",
        V6 {
            hop_limit: 1,
            ..v6(address("fe80::1"), number::HOP_BY_HOP)
        }
        .frame(&report),
        LinkLocal,
    )];
    for (source, is_link_local) in [
        ("169.254.0.0", true),
        ("169.254.255.255", true),
        ("169.253.255.255", false),
        ("169.255.0.0", false),
        ("fe80::", true),
        ("febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
        ("fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false),
        ("fec0::", false),
    ] {
        let frame = plain(source.parse().expect("an address in the source of a row"));
        cases.push(if is_link_local {
            passes(format!("link-local {source}"), frame, LinkLocal)
        } else {
            drops(format!("{source}, beside link-local"), frame, PolicyDrop)
        });
    }
    let cases = cases
        .into_iter()
        .map(|case| case.policy("allow-list-no-lan"))
        .collect();
    row(
        rows,
        18,
        "MLD, link-local IPv4 169.254/16 and fe80::/10: pass",
        cases,
    );
}

fn errors_v6(rows: &mut Vec<Row>) {
    let quoted = ip(IpAddr::V6(A6), number::UDP, &udp(443, 40_000, b""));
    let body = [&[0, 0, 5, 0][..], &quoted].concat();
    let frame =
        |source, message_type, code| v6(source, number::ICMPV6).frame(&icmp(message_type, code, &body));
    let mut cases: Vec<Case> = Vec::new();
    for (name, message_type) in [
        ("destination unreachable", 1),
        ("packet too big", 2),
        ("time exceeded", 3),
        ("parameter problem", 4),
    ] {
        cases.push(passes(
            format!("{name} from B"),
            frame(B6, message_type, 0),
            IcmpError,
        ));
        cases.push(passes(
            format!("{name} from B, code 255"),
            frame(B6, message_type, 255),
            IcmpError,
        ));
        cases.push(
            drops(
                format!("{name} from B, option off"),
                frame(B6, message_type, 0),
                PolicyDrop,
            )
            .icmp_error_drop(),
        );
        cases.push(passes(
            format!("{name} from A"),
            frame(A6, message_type, 0),
            PolicyPass,
        ));
        cases.push(passes(
            format!("{name} from 6to4 around B"),
            frame(six_to_four(B4), message_type, 0),
            IcmpError,
        ));
        let cut = frame(B6, message_type, 0)[..54].to_vec();
        cases.push(drops(format!("{name} from B, no type to read"), cut, PolicyDrop));
    }
    for message_type in [0, 5, 100, 127, 128, 129, 255] {
        let name = format!("ICMPv6 type {message_type} from B");
        cases.push(drops(name, frame(B6, message_type, 0), PolicyDrop));
    }
    let failsafe = passes("packet too big from B, failsafe", frame(B6, 2, 0), Failsafe);
    cases.push(failsafe.failsafe("2001:db8:b::7/128"));
    row(
        rows,
        19,
        "ICMPv6 types 1, 2, 3, 4 from B: pass, per-CPU rate cap; `icmp_error = \"drop\"`",
        cases,
    );
}

fn errors_v4(rows: &mut Vec<Row>) {
    let quoted = ip(IpAddr::V4(A4), number::UDP, &udp(443, 40_000, b""));
    let body = [&[0, 0, 5, 0][..], &quoted].concat();
    let message = |message_type, code| icmp(message_type, code, &body);
    let frame = |source, message_type, code| v4(source, number::ICMP).frame(&message(message_type, code));
    let mut cases: Vec<Case> = Vec::new();
    for (name, message_type, code) in [
        ("fragmentation needed", 3, 4),
        ("time exceeded in transit", 11, 0),
        ("time exceeded in reassembly", 11, 1),
    ] {
        cases.push(passes(
            format!("{name} from B"),
            frame(B4, message_type, code),
            IcmpError,
        ));
        cases.push(
            drops(
                format!("{name} from B, option off"),
                frame(B4, message_type, code),
                PolicyDrop,
            )
            .icmp_error_drop(),
        );
        cases.push(passes(
            format!("{name} from A"),
            frame(A4, message_type, code),
            PolicyPass,
        ));
        for (what, field) in [("a first fragment", MORE_FRAGMENTS), ("a later fragment", 1)] {
            let header = V4 {
                fragment: field,
                ..v4(B4, number::ICMP)
            };
            let name = format!("{name} from B in {what}");
            cases.push(drops(
                name,
                header.frame(&message(message_type, code)),
                PolicyDrop,
            ));
        }
        let header = V4 {
            options: vec![1; 8],
            ..v4(B4, number::ICMP)
        };
        cases.push(passes(
            format!("{name} from B behind options"),
            header.frame(&message(message_type, code)),
            IcmpError,
        ));
        let header = V4 {
            options: vec![message_type, code, 0, 0],
            ..v4(B4, number::ICMP)
        };
        cases.push(drops(
            format!("echo from B with options like {name}"),
            header.frame(&message(8, 0)),
            PolicyDrop,
        ));
        let cut = frame(B4, message_type, code)[..34].to_vec();
        cases.push(drops(format!("{name} from B, no type to read"), cut, PolicyDrop));
    }
    let of_nat64 = v6(nat64(B4), number::ICMPV6).frame(&message(2, 0));
    cases.push(passes("packet too big from NAT64 around B", of_nat64, IcmpError));
    for (name, message_type, code) in [
        ("echo", 8, 0),
        ("echo reply", 0, 0),
        ("net unreachable", 3, 0),
        ("port unreachable", 3, 3),
        ("source route failed", 3, 5),
        ("administratively prohibited", 3, 13),
        ("redirect", 5, 0),
        ("type 10", 10, 0),
        ("parameter problem", 12, 0),
    ] {
        cases.push(drops(
            format!("{name} from B"),
            frame(B4, message_type, code),
            PolicyDrop,
        ));
        cases.push(passes(
            format!("{name} from A"),
            frame(A4, message_type, code),
            PolicyPass,
        ));
    }
    let as_udp = v4(B4, number::UDP).frame(&udp(3 << 8 | 4, 443, b"corpus"));
    cases.push(drops(
        "UDP that looks like fragmentation needed, from B",
        as_udp,
        PolicyDrop,
    ));
    let of_v6 = v4(B4, number::ICMPV6).frame(&message(2, 0));
    cases.push(drops("ICMPv6 packet too big over IPv4 from B", of_v6, PolicyDrop));
    let of_v4 = v6(B6, number::ICMP).frame(&message(3, 4));
    cases.push(drops(
        "ICMPv4 fragmentation needed over IPv6 from B",
        of_v4,
        PolicyDrop,
    ));
    row(
        rows,
        20,
        "ICMPv4 3/4 and 11 from B: pass, capped; ICMPv4 echo from B: drop",
        cases,
    );
}

fn dhcp(rows: &mut Vec<Row>) {
    let request = udp(68, 67, &[1; 240]);
    let offer = udp(67, 68, &[2; 240]);
    let header = |source: Ipv4Addr, destination| V4 {
        destination,
        ..v4(source, number::UDP)
    };
    let nobody = Ipv4Addr::UNSPECIFIED;
    let everybody = Ipv4Addr::BROADCAST;
    let edge = crate::lab::EDGE_V4;
    let blocked = |name: &str, frame| drops(name, frame, PolicyDrop).policy("allow-list-no-lan");
    let discover = header(nobody, everybody).frame(&request);
    let mut cases = vec![
        passes("discover, everything blocked", discover.clone(), Dhcp).policy("allow-list-no-lan"),
        passes("discover", discover.clone(), Dhcp),
        passes(
            "discover behind a tag",
            tagged(&[(number::DOT1Q, 42)], &discover),
            Dhcp,
        ),
        // No client sends options.
        blocked(
            "discover behind IP options",
            V4 {
                options: vec![1; 8],
                ..header(nobody, everybody)
            }
            .frame(&request),
        ),
        blocked("0.0.0.0 to another port", header(nobody, everybody).frame(&offer)),
        blocked("0.0.0.0 to another address", header(nobody, edge).frame(&request)),
        blocked(
            "request from an address",
            header(Ipv4Addr::new(203, 0, 113, 9), everybody).frame(&request),
        ),
        blocked(
            "request from 0.0.0.1",
            header(Ipv4Addr::new(0, 0, 0, 1), everybody).frame(&request),
        ),
        blocked(
            "0.0.0.0 by TCP",
            V4 {
                protocol: number::TCP,
                ..header(nobody, everybody)
            }
            .frame(&request),
        ),
        blocked(
            "later fragment that looks like a discover",
            V4 {
                fragment: 1,
                ..header(nobody, everybody)
            }
            .frame(&request),
        ),
        blocked(
            "0.0.0.0 to another port, options like DHCP's",
            V4 {
                options: vec![0, 68, 0, 67],
                ..header(nobody, everybody)
            }
            .frame(&offer),
        ),
        blocked("discover without ports", header(nobody, everybody).frame(&[])),
        drops("offer from B", header(B4, everybody).frame(&offer), PolicyDrop),
        drops(
            "offer from B to the edge",
            header(B4, edge).frame(&offer),
            PolicyDrop,
        ),
        drops(
            "request from B",
            header(B4, everybody).frame(&request),
            PolicyDrop,
        ),
        passes("offer from A", header(A4, everybody).frame(&offer), PolicyPass),
        passes(
            "offer from B, its server holds a lease",
            header(B4, everybody).frame(&offer),
            Failsafe,
        )
        .failsafe("198.51.100.7/32"),
        drops(
            "offer from beside the server that holds a lease",
            header(B4, everybody).frame(&offer),
            PolicyDrop,
        )
        .failsafe("198.51.100.8/32"),
    ];
    for server in [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 168, 1, 1)] {
        let frame = header(server, everybody).frame(&offer);
        cases.push(passes(format!("offer from {server}"), frame.clone(), PolicyPass));
        cases.push(
            passes(
                format!("offer from {server}, allow-list with LAN"),
                frame,
                PolicyPass,
            )
            .policy("allow-list"),
        );
    }
    row(
        rows,
        33,
        "DHCPv4 0.0.0.0 to 255.255.255.255: pass; offer from private: pass; from the server of a current lease: pass \
         (failsafe); from B: drop",
        cases,
    );
}

fn dhcp_v6(rows: &mut Vec<Row>) {
    let all_servers = address("ff02::1:2");
    let mut cases = Vec::new();
    for (name, source, from_port, to_port, destination) in [
        ("solicit from fe80::1", address("fe80::1"), 546, 547, all_servers),
        (
            "advertise from fe80::2",
            address("fe80::2"),
            547,
            546,
            address("fe80::1"),
        ),
    ] {
        let frame = V6 {
            destination,
            ..v6(source, number::UDP)
        }
        .frame(&udp(from_port, to_port, &[1; 32]));
        cases.push(passes(name, frame, LinkLocal).policy("allow-list-no-lan"));
    }
    for (who, source, reason) in [("B", B6, PolicyDrop), ("A", A6, PolicyPass)] {
        let frame = v6(source, number::UDP).frame(&udp(547, 546, &[1; 32]));
        cases.push(judged(format!("advertise from {who}"), frame, reason));
    }
    row(rows, 34, "DHCPv6 from fe80::, 546 and 547: pass", cases);
}
