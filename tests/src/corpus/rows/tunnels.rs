//! Rows 28 and 31: packets in packets.

use std::net::IpAddr;

use probe_common::Reason::{
    DrainPass, Failsafe, PolicyDrop, PolicyPass, TunnelInner, TunnelUninspected, WithinLimit,
};

use super::{ALLOWED, BLOCKED, drop_and_pass, drops, judged, passes, plain, row};
use crate::corpus::{
    Case,
    build::{
        MORE_FRAGMENTS, V4, ether_type, ethernet, extension, fragment, geneve, gre, ip, ip_frame, number,
        tagged, udp, v4, vxlan,
    },
    data::Row,
    places::A4,
};

pub(super) fn add(rows: &mut Vec<Row>) {
    tunnels(rows);
    opaque(rows);
}

/// The ways to carry an inner packet: name, protocol, payload of the outer packet.
fn carriers(inner: IpAddr) -> Vec<(&'static str, u8, Vec<u8>)> {
    use number::{BRIDGED, GENEVE_PORT, GRE, IPIP, IPV6_IN_IP, UDP, VXLAN_PORT};
    let packet = ip(inner, UDP, &udp(40_000, 443, b"corpus"));
    let frame = plain(inner);
    let family = ether_type(inner);
    let in_udp = |port, payload: Vec<u8>| udp(50_000, port, &payload);
    vec![
        if inner.is_ipv4() {
            ("IPIP", IPIP, packet.clone())
        } else {
            ("6in4", IPV6_IN_IP, packet.clone())
        },
        ("GRE", GRE, gre(0, family, &packet)),
        (
            "GRE with checksum, key and sequence",
            GRE,
            gre(0xb0, family, &packet),
        ),
        ("GRE with key", GRE, gre(0x20, family, &packet)),
        ("GRETAP", GRE, gre(0, BRIDGED, &frame)),
        ("VXLAN", UDP, in_udp(VXLAN_PORT, vxlan(&frame))),
        ("Geneve", UDP, in_udp(GENEVE_PORT, geneve(0, BRIDGED, &frame))),
        (
            "Geneve with options",
            UDP,
            in_udp(GENEVE_PORT, geneve(3, BRIDGED, &frame)),
        ),
        (
            "Geneve of IP",
            UDP,
            in_udp(GENEVE_PORT, geneve(0, family, &packet)),
        ),
        (
            "VXLAN of a tagged frame",
            UDP,
            in_udp(VXLAN_PORT, vxlan(&tagged(&[(number::DOT1Q, 42)], &frame))),
        ),
    ]
}

fn tunnels(rows: &mut Vec<Row>) {
    let mut cases: Vec<Case> = Vec::new();
    for (inner_name, inner) in BLOCKED.into_iter().chain(ALLOWED) {
        let is_inner_blocked = inner_name.ends_with('B');
        for (outer_name, outer) in BLOCKED {
            for (carrier, protocol, payload) in carriers(inner) {
                let name = format!("{carrier}: {inner_name} in {outer_name}");
                cases.push(drops(name, ip_frame(outer, protocol, &payload), PolicyDrop));
            }
        }
        for (outer_name, outer) in ALLOWED {
            for (carrier, protocol, payload) in carriers(inner) {
                let name = format!("{carrier}: {inner_name} in {outer_name}");
                let frame = ip_frame(outer, protocol, &payload);
                cases.push(passes(name.clone(), frame.clone(), TunnelUninspected));
                let name = format!("{name}, inspected");
                cases.push(if is_inner_blocked {
                    drops(name, frame, TunnelInner).inspect_inner()
                } else {
                    passes(name, frame, PolicyPass).inspect_inner()
                });
            }
        }
    }
    for (n_tags, inner, reason) in [
        (2, BLOCKED[0], TunnelInner),
        (2, ALLOWED[0], PolicyPass),
        (3, BLOCKED[0], TunnelInner),
        // Not read, so nobody knows: whoever hides something may hide B.
        (3, ALLOWED[0], TunnelInner),
    ] {
        let (who, inner) = inner;
        let inner = tagged(&vec![(number::DOT1Q, 0); n_tags], &plain(inner));
        let frame = ip_frame(
            ALLOWED[0].1,
            number::UDP,
            &udp(50_000, number::VXLAN_PORT, &vxlan(&inner)),
        );
        let name = format!("VXLAN of a frame with {n_tags} tags, {who}, inspected");
        cases.push(match reason {
            TunnelInner => drops(name, frame, reason).inspect_inner(),
            _ => passes(name, frame, reason).inspect_inner(),
        });
    }
    cut_off(&mut cases);
    nothing_cut_off(&mut cases);
    not_round(&mut cases);
    for (name, tag_protocol) in [("802.1ad", number::DOT1AD), ("0x9100", number::QINQ)] {
        let inner = tagged(&[(tag_protocol, 42)], &plain(BLOCKED[0].1));
        let payload = udp(50_000, number::VXLAN_PORT, &vxlan(&inner));
        let frame = ip_frame(ALLOWED[0].1, number::UDP, &payload);
        let name = format!("VXLAN of a frame with a tag of {name}, inspected");
        cases.push(drops(name, frame, TunnelInner).inspect_inner());
    }
    // An inner IPv4 source is judged as it is: ::ffff:0:0/96 is below ::/64, too.
    for (who, inner) in [BLOCKED[0], ALLOWED[0]] {
        let packet = ip(inner, number::UDP, &udp(40_000, 443, b"corpus"));
        let frame = ip_frame(ALLOWED[0].1, number::IPIP, &packet);
        let name = format!("IPIP, {who}, inspected, NAT64 behind ::/64");
        let case = match inner == BLOCKED[0].1 {
            true => drops(name, frame, TunnelInner),
            false => passes(name, frame, PolicyPass),
        };
        cases.push(case.inspect_inner().nat64("::/64"));
    }
    behind_options(&mut cases);
    within_gre(&mut cases);
    hidden(&mut cases);
    unreadable(&mut cases);
    row(
        rows,
        28,
        "IPIP, 6in4, GRE, GRETAP, VXLAN, Geneve: outer B: drop; outer A, inner B: pass, counted; with `inspect_inner`: drop",
        cases,
    );
}

/// First fragments that end before the inner source: the host puts them together before it looks inside.
fn cut_off(cases: &mut Vec<Case>) {
    for (carrier, protocol, payload) in carriers(BLOCKED[0].1) {
        for (who, frame) in first_fragments(protocol, &payload[..8]) {
            let name = format!("first fragment of {carrier} with 8 bytes of it, {who}");
            cases.push(passes(name.clone(), frame.clone(), TunnelUninspected));
            let name = format!("{name}, inspected");
            cases.push(drops(name, frame, TunnelInner).inspect_inner());
        }
    }
}

/// First fragments of A, both families, with this much of a payload.
fn first_fragments(protocol: u8, payload: &[u8]) -> [(&'static str, Vec<u8>); 2] {
    let header = V4 {
        fragment: MORE_FRAGMENTS,
        ..v4(A4, protocol)
    };
    let (who, outer) = ALLOWED[1];
    let behind = fragment(protocol, 0, true, payload);
    [
        (ALLOWED[0].0, header.frame(payload)),
        (who, ip_frame(outer, number::FRAGMENT, &behind)),
    ]
}

/// First fragments that have all of the headers that say what is inside, or that lie about it in their padding.
fn nothing_cut_off(cases: &mut Vec<Case>) {
    use number::{ARP, BRIDGED, GENEVE_PORT, GRE, IPIP, UDP, VXLAN_PORT};
    let arp = ethernet(ARP, &[0; 28]);
    let packet = |inner| ip(inner, UDP, &udp(40_000, 443, b"corpus: 20 bytes...."));
    let (a, b) = (packet(ALLOWED[0].1), packet(BLOCKED[0].1));
    let with = |at: usize, bits: u8, mut header: Vec<u8>| {
        header[at] |= bits;
        header
    };
    let to_geneve = |geneve: Vec<u8>| udp(50_000, GENEVE_PORT, &geneve);
    // No IP is inside, whatever the fragments behind say.
    for (name, protocol, payload) in [
        ("GRE of LLDP", GRE, gre(0, 0x88cc, &[0; 20])),
        ("GRETAP of ARP", GRE, gre(0, BRIDGED, &arp)),
        ("GRE with routing", GRE, with(0, 0x40, gre(0, number::IPV4, &b))),
        ("GRE of version 1", GRE, with(1, 1, gre(0, number::IPV4, &b))),
        ("VXLAN of ARP", UDP, udp(50_000, VXLAN_PORT, &vxlan(&arp))),
        ("Geneve of LLDP", UDP, to_geneve(geneve(1, 0x88cc, &[0; 20]))),
        (
            "Geneve of version 1",
            UDP,
            to_geneve(with(0, 0x40, geneve(0, number::IPV4, &b))),
        ),
        ("IPIP of a packet of version 5", IPIP, [&[0x55], &b[1..]].concat()),
    ] {
        for (who, frame) in first_fragments(protocol, &payload) {
            let name = format!("first fragment of {name}, {who}, inspected");
            cases.push(passes(name, frame, TunnelUninspected).inspect_inner());
        }
    }
    let in_both = first_fragments(IPIP, &a)
        .into_iter()
        .zip(first_fragments(IPIP, &b));
    for ((who, of_a), (_, of_b)) in in_both {
        let name = format!("first fragment of IPIP with all of its header, {who}");
        cases.push(passes(format!("{name}: IPv4 from A, inspected"), of_a, PolicyPass).inspect_inner());
        cases.push(drops(format!("{name}: IPv4 from B, inspected"), of_b, TunnelInner).inspect_inner());
    }
    // The host cuts the padding off and takes from the next fragment what is inside.
    for (name, protocol, n_real, payload) in [
        ("IPIP, 8 bytes", IPIP, 8, a.clone()),
        ("IPIP, all but the source", IPIP, 12, a.clone()),
        ("GRE of LLDP, 0 bytes", GRE, 0, gre(0, 0x88cc, &[0; 20])),
        (
            "GRE with routing, 3 bytes",
            GRE,
            3,
            with(0, 0x40, gre(0, number::IPV4, &a)),
        ),
        ("GRETAP of ARP, 16 bytes", GRE, 16, gre(0, BRIDGED, &arp)),
        (
            "VXLAN of ARP, 24 bytes",
            UDP,
            24,
            udp(50_000, VXLAN_PORT, &vxlan(&arp)),
        ),
        (
            "VXLAN of IPv4, 40 bytes",
            UDP,
            40,
            udp(50_000, VXLAN_PORT, &vxlan(&plain(ALLOWED[0].1))),
        ),
        (
            "Geneve of version 1, 8 bytes",
            UDP,
            8,
            to_geneve(with(0, 0x40, geneve(0, number::IPV4, &a))),
        ),
    ] {
        for (who, mut frame) in first_fragments(protocol, &payload[..n_real]) {
            frame.extend(&payload[n_real..]);
            let name = format!("first fragment of {name}, the rest as padding, {who}, inspected");
            cases.push(drops(name, frame, TunnelInner).inspect_inner());
        }
    }
    // Cut exactly behind the source.
    for (n_real, reason) in [(15, TunnelInner), (16, PolicyPass)] {
        for (who, mut frame) in first_fragments(IPIP, &a[..n_real]) {
            frame.extend(&a[n_real..]);
            let name =
                format!("first fragment of IPIP, {n_real} bytes, the rest as padding, {who}, inspected");
            cases.push(
                match reason {
                    TunnelInner => drops(name, frame, reason),
                    _ => passes(name, frame, reason),
                }
                .inspect_inner(),
            );
        }
    }
}

/// What Linux takes for IP in GRE besides what the type says: tags without an Ethernet header, and what a router
/// redirects by WCCP.
fn within_gre(cases: &mut Vec<Case>) {
    use number::{DOT1AD, DOT1Q, GENEVE_PORT, GRE, QINQ, UDP, WCCP};
    let packet = |inner: IpAddr| ip(inner, UDP, &udp(40_000, 443, b"corpus"));
    // A tag's own type is in the header before it.
    let behind_tags = |n_tags: usize, inner: IpAddr| {
        let mut tags = vec![0, 0];
        for _ in 1..n_tags {
            tags.extend([0x81, 0x00, 0, 0]);
        }
        tags.extend(ether_type(inner).to_be_bytes());
        tags.extend(packet(inner));
        tags
    };
    let mut judged_inside = |name: String, outer: IpAddr, protocol: u8, payload: &[u8], is_blocked: bool| {
        let frame = ip_frame(outer, protocol, payload);
        cases.push(if is_blocked {
            drops(format!("{name}, inspected"), frame, TunnelInner).inspect_inner()
        } else {
            passes(format!("{name}, inspected"), frame, PolicyPass).inspect_inner()
        });
    };
    for (idx, (outer_name, outer)) in ALLOWED.into_iter().enumerate() {
        // What is inside is of the outer packet's version.
        for (who, inner, is_blocked) in [
            (BLOCKED[idx].0, BLOCKED[idx].1, true),
            (ALLOWED[idx].0, ALLOWED[idx].1, false),
        ] {
            let redirect = [&[0, 0, 0, 0][..], &packet(inner)].concat();
            let name = format!("GRE of WCCP version 2: {who} in {outer_name}");
            judged_inside(name, outer, GRE, &gre(0, WCCP, &redirect), is_blocked);
            if outer.is_ipv4() {
                let name = format!("GRE of WCCP version 1: {who} in {outer_name}");
                judged_inside(name, outer, GRE, &gre(0, WCCP, &packet(inner)), is_blocked);
            }
            for (tag, tag_type) in [("802.1Q", DOT1Q), ("802.1ad", DOT1AD), ("0x9100", QINQ)] {
                let name = format!("GRE of a tag of {tag}: {who} in {outer_name}");
                judged_inside(
                    name,
                    outer,
                    GRE,
                    &gre(0, tag_type, &behind_tags(1, inner)),
                    is_blocked,
                );
            }
            let name = format!("GRE of two tags: {who} in {outer_name}");
            judged_inside(
                name,
                outer,
                GRE,
                &gre(0, DOT1Q, &behind_tags(2, inner)),
                is_blocked,
            );
            // Not read, so nobody knows.
            let name = format!("GRE of three tags: {who} in {outer_name}");
            judged_inside(name, outer, GRE, &gre(0, DOT1Q, &behind_tags(3, inner)), true);
            let name = format!("Geneve of a tag: {who} in {outer_name}");
            let datagram = udp(50_000, GENEVE_PORT, &geneve(0, DOT1Q, &behind_tags(1, inner)));
            judged_inside(name, outer, UDP, &datagram, is_blocked);
        }
    }
    let inner = packet(BLOCKED[0].1);
    let outer = ALLOWED[0].1;
    let with_version = {
        let mut header = gre(0, WCCP, &inner);
        header[1] = 8;
        header
    };
    for (name, payload) in [
        ("GRE with key, of WCCP", gre(0x20, WCCP, &inner)),
        ("GRE with a reserved flag, of WCCP", with_version),
        ("GRE of WCCP with nothing inside", gre(0, WCCP, &[])),
    ] {
        let frame = ip_frame(outer, GRE, &payload);
        cases.push(passes(format!("{name}, inspected"), frame, TunnelUninspected).inspect_inner());
    }
}

/// What comes to pass in another way than by a plain `pass` is no way round the look inside; failsafe is.
fn not_round(cases: &mut Vec<Case>) {
    let packet = |inner| ip(inner, number::UDP, &udp(40_000, 443, b"corpus"));
    let of_b = ip_frame(ALLOWED[0].1, number::IPIP, &packet(BLOCKED[0].1));
    let name = "IPIP: IPv4 from B in IPv4 from A, inspected, but A is failsafe";
    cases.push(
        passes(name, of_b, Failsafe)
            .inspect_inner()
            .failsafe("192.0.2.0/24"),
    );
    // A source each: some may send one packet in a second only.
    let from_b = |last: u8, inner| ip_frame([198, 51, 100, last].into(), number::IPIP, &packet(inner));
    let (a, b) = (ALLOWED[0].1, BLOCKED[0].1);
    for (policy, reason) in [("drain", DrainPass), ("limit", WithinLimit)] {
        let name = format!("{policy}: IPIP, IPv4 from B in IPv4 from B");
        let of_policy = |case: Case| case.policy(policy).off_wire();
        cases.push(of_policy(passes(name.clone(), from_b(21, b), reason)));
        let name = format!("{name}, inspected");
        cases.push(of_policy(drops(name, from_b(22, b), TunnelInner)).inspect_inner());
        let name = format!("{policy}: IPIP, IPv4 from A in IPv4 from B, inspected");
        cases.push(of_policy(passes(name, from_b(23, a), reason)).inspect_inner());
    }
}

/// Tunnels behind an extension header, and what looks like one in IPv4, which has none.
fn behind_options(cases: &mut Vec<Case>) {
    let (_, outer) = ALLOWED[1];
    for (inner_name, inner) in [BLOCKED[0], ALLOWED[0]] {
        for (carrier, protocol, payload) in carriers(inner) {
            let name = format!("options before {carrier}: {inner_name} inside");
            let payload = extension(protocol, 0, &payload);
            let frame = ip_frame(outer, number::DESTINATION_OPTIONS, &payload);
            cases.push(passes(name.clone(), frame.clone(), TunnelUninspected));
            let name = format!("{name}, inspected");
            cases.push(if inner == BLOCKED[0].1 {
                drops(name, frame, TunnelInner).inspect_inner()
            } else {
                passes(name, frame, PolicyPass).inspect_inner()
            });
        }
    }
    // Read as IPv6, its payload would begin 20 bytes later and be as long as the identification says, 4,660 bytes.
    let payload = [&[0; 20][..], &extension(number::IPIP, 0, &[0x45; 40])].concat();
    let frame = ip_frame(ALLOWED[0].1, number::DESTINATION_OPTIONS, &payload);
    cases.push(passes("IPv4 with IPv6's options, no tunnel", frame, PolicyPass));
}

/// Inner packets of B where none may be looked for.
fn hidden(cases: &mut Vec<Case>) {
    use number::{GENEVE_PORT, GRE, UDP};
    let inner = BLOCKED[0].1;
    let packet = ip(inner, UDP, &udp(40_000, 443, b"corpus"));
    let with = |at: usize, bits: u8, mut header: Vec<u8>| {
        header[at] |= bits;
        header
    };
    let plain_gre = || gre(0, number::IPV4, &packet);
    let plain_geneve = || geneve(0, number::IPV4, &packet);
    let in_udp = |payload: Vec<u8>| udp(50_000, GENEVE_PORT, &payload);
    let mut frames: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, protocol, payload) in [
        ("GRE with routing", GRE, with(0, 0x40, plain_gre())),
        ("GRE of version 1", GRE, with(1, 1, plain_gre())),
        ("GRE of version 7", GRE, with(1, 7, plain_gre())),
        ("Geneve of version 1", UDP, in_udp(with(0, 0x40, plain_geneve()))),
        ("Geneve of version 2", UDP, in_udp(with(0, 0x80, plain_geneve()))),
    ] {
        for (outer_name, outer) in ALLOWED {
            let frame = ip_frame(outer, protocol, &payload);
            frames.push((format!("{name}: B in {outer_name}"), frame));
        }
    }
    for (name, field) in [("last", 1), ("middle", MORE_FRAGMENTS | 1)] {
        let header = V4 {
            fragment: field,
            ..v4(A4, number::IPIP)
        };
        frames.push((
            format!("{name} fragment of IPIP that looks like B"),
            header.frame(&packet),
        ));
    }
    for (name, frame) in frames {
        cases.push(passes(format!("{name}, inspected"), frame, TunnelUninspected).inspect_inner());
    }
}

/// Tunnels in which no inner source can be read.
fn unreadable(cases: &mut Vec<Case>) {
    use number::{GENEVE_PORT, GRE, IPIP, IPV6_IN_IP, UDP, VXLAN_PORT};
    let (_, outer) = ALLOWED[0];
    let frames = [
        ("IPIP with nothing inside", IPIP, vec![]),
        ("6in4 with nothing inside", IPV6_IN_IP, vec![]),
        ("GRE with nothing inside", GRE, vec![]),
        ("GRE of something else", GRE, gre(0, 0x88cc, &[0; 20])),
        ("VXLAN with nothing inside", UDP, udp(50_000, VXLAN_PORT, &[])),
        ("Geneve with nothing inside", UDP, udp(50_000, GENEVE_PORT, &[])),
        (
            "VXLAN of ARP",
            UDP,
            udp(50_000, VXLAN_PORT, &vxlan(&ethernet(number::ARP, &[0; 28]))),
        ),
    ];
    for (name, protocol, payload) in frames {
        let frame = ip_frame(outer, protocol, &payload);
        cases.push(passes(name, frame.clone(), TunnelUninspected));
        cases.push(passes(format!("{name}, inspected"), frame, TunnelUninspected).inspect_inner());
    }
    for (name, port) in [
        ("from the port of VXLAN", VXLAN_PORT),
        ("from the port of Geneve", GENEVE_PORT),
    ] {
        let frame = ip_frame(outer, UDP, &udp(port, 40_000, b"corpus"));
        cases.push(passes(name, frame, PolicyPass));
    }
    for port in [VXLAN_PORT - 1, VXLAN_PORT + 1, GENEVE_PORT - 1, GENEVE_PORT + 1] {
        let frame = ip_frame(outer, UDP, &udp(50_000, port, b"corpus"));
        cases.push(passes(
            format!("to UDP port {port}, no tunnel"),
            frame,
            PolicyPass,
        ));
    }
    let frame = ip_frame(
        outer,
        number::TCP,
        &crate::corpus::build::tcp(50_000, VXLAN_PORT, 2, b""),
    );
    cases.push(passes("to TCP port 4789, no tunnel", frame, PolicyPass));
}

fn opaque(rows: &mut Vec<Row>) {
    let mut cases = Vec::new();
    for (who, source, reason) in drop_and_pass() {
        let esp = ip_frame(source, number::ESP, &[0xe5; 48]);
        cases.push(judged(format!("ESP, {who}"), esp, reason));
        let in_udp = ip_frame(source, number::UDP, &udp(4500, 4500, &[0xe5; 48]));
        cases.push(judged(format!("ESP in UDP, {who}"), in_udp, reason));
        let wireguard = ip_frame(
            source,
            number::UDP,
            &udp(51_820, 51_820, &[4, 0, 0, 0, 1, 2, 3, 4]),
        );
        cases.push(judged(format!("WireGuard, {who}"), wireguard, reason));
    }
    let macsec = ethernet(0x88e5, &[0x2c; 46]);
    cases.push(passes("MACsec", macsec, probe_common::Reason::NotIp));
    row(
        rows,
        31,
        "MACsec, ESP, WireGuard with outer B: drop; A: pass",
        cases,
    );
}
