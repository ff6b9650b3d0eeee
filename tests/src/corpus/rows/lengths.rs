//! Rows 40-43: long frames, frames in pieces, short frames, lengths that lie.

use std::net::{IpAddr, Ipv4Addr};

use probe_common::Reason::{
    Arp, DeepVlan, Dhcp, IcmpError, Malformed, Mpls, NeighbourDiscovery, NotIp, PolicyDrop, PolicyPass, Snap,
    Truncated, TunnelInner, TunnelUninspected,
};

use super::{drain, drop_and_pass, drops, judged, passes, plain, row};
use crate::corpus::{
    Case,
    build::{
        SYN, V4, V6, ethernet, extension, icmp, ip, ip_frame, number, pppoe, tagged, tcp, udp, v4, v6, vxlan,
    },
    data::Row,
    places::{A4, A6, B4, B6},
};

pub(super) fn add(rows: &mut Vec<Row>) {
    jumbo(rows);
    in_pieces(rows);
    short(rows);
    lies(rows);
}

fn jumbo(rows: &mut Vec<Row>) {
    let mut cases = Vec::new();
    for (who, source, reason) in drop_and_pass() {
        for len in [1514, 3000, 9000] {
            // Filled with zeros by the length; the header says so.
            let header_len = if source.is_ipv4() { 20 } else { 40 };
            let mut payload = udp(40_000, 443, &vec![0; len - 14 - header_len - 8]);
            payload.truncate(8);
            let mut frame = match source {
                IpAddr::V4(source) => V4 {
                    total_len: Some((len - 14) as u16),
                    ..v4(source, number::UDP)
                }
                .frame(&payload),
                IpAddr::V6(source) => V6 {
                    payload_len: Some((len - 54) as u16),
                    ..v6(source, number::UDP)
                }
                .frame(&payload),
            };
            // No checksum: the one over the cut payload would be wrong.
            let at = 14 + header_len + 6;
            frame[at..at + 2].copy_from_slice(&[0, 0]);
            cases.push(judged(format!("{len} bytes, {who}"), frame.clone(), reason).lengths(len..=len));
            if len == 9000 {
                let whole = judged(format!("{len} bytes, headers linear, {who}"), frame, reason);
                cases.push(whole.lengths(len..=len).linear(64..=66));
            }
        }
    }
    row(
        rows,
        40,
        "jumbo of 9000 bytes, multi-buffer with linear headers: the same verdict as small",
        cases,
    );
}

/// Frames whose headers lie in fragments wholly or in part, cut at every byte from behind the Ethernet header.
fn in_pieces(rows: &mut Vec<Row>) {
    let mut cases: Vec<Case> = Vec::new();
    let mut add = |case: Case, headers_end: usize| {
        let linear_end = headers_end.min(case.frame.len() - 1);
        cases.push(case.linear(14..=linear_end));
    };
    for (who, source, reason) in drop_and_pass() {
        let end = if source.is_ipv4() { 42 } else { 62 };
        add(judged(who, plain(source), reason), end);
        let in_vlans = tagged(&[(number::DOT1AD, 7), (number::DOT1Q, 42)], &plain(source));
        add(judged(format!("2 tags, {who}"), in_vlans, reason), end + 8);
        let ppp: [u8; 2] = if source.is_ipv4() { [0, 0x21] } else { [0, 0x57] };
        let packet = ip(source, number::UDP, &udp(40_000, 443, b"corpus"));
        let in_session = ethernet(number::PPPOE_SESSION, &pppoe(&[&ppp[..], &packet].concat()));
        add(judged(format!("PPPoE, {who}"), in_session, reason), end + 8);
    }
    let five = tagged(&[(number::DOT1Q, 42); 5], &plain(A4.into()));
    add(drops("5 tags", five, DeepVlan), 34);
    add(passes("ARP", ethernet(number::ARP, &[0; 28]), Arp), 20);
    add(passes("LLDP", ethernet(0x88cc, &[0; 46]), NotIp), 20);
    add(passes("MPLS", ethernet(number::MPLS, &[0; 46]), Mpls), 20);
    let snap = [
        &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..],
        &ip(B4.into(), number::UDP, &udp(1, 2, b"")),
    ]
    .concat();
    add(passes("SNAP", ethernet(snap.len() as u16, &snap), Snap), 22);
    let long = V4 {
        options: vec![1; 40],
        ..v4(B4, number::UDP)
    };
    add(
        drops(
            "60 bytes of IPv4 header, from B",
            long.frame(&udp(40_000, 443, b"corpus")),
            PolicyDrop,
        ),
        82,
    );
    let lie = V4 {
        ihl: Some(4),
        ..v4(A4, number::UDP)
    };
    add(
        drops("ihl of 4", lie.frame(&udp(40_000, 443, b"corpus")), Malformed),
        34,
    );
    let discovery = V6 {
        hop_limit: 255,
        ..v6(B6, number::ICMPV6)
    }
    .frame(&icmp(135, 0, &[0; 20]));
    add(
        passes("neighbour solicitation from B", discovery, NeighbourDiscovery),
        58,
    );
    let too_big = v6(B6, number::ICMPV6).frame(&icmp(2, 0, &[0; 52]));
    add(passes("packet too big from B", too_big, IcmpError), 58);
    let needed = v4(B4, number::ICMP).frame(&icmp(3, 4, &[0; 32]));
    add(passes("fragmentation needed from B", needed, IcmpError), 38);
    let discover = V4 {
        destination: Ipv4Addr::BROADCAST,
        ..v4(Ipv4Addr::UNSPECIFIED, number::UDP)
    };
    add(
        passes("DHCP discover", discover.frame(&udp(68, 67, &[1; 240])), Dhcp),
        42,
    );
    let inner = plain(B4.into());
    let tunnel = ip_frame(
        A4.into(),
        number::UDP,
        &udp(50_000, number::VXLAN_PORT, &vxlan(&inner)),
    );
    add(passes("VXLAN from A", tunnel.clone(), TunnelUninspected), 42);
    add(
        drops("VXLAN from A around B, inspected", tunnel, TunnelInner).inspect_inner(),
        84,
    );
    let chain = extension(number::TCP, 1, &tcp(40_000, 80, SYN, b""));
    let chain = v6(B6, number::HOP_BY_HOP).frame(&extension(number::DESTINATION_OPTIONS, 0, &chain));
    add(
        passes(
            "services: two headers before TCP to 80, from B",
            chain,
            PolicyPass,
        )
        .policy("services"),
        97,
    );
    let to_web = v4(B4, number::TCP).frame(&tcp(40_000, 443, SYN, b""));
    add(
        drops("services: TCP to 443, from B", to_web, PolicyDrop).policy("services"),
        53,
    );
    let to_other = v4(B4, number::TCP).frame(&tcp(40_000, 80, SYN, b""));
    add(
        passes("services: TCP to 80, from B", to_other, PolicyPass).policy("services"),
        53,
    );
    row(
        rows,
        41,
        "multi-buffer, linear part that ends within the headers, B: drop",
        cases,
    );
}

fn short(rows: &mut Vec<Row>) {
    let mut cases = Vec::new();
    for (who, source, reason) in drop_and_pass() {
        let end_of_header = if source.is_ipv4() { 34 } else { 54 };
        let cut = |name: &str, reason| judged(format!("{who}, {name}"), plain(source), reason);
        cases.push(
            drops(format!("{who}, header cut off"), plain(source), Truncated).lengths(14..=end_of_header - 1),
        );
        cases.push(cut("header whole", reason).lengths(end_of_header..=60));
    }
    for (name, source) in [
        ("169.254.1.1", "169.254.1.1"),
        ("fe80::1", "fe80::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
    ] {
        let source: IpAddr = source.parse().expect("an address in the source of a row");
        let end_of_header = if source.is_ipv4() { 34 } else { 54 };
        cases.push(
            drops(format!("{name}, header cut off"), plain(source), Truncated)
                .lengths(14..=end_of_header - 1),
        );
    }
    let long = V4 {
        options: vec![1; 40],
        ..v4(A4, number::UDP)
    };
    let frame = long.frame(&udp(40_000, 443, b"corpus"));
    cases.push(
        drops(
            "60 bytes of IPv4 header from A, options cut off",
            frame.clone(),
            Truncated,
        )
        .lengths(34..=73),
    );
    cases.push(passes("60 bytes of IPv4 header from A, options whole", frame, PolicyPass).lengths(74..=80));
    row(
        rows,
        42,
        "cut off at every length from 14 to 60: drop once the EtherType says IP",
        cases,
    );
}

fn lies(rows: &mut Vec<Row>) {
    let datagram = udp(40_000, 443, b"corpus");
    let needed = icmp(3, 4, &[0; 32]);
    let mut cases = Vec::new();
    for (who, source, reason) in [("B", B4, PolicyDrop), ("A", A4, PolicyPass)] {
        let mut padded = v4(source, number::UDP).frame(&datagram);
        padded.extend([0x45; 40]);
        cases.push(judged(
            format!("IPv4 from {who}, padding behind the end"),
            padded,
            reason,
        ));
        for total_len in [20, 21, 28, 1500, 65_535] {
            let header = V4 {
                total_len: Some(total_len),
                ..v4(source, number::UDP)
            };
            let name = format!("IPv4 from {who}, total length of {total_len}");
            cases.push(judged(name, header.frame(&datagram), reason));
        }
    }
    for (who, source, reason) in [("B", B6, PolicyDrop), ("A", A6, PolicyPass)] {
        let mut padded = v6(source, number::UDP).frame(&datagram);
        padded.extend([0x60; 40]);
        cases.push(judged(
            format!("IPv6 from {who}, padding behind the end"),
            padded,
            reason,
        ));
        for payload_len in [0, 1, 1500, 65_535] {
            let header = V6 {
                payload_len: Some(payload_len),
                ..v6(source, number::UDP)
            };
            let name = format!("IPv6 from {who}, payload length of {payload_len}");
            cases.push(judged(name, header.frame(&datagram), reason));
        }
        let jumbogram = V6 {
            payload_len: Some(0),
            ..v6(source, number::HOP_BY_HOP)
        };
        let mut option = extension(number::UDP, 0, &datagram);
        option[2..8].copy_from_slice(&[0xc2, 4, 0, 1, 0, 0]);
        cases.push(judged(
            format!("jumbogram from {who}"),
            jumbogram.frame(&option),
            reason,
        ));
    }
    for total_len in [20, 22, 65_535] {
        let header = V4 {
            total_len: Some(total_len),
            ..v4(B4, number::ICMP)
        };
        let name = format!("fragmentation needed from B, total length of {total_len}");
        cases.push(passes(name, header.frame(&needed), IcmpError));
    }
    cases.extend(drain::padded());
    row(
        rows,
        43,
        "padding behind IP, total length above the frame, payload length 0: by source",
        cases,
    );
}
