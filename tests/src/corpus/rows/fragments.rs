//! Rows 10-15: IPv4 options and lies, fragments, IPv6 extension headers.

use std::net::IpAddr;

use probe_common::Reason::{LinkLocal, Malformed, PolicyDrop, PolicyPass, TunnelUninspected};

use super::{drain, drop_and_pass, drops, judged, passes, row};
use crate::corpus::{
    Case,
    build::{
        MORE_FRAGMENTS, SYN, V4, V6, authentication, extension, fragment, icmp, ip, number, routing, tcp,
        udp, v4, v6,
    },
    data::Row,
    places::{A4, A6, B4, B6},
};

pub(super) fn add(rows: &mut Vec<Row>) {
    options(rows);
    lies(rows);
    v4_fragments(rows);
    extensions(rows);
    fake_control(rows);
}

fn datagram() -> Vec<u8> {
    udp(40_000, 443, b"corpus: a payload of 32 bytes...")
}

fn options(rows: &mut Vec<Row>) {
    let mut cases = Vec::new();
    for (who, source, reason) in [("B", B4, PolicyDrop), ("A", A4, PolicyPass)] {
        for n_words in 6..=15 {
            // No-operation, the last one ends the list.
            let mut options = vec![1; (n_words - 5) * 4];
            options.pop();
            options.push(0);
            let header = V4 {
                options,
                ..v4(source, number::UDP)
            };
            let name = format!("IPv4 from {who}, header of {n_words} words");
            cases.push(judged(name, header.frame(&datagram()), reason));
        }
        // Bytes where ports would be without options.
        let header = V4 {
            options: vec![1, 1, 0, 67],
            ..v4(source, number::TCP)
        };
        let name = format!("IPv4 from {who}, options like ports");
        cases.push(judged(name, header.frame(&tcp(40_000, 443, SYN, b"")), reason));
    }
    row(rows, 10, "IPv4 options, ihl 6 to 15, B: drop", cases);
}

fn lies(rows: &mut Vec<Row>) {
    let lie = |header: V4| header.frame(&datagram());
    let plain = || v4(A4, number::UDP);
    let mut cases: Vec<Case> = Vec::new();
    for ihl in 0..5 {
        cases.push(drops(
            format!("ihl of {ihl}"),
            lie(V4 {
                ihl: Some(ihl),
                ..plain()
            }),
            Malformed,
        ));
    }
    for version in (0..16).filter(|version| *version != 4) {
        let frame = lie(V4 { version, ..plain() });
        cases.push(drops(format!("IPv4 of version {version}"), frame, Malformed));
    }
    for version in (0..16).filter(|version| *version != 6) {
        let frame = V6 {
            version,
            ..v6(A6, number::UDP)
        }
        .frame(&datagram());
        cases.push(drops(format!("IPv6 of version {version}"), frame, Malformed));
    }
    for total_len in (0..20).step_by(1) {
        let frame = lie(V4 {
            total_len: Some(total_len),
            ..plain()
        });
        cases.push(drops(format!("total length of {total_len}"), frame, Malformed));
    }
    let long = V4 {
        options: vec![1; 12],
        ..plain()
    };
    cases.push(drops(
        "total length ends within the options",
        lie(V4 {
            total_len: Some(31),
            ..long.clone()
        }),
        Malformed,
    ));
    cases.push(passes(
        "total length ends with the options",
        lie(V4 {
            total_len: Some(32),
            ..long
        }),
        PolicyPass,
    ));
    cases.push(passes(
        "total length of 20",
        lie(V4 {
            total_len: Some(20),
            ..plain()
        }),
        PolicyPass,
    ));
    row(
        rows,
        11,
        "IPv4 with ihl below 5, another version, total length below 20: drop, malformed",
        cases,
    );
}

fn v4_fragments(rows: &mut Vec<Row>) {
    let bytes = datagram();
    let fragments = [
        ("first fragment", MORE_FRAGMENTS, &bytes[..16]),
        ("middle fragment", MORE_FRAGMENTS | 2, &bytes[16..32]),
        ("last fragment", 4, &bytes[32..]),
        ("overlapping fragment", MORE_FRAGMENTS | 1, &bytes[8..24]),
        ("tiny first fragment", MORE_FRAGMENTS, &bytes[..8]),
        ("last fragment of offset 1 (RFC 1858)", 1, &bytes[8..]),
        ("fragment at the end of 64 KiB", 0x1fff, &bytes[..8]),
        ("reserved flag", 0x8000, &bytes[..]),
        ("do not fragment", 0x4000, &bytes[..]),
    ];
    let mut dropped = Vec::new();
    let mut passed = Vec::new();
    for (name, field, payload) in fragments {
        for (protocol_name, protocol) in [("UDP", number::UDP), ("TCP", number::TCP), ("ICMP", number::ICMP)]
        {
            let frame = |source| {
                V4 {
                    fragment: field,
                    ..v4(source, protocol)
                }
                .frame(payload)
            };
            let name = format!("{name} of {protocol_name}");
            dropped.push(drops(format!("{name} from B"), frame(B4), PolicyDrop));
            passed.push(passes(format!("{name} from A"), frame(A4), PolicyPass));
        }
    }
    // Where a rule asks for a port, what has none to read is on the strict side.
    let syn = |port| tcp(40_000, port, SYN, b"");
    let with_services = |case: Case| case.policy("services");
    let frame = |field, payload: &[u8]| {
        V4 {
            fragment: field,
            ..v4(B4, number::TCP)
        }
        .frame(payload)
    };
    dropped.extend(
        [
            drops("services: TCP to 443 from B", frame(0, &syn(443)), PolicyDrop),
            passes("services: TCP to 80 from B", frame(0, &syn(80)), PolicyPass),
            drops(
                "services: first fragment to 443 from B",
                frame(MORE_FRAGMENTS, &syn(443)),
                PolicyDrop,
            ),
            passes(
                "services: first fragment to 80 from B",
                frame(MORE_FRAGMENTS, &syn(80)),
                PolicyPass,
            ),
            drops(
                "services: later fragment that looks like 80 from B",
                frame(1, &syn(80)),
                PolicyDrop,
            ),
            drops(
                "services: first fragment without ports from B",
                frame(MORE_FRAGMENTS, &syn(80)[..0]),
                PolicyDrop,
            ),
        ]
        .map(with_services),
    );
    dropped.extend(drain::in_v4_fragments());
    row(
        rows,
        12,
        "IPv4 first, middle, last, overlapping, tiny fragment from B: drop each",
        dropped,
    );
    row(rows, 13, "the same from A: pass", passed);
}

/// Chains of extension headers before a datagram: name, first next header, payload, whether a tunnel's or a
/// protocol's header can be reached at the end is not asked here.
fn chains() -> Vec<(String, u8, Vec<u8>)> {
    use number::{AH, DESTINATION_OPTIONS, ESP, FRAGMENT, HOP_BY_HOP, NO_NEXT, ROUTING, UDP};
    let mut chains = vec![
        (
            "hop-by-hop".to_owned(),
            HOP_BY_HOP,
            extension(UDP, 0, &datagram()),
        ),
        (
            "hop-by-hop of 64 bytes".to_owned(),
            HOP_BY_HOP,
            extension(UDP, 7, &datagram()),
        ),
        ("routing type 0".to_owned(), ROUTING, routing(UDP, 0, &datagram())),
        ("routing type 4".to_owned(), ROUTING, routing(UDP, 4, &datagram())),
        (
            "destination options".to_owned(),
            DESTINATION_OPTIONS,
            extension(UDP, 0, &datagram()),
        ),
        (
            "atomic fragment".to_owned(),
            FRAGMENT,
            fragment(UDP, 0, false, &datagram()),
        ),
        (
            "first fragment".to_owned(),
            FRAGMENT,
            fragment(UDP, 0, true, &datagram()),
        ),
        (
            "middle fragment".to_owned(),
            FRAGMENT,
            fragment(UDP, 2, true, &datagram()),
        ),
        (
            "last fragment".to_owned(),
            FRAGMENT,
            fragment(UDP, 4, false, &datagram()),
        ),
        ("authentication".to_owned(), AH, authentication(UDP, &datagram())),
        ("ESP".to_owned(), ESP, vec![0xe5; 40]),
        ("unknown next header".to_owned(), 200, vec![0; 24]),
        ("experimental next header".to_owned(), 253, vec![0; 24]),
        ("no next header".to_owned(), NO_NEXT, vec![]),
        ("next header and nothing behind it".to_owned(), UDP, vec![]),
        ("extension header cut off".to_owned(), HOP_BY_HOP, vec![UDP]),
        (
            "extension header longer than the frame".to_owned(),
            HOP_BY_HOP,
            vec![UDP, 200, 1, 4, 0, 0, 0, 0],
        ),
    ];
    for n in [2, 4, 6, 8, 10, 20] {
        let mut payload = datagram();
        let mut next_header = UDP;
        for _ in 0..n {
            payload = extension(next_header, 0, &payload);
            next_header = DESTINATION_OPTIONS;
        }
        chains.push((format!("{n} chained"), DESTINATION_OPTIONS, payload));
    }
    let every = fragment(AH, 0, false, &authentication(UDP, &datagram()));
    let every = extension(
        DESTINATION_OPTIONS,
        0,
        &extension(ROUTING, 0, &routing(FRAGMENT, 4, &every)),
    );
    chains.push(("one of each".to_owned(), HOP_BY_HOP, every));
    chains
}

/// One header of each kind before a TCP segment: name, its number, payload.
fn each_kind(segment: &[u8]) -> [(&'static str, u8, Vec<u8>); 8] {
    let options = |number| (number, extension(number::TCP, 1, segment));
    let named = |name, (number, payload)| (name, number, payload);
    [
        named("hop-by-hop", options(number::HOP_BY_HOP)),
        ("routing", number::ROUTING, routing(number::TCP, 4, segment)),
        (
            "atomic fragment",
            number::FRAGMENT,
            fragment(number::TCP, 0, false, segment),
        ),
        ("authentication", number::AH, authentication(number::TCP, segment)),
        named("destination options", options(number::DESTINATION_OPTIONS)),
        named("mobility", options(135)),
        named("host identity", options(139)),
        named("Shim6", options(140)),
    ]
}

fn extensions(rows: &mut Vec<Row>) {
    let mut cases = Vec::new();
    for (name, next_header, payload) in chains() {
        for (who, source, reason) in [("B", B6, PolicyDrop), ("A", A6, PolicyPass)] {
            let frame = v6(source, next_header).frame(&payload);
            cases.push(judged(format!("{name}, from {who}"), frame, reason));
        }
    }
    let inner = ip(A4.into(), number::UDP, &datagram());
    let tunnel = v6(A6, number::HOP_BY_HOP).frame(&extension(number::IPIP, 0, &inner));
    cases.push(passes(
        "hop-by-hop before a tunnel, from A",
        tunnel,
        TunnelUninspected,
    ));
    let syn = |port| tcp(40_000, port, SYN, b"");
    let behind = |port| extension(number::TCP, 0, &syn(port));
    let frame = |payload: &[u8]| v6(B6, number::DESTINATION_OPTIONS).frame(payload);
    let later = v6(B6, number::FRAGMENT).frame(&fragment(number::TCP, 1, false, &syn(80)));
    let later_options = v6(B6, number::FRAGMENT).frame(&fragment(
        number::DESTINATION_OPTIONS,
        1,
        false,
        &extension(number::UDP, 0, &datagram()),
    ));
    let later_icmp = v6(B6, number::FRAGMENT).frame(&fragment(
        number::DESTINATION_OPTIONS,
        1,
        false,
        &extension(number::ICMPV6, 0, &icmp(128, 0, &[0; 4])),
    ));
    let jumbogram = |port| {
        V6 {
            payload_len: Some(0),
            ..v6(B6, number::HOP_BY_HOP)
        }
        .frame(&behind(port))
    };
    for (port, reason) in [(443, PolicyDrop), (80, PolicyPass)] {
        for (name, next_header, payload) in each_kind(&syn(port)) {
            let name = format!("services: {name} before TCP to {port}, from B");
            let frame = v6(B6, next_header).frame(&payload);
            cases.push(judged(name, frame, reason).policy("services"));
        }
        let name = format!("services: jumbogram with TCP to {port}, from B");
        cases.push(judged(name, jumbogram(port), reason).policy("services"));
    }
    let chain = |n_headers| {
        let mut payload = syn(80);
        let mut next_header = number::TCP;
        for _ in 0..n_headers {
            payload = extension(next_header, 0, &payload);
            next_header = number::DESTINATION_OPTIONS;
        }
        frame(&payload)
    };
    cases.extend(
        [
            drops(
                "services: options before TCP to 443, from B",
                frame(&behind(443)),
                PolicyDrop,
            ),
            passes(
                "services: options before TCP to 80, from B",
                frame(&behind(80)),
                PolicyPass,
            ),
            drops(
                "services: later fragment that looks like TCP to 80, from B",
                later,
                PolicyDrop,
            ),
            drops(
                "services: later fragment of options that look like UDP's, from B",
                later_options,
                PolicyDrop,
            ),
            drops(
                "services: later fragment of options that look like ICMPv6's, from B",
                later_icmp,
                PolicyDrop,
            ),
            passes(
                "services: 10 headers before TCP to 80, from B",
                chain(10),
                PolicyPass,
            ),
            drops(
                "services: 11 headers before TCP to 80, from B",
                chain(11),
                PolicyDrop,
            ),
        ]
        .map(|case| case.policy("services")),
    );
    cases.extend(drain::behind_extensions());
    row(
        rows,
        14,
        "IPv6 with hop-by-hop, routing, options, fragment, AH, ESP, 10 chained, unknown: drop from B, pass from A",
        cases,
    );
}

fn fake_control(rows: &mut Vec<Row>) {
    let mut cases = Vec::new();
    for (name, message_type) in [
        ("neighbour solicitation", 135),
        ("packet too big", 2),
        ("time exceeded", 3),
    ] {
        let message = icmp(message_type, 0, &[0; 20]);
        for (carrier, next_header, payload) in [
            (
                "an atomic fragment",
                number::FRAGMENT,
                fragment(number::ICMPV6, 0, false, &message),
            ),
            (
                "a first fragment",
                number::FRAGMENT,
                fragment(number::ICMPV6, 0, true, &message),
            ),
            (
                "hop-by-hop options",
                number::HOP_BY_HOP,
                extension(number::ICMPV6, 0, &message),
            ),
            (
                "destination options",
                number::DESTINATION_OPTIONS,
                extension(number::ICMPV6, 0, &message),
            ),
        ] {
            for (who, source, reason) in drop_and_pass() {
                if let IpAddr::V6(source) = source {
                    let header = V6 {
                        hop_limit: 255,
                        ..v6(source, next_header)
                    };
                    let name = format!("{name} in {carrier}, {who}");
                    cases.push(judged(name, header.frame(&payload), reason));
                }
            }
        }
    }
    let header = V6 {
        hop_limit: 255,
        ..v6("fe80::1".parse().expect("an address"), number::FRAGMENT)
    };
    let message = fragment(number::ICMPV6, 0, false, &icmp(135, 0, &[0; 20]));
    cases.push(passes(
        "neighbour solicitation in a fragment, from fe80::1",
        header.frame(&message),
        LinkLocal,
    ));
    row(
        rows,
        15,
        "IPv6 fragment or hop-by-hop with a fake ND or PTB from B: drop",
        cases,
    );
}
