//! What is read behind the IP header: by the test programs `headers` and `inner`, each frame whole and with all but
//! the Ethernet header in XDP fragments.

use aya::{
    Ebpf,
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use integration_tests::frames::ethernet_frame;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// As `headers` returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Headers {
    protocol: Option<u8>,
    is_fragment: bool,
    is_later_fragment: bool,
    destination_port: Option<u16>,
    opens: bool,
    is_icmp_error: bool,
    is_tunnel: bool,
}

impl Headers {
    fn of(word: u32) -> Self {
        let bit = |idx: u32| word >> idx & 1 == 1;
        Self {
            protocol: Some(word as u8).filter(|protocol| *protocol != 255),
            is_fragment: bit(8),
            is_later_fragment: bit(9),
            destination_port: bit(10).then_some((word >> 16) as u16),
            opens: bit(11),
            is_icmp_error: bit(12),
            is_tunnel: bit(13),
        }
    }
}

/// A packet of a protocol, and nothing else about it.
const PLAIN: Headers = Headers {
    protocol: None,
    is_fragment: false,
    is_later_fragment: false,
    destination_port: None,
    opens: false,
    is_icmp_error: false,
    is_tunnel: false,
};

fn run(programs: &mut Ebpf, name: &str, frame: &[u8]) -> u32 {
    let program: &mut Xdp = programs.program_mut(name).unwrap().try_into().unwrap();
    if program.fd().is_err() {
        program.load().unwrap();
    }
    let results = [14, frame.len() as u32].map(|linear_len| {
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context: Vec<u8> = [0, linear_len, 0, 0, 0, 0]
            .into_iter()
            .flat_map(u32::to_ne_bytes)
            .collect();
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        program.test_run(options).unwrap().return_value
    });
    assert_eq!(results[0], results[1], "{frame:02x?} in fragments");
    results[0]
}

/// A packet from 11.0.0.1. `fragment` is the field of flags and offset.
fn v4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let total_len = (20 + payload.len() as u16).to_be_bytes();
    let fragment = fragment.to_be_bytes();
    let mut packet = vec![
        0x45,
        0,
        total_len[0],
        total_len[1],
        0,
        1,
        fragment[0],
        fragment[1],
    ];
    packet.extend([64, protocol, 0, 0, 11, 0, 0, 1, 198, 18, 0, 1]);
    packet.extend(payload);
    packet
}

/// A packet from 2a00:11::1.
fn v6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u16).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, len[0], len[1], next_header, 64];
    packet.extend([0x2a, 0, 0, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0x2a, 0, 0, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend(payload);
    packet
}

fn tcp(flags: u8) -> Vec<u8> {
    let mut header = vec![0x9c, 0x40, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags];
    header.extend([0xff, 0xff, 0, 0, 0, 0]);
    header
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let (port, len) = (port.to_be_bytes(), (8 + payload.len() as u16).to_be_bytes());
    let mut datagram = vec![0x9c, 0x40, port[0], port[1], len[0], len[1], 0, 0];
    datagram.extend(payload);
    datagram
}

/// Options headers of eight bytes, then what is behind them.
fn behind_options(n_headers: usize, kind: u8, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = payload.to_vec();
    for idx in 0..n_headers {
        let next_header = if idx == 0 { next_header } else { kind };
        packet.splice(0..0, [next_header, 0, 1, 4, 0, 0, 0, 0]);
    }
    v6(if n_headers == 0 { next_header } else { kind }, &packet)
}

fn fragment_header(next_header: u8, fragment: u16) -> [u8; 8] {
    let fragment = fragment.to_be_bytes();
    [next_header, 0, fragment[0], fragment[1], 0, 0, 0, 1]
}

fn check(cases: &[(&str, Vec<u8>, Headers)]) {
    let mut programs = Ebpf::load(cordon::dataplane::PEERS).unwrap();
    for (description, packet, expected) in cases {
        let ethertype = if packet[0] >> 4 == 4 { IPV4 } else { IPV6 };
        let word = run(&mut programs, "headers", &ethernet_frame(ethertype, packet));
        assert_eq!(Headers::of(word), *expected, "{description}");
    }
}

const fn of(protocol: u8) -> Headers {
    Headers {
        protocol: Some(protocol),
        ..PLAIN
    }
}

/// TCP or UDP to port 443.
const fn to_443(protocol: u8, opens: bool) -> Headers {
    Headers {
        destination_port: Some(443),
        opens,
        ..of(protocol)
    }
}

const fn fragment(headers: Headers, is_later_fragment: bool) -> Headers {
    Headers {
        is_fragment: true,
        is_later_fragment,
        ..headers
    }
}

#[test]
fn extension_headers_and_options_hide_no_port() {
    let syn = tcp(0x02);
    let mut authenticated = vec![6, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1];
    authenticated.extend([0; 12]);
    authenticated.extend(&syn);
    let mut long = vec![6, 255];
    long.resize(2048, 0);
    long.extend(&syn);
    let mut options = v4(6, 0, &[&[1; 8][..], &syn].concat());
    options[0] = 0x47;
    let unknown = Headers { opens: true, ..PLAIN };
    let mut cases = vec![
        ("IPv4", v4(6, 0, &syn), to_443(6, true)),
        ("IPv4 with options", options, to_443(6, true)),
        ("IPv6", v6(6, &syn), to_443(6, true)),
        (
            "behind an authentication header",
            v6(51, &authenticated),
            to_443(6, true),
        ),
        (
            "behind an options header of 2048 bytes",
            v6(60, &long),
            to_443(6, true),
        ),
        ("ten headers", behind_options(10, 60, 6, &syn), to_443(6, true)),
        ("eleven headers", behind_options(11, 60, 6, &syn), unknown),
        ("ESP", v6(50, &syn), of(50)),
        ("no next header", v6(59, &syn), of(59)),
        ("ESP behind options", behind_options(1, 60, 50, &syn), of(50)),
        (
            "a chain that is cut off",
            v6(60, &[6, 1, 0, 0, 0, 0, 0, 0]),
            Headers { opens: true, ..of(6) },
        ),
        ("a chain that is not there", v6(60, &[]), unknown),
    ];
    for kind in [0, 43, 60, 135, 139, 140] {
        cases.push((
            "behind three headers of a kind",
            behind_options(3, kind, 6, &syn),
            to_443(6, true),
        ));
    }
    check(&cases);
}

#[test]
fn fragments_say_what_they_can() {
    const MORE: u16 = 0x2000;
    let syn = tcp(0x02);
    let v6_fragment = |next_header, fragment, payload: &[u8]| {
        v6(
            44,
            &[&fragment_header(next_header, fragment)[..], payload].concat(),
        )
    };
    let mut padded = v4(6, MORE, &syn[..8]);
    padded.extend([0x10; 40]);
    let cut = Headers {
        opens: true,
        ..to_443(6, true)
    };
    check(&[
        (
            "first of IPv4",
            v4(6, MORE, &tcp(0x12)),
            fragment(to_443(6, false), false),
        ),
        ("later of IPv4", v4(6, MORE | 1, &syn), fragment(of(6), true)),
        ("last of IPv4", v4(6, 1, &syn), fragment(of(6), true)),
        (
            "flags behind the end, where padding has an ACK",
            padded,
            fragment(cut, false),
        ),
        (
            "first of IPv6",
            v6_fragment(6, 1, &syn),
            fragment(to_443(6, true), false),
        ),
        (
            "later of IPv6",
            v6_fragment(6, 8 | 1, &syn),
            fragment(of(6), true),
        ),
        ("last of IPv6", v6_fragment(6, 8, &syn), fragment(of(6), true)),
        (
            "later one of a packet with options",
            v6_fragment(60, 8, &syn),
            fragment(PLAIN, true),
        ),
        ("atomic", v6_fragment(6, 0, &syn), to_443(6, true)),
        (
            "first of UDP without its payload",
            v4(17, MORE, &udp(443, &[])),
            fragment(to_443(17, true), false),
        ),
    ]);
}

#[test]
fn what_opens_a_connection() {
    let quic = |first, version: [u8; 4]| v4(17, 0, &udp(443, &[&[first][..], &version].concat()));
    check(&[
        ("SYN", v4(6, 0, &tcp(0x02)), to_443(6, true)),
        ("SYN with ECN", v4(6, 0, &tcp(0xc2)), to_443(6, true)),
        ("SYN-ACK", v4(6, 0, &tcp(0x12)), to_443(6, false)),
        ("ACK", v4(6, 0, &tcp(0x10)), to_443(6, false)),
        ("RST", v4(6, 0, &tcp(0x04)), to_443(6, false)),
        ("Initial", quic(0xc0, [0, 0, 0, 1]), to_443(17, true)),
        (
            "Initial of version 2",
            quic(0xd3, [0x6b, 0x33, 0x43, 0xcf]),
            to_443(17, true),
        ),
        ("Handshake", quic(0xe0, [0, 0, 0, 1]), to_443(17, false)),
        ("a short header", quic(0x40, [0, 0, 0, 1]), to_443(17, false)),
        (
            "UDP of four bytes",
            v4(17, 0, &udp(443, &[0xc0, 0, 0, 0])),
            to_443(17, false),
        ),
    ]);
}

#[test]
fn icmp_errors_that_the_network_needs() {
    let mut cases = Vec::new();
    for (icmp_type, code, is_icmp_error) in [
        (3, 4, true),
        (11, 0, true),
        (11, 1, true),
        (3, 3, false),
        (8, 0, false),
    ] {
        let headers = Headers {
            is_icmp_error,
            ..of(1)
        };
        cases.push(("ICMP", v4(1, 0, &[icmp_type, code, 0, 0, 0, 0, 0, 0]), headers));
    }
    for icmp_type in [0, 1, 2, 3, 4, 5, 128] {
        let message = [icmp_type, 0, 0, 0, 0, 0, 0, 0];
        let headers = Headers {
            is_icmp_error: (1..=4).contains(&icmp_type),
            ..of(58)
        };
        cases.push(("ICMPv6", v6(58, &message), headers));
        cases.push((
            "ICMPv6 behind options",
            behind_options(1, 60, 58, &message),
            of(58),
        ));
    }
    let time_exceeded = [11, 0, 0, 0, 0, 0, 0, 0];
    cases.push((
        "in a first fragment",
        v4(1, 0x2000, &time_exceeded),
        fragment(of(1), false),
    ));
    check(&cases);
}

#[test]
fn sources_inside_tunnels() {
    const V4_INSIDE: u32 = 0x0b00_0001;
    const V6_INSIDE: u32 = 1;
    let (inner_v4, inner_v6) = (v4(6, 0, &tcp(2)), v6(6, &tcp(2)));
    let ethernet = |tags: usize, ethertype: u16, packet: &[u8]| {
        let mut frame = vec![2; 12];
        for _ in 0..tags {
            frame.extend([0x81, 0, 0, 42]);
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(packet);
        frame
    };
    let gre = |flags: u8, version: u8, ethertype: u16, packet: &[u8]| {
        let n_fields = (flags & 0xb0).count_ones() as usize;
        let mut header = vec![flags, version];
        header.extend(ethertype.to_be_bytes());
        header.resize(4 + 4 * n_fields, 0xee);
        [&header, packet].concat()
    };
    let vxlan = |packet: &[u8]| udp(4789, &[&[8, 0, 0, 0, 0, 0, 1, 0], packet].concat());
    let geneve = |n_options: u8, ethertype: u16, packet: &[u8]| {
        let mut header = vec![n_options, 0];
        header.extend(ethertype.to_be_bytes());
        header.resize(8 + 4 * usize::from(n_options), 0xee);
        udp(6081, &[&header, packet].concat())
    };
    let payloads = [
        ("IPv4 inside", 4, inner_v4.clone(), V4_INSIDE),
        ("IPv6 inside", 41, inner_v6.clone(), V6_INSIDE),
        ("IPv6 that is said to be IPv4", 4, inner_v6.clone(), 0),
        ("IPv4 that is said to be IPv6", 41, inner_v4.clone(), 0),
        ("IPv4 that is cut off", 4, inner_v4[..15].to_vec(), 0),
        ("GRE", 47, gre(0, 0, IPV4, &inner_v4), V4_INSIDE),
        (
            "GRE with all fields",
            47,
            gre(0xb0, 0, IPV6, &inner_v6),
            V6_INSIDE,
        ),
        (
            "GRE with a checksum",
            47,
            gre(0x80, 0, IPV4, &inner_v4),
            V4_INSIDE,
        ),
        ("GRE with a key", 47, gre(0x20, 0, IPV4, &inner_v4), V4_INSIDE),
        (
            "GRE with a sequence number",
            47,
            gre(0x10, 0, IPV4, &inner_v4),
            V4_INSIDE,
        ),
        ("GRE with routing", 47, gre(0x40, 0, IPV4, &inner_v4), 0),
        ("GRE of PPTP", 47, gre(0x20, 1, IPV4, &inner_v4), 0),
        ("GRE with ARP", 47, gre(0, 0, 0x0806, &inner_v4), 0),
        (
            "GRETAP",
            47,
            gre(0, 0, 0x6558, &ethernet(0, IPV4, &inner_v4)),
            V4_INSIDE,
        ),
        (
            "GRETAP with two tags",
            47,
            gre(0x20, 0, 0x6558, &ethernet(2, IPV6, &inner_v6)),
            V6_INSIDE,
        ),
        (
            "GRETAP with three tags",
            47,
            gre(0, 0, 0x6558, &ethernet(3, IPV4, &inner_v4)),
            0,
        ),
        ("VXLAN", 17, vxlan(&ethernet(0, IPV4, &inner_v4)), V4_INSIDE),
        (
            "VXLAN with a tag",
            17,
            vxlan(&ethernet(1, IPV6, &inner_v6)),
            V6_INSIDE,
        ),
        (
            "Geneve",
            17,
            geneve(0, 0x6558, &ethernet(0, IPV4, &inner_v4)),
            V4_INSIDE,
        ),
        (
            "Geneve with all options",
            17,
            geneve(63, 0x6558, &ethernet(0, IPV6, &inner_v6)),
            V6_INSIDE,
        ),
        (
            "Geneve without Ethernet",
            17,
            geneve(1, IPV4, &inner_v4),
            V4_INSIDE,
        ),
        ("Geneve of another version", 17, geneve(0x40, IPV4, &inner_v4), 0),
    ];
    let mut programs = Ebpf::load(cordon::dataplane::PEERS).unwrap();
    let mut check = |description: &str, frame: &[u8], is_tunnel, expected| {
        let headers = Headers::of(run(&mut programs, "headers", frame));
        assert_eq!(headers.is_tunnel, is_tunnel, "{description}");
        assert_eq!(run(&mut programs, "inner", frame), expected, "{description}");
    };
    for (description, protocol, payload, expected) in payloads {
        let frames = [
            ethernet_frame(IPV4, &v4(protocol, 0, &payload)),
            ethernet_frame(IPV6, &v6(protocol, &payload)),
        ];
        for frame in frames {
            check(description, &frame, true, expected);
        }
        let later = ethernet_frame(IPV4, &v4(protocol, 1, &payload));
        check(description, &later, protocol != 17, 0);
    }
    let dns = udp(53, &[0; 40]);
    check("DNS", &ethernet_frame(IPV4, &v4(17, 0, &dns)), false, 0);
    check("TCP", &ethernet_frame(IPV4, &v4(6, 0, &tcp(2))), false, 0);
}
