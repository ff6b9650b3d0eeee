//! Rows 6-9, 29, 30 and 32: what stands between the MAC addresses and IP.

use probe_common::Reason::{
    Arp, DeepVlan, LinkLocal, Llc, Mpls, NotIp, PolicyDrop, PolicyPass, Snap, Truncated, VlanNotJudged,
};

use super::{BLOCKED, drop_and_pass, drops, judged, passes, plain, row};
use crate::corpus::{
    Case,
    build::{ethernet, ethernet_to, ip, mpls, number, pppoe, tagged, udp},
    data::Row,
};

pub(super) fn add(rows: &mut Vec<Row>) {
    no_ip(rows);
    vlan(rows);
    in_pppoe(rows);
    in_mpls(rows);
    in_snap(rows);
}

fn no_ip(rows: &mut Vec<Row>) {
    let spanning_tree = [&[0x42, 0x42, 0x03][..], &[0; 35]].concat();
    let length = spanning_tree.len() as u16;
    let bridge_group = [0x01, 0x80, 0xc2, 0, 0, 0];
    let mut cases = vec![
        passes("ARP", ethernet(number::ARP, &[0; 28]), Arp),
        passes("ARP cut off", ethernet(number::ARP, &[]), Arp),
        passes("RARP", ethernet(number::RARP, &[0; 28]), Arp),
        passes(
            "ARP in a VLAN",
            tagged(&[(number::DOT1Q, 42)], &ethernet(number::ARP, &[0; 28])),
            Arp,
        ),
        passes(
            "spanning tree (802.3 with LLC)",
            ethernet_to(bridge_group, length, &spanning_tree),
            Llc,
        ),
        passes(
            "spanning tree in a VLAN",
            tagged(
                &[(number::DOT1Q, 42)],
                &ethernet_to(bridge_group, length, &spanning_tree),
            ),
            Llc,
        ),
        passes("a length of 0", ethernet(0, &[0x42; 46]), Llc),
        passes("a length of 1,500", ethernet(1500, &[0x42; 46]), Llc),
        passes(
            "a type of 0x05ff, still a length to Linux",
            ethernet(0x05ff, &[0x42; 46]),
            Llc,
        ),
        passes(
            "the lowest EtherType, 0x0600",
            ethernet(0x0600, &[0x42; 46]),
            NotIp,
        ),
        passes("no payload at all", ethernet(0x88cc, &[]), NotIp),
        passes(
            "another type before what looks like a tag and IP from B",
            tagged(&[(0x88b5, 42)], &plain(BLOCKED[0].1)),
            NotIp,
        ),
    ];
    for (name, ether_type) in [
        ("LLDP", 0x88cc_u16),
        ("LACP", 0x8809),
        ("EAPOL", 0x888e),
        ("PTP", 0x88f7),
        ("loopback test", 0x9000),
        ("an EtherType of nobody", 0x1234),
        ("the EtherType before IPv4's", 0x07ff),
        ("the EtherType behind IPv4's", 0x0801),
        ("the EtherType behind IPv6's", 0x86de),
        ("the highest EtherType", 0xffff),
    ] {
        cases.push(passes(name, ethernet(ether_type, &[0x45; 46]), NotIp));
        let in_vlan = tagged(&[(number::DOT1Q, 42)], &ethernet(ether_type, &[0x45; 46]));
        cases.push(passes(format!("{name}, in a VLAN"), in_vlan, NotIp));
    }
    let cases = cases
        .into_iter()
        .map(|case| case.policy("allow-list-no-lan"))
        .collect();
    row(
        rows,
        6,
        "ARP, RARP, LLDP, LACP, STP (802.3 with LLC), EAPOL, PTP: pass",
        cases,
    );
}

fn vlan(rows: &mut Vec<Row>) {
    use number::{DOT1AD, DOT1Q, QINQ};
    let mut cases = Vec::new();
    for (who, source, reason) in drop_and_pass() {
        for (name, tags) in [
            ("802.1Q", vec![(DOT1Q, 42)]),
            ("802.1Q, priority tag", vec![(DOT1Q, 5 << 13)]),
            ("802.1Q, VLAN 4095, all bits set", vec![(DOT1Q, 0xffff)]),
            ("802.1ad", vec![(DOT1AD, 42)]),
            ("0x9100", vec![(QINQ, 42)]),
            ("802.1ad and 802.1Q", vec![(DOT1AD, 7), (DOT1Q, 42)]),
            ("0x9100 and 802.1Q", vec![(QINQ, 7), (DOT1Q, 42)]),
            ("two priority tags", vec![(DOT1Q, 0), (DOT1Q, 0)]),
            ("3 tags", vec![(DOT1Q, 1), (DOT1AD, 2), (QINQ, 3)]),
            ("4 tags of 802.1Q", vec![(DOT1Q, 42); 4]),
            ("4 tags of 802.1ad", vec![(DOT1AD, 42); 4]),
            ("4 tags of 0x9100", vec![(QINQ, 42); 4]),
        ] {
            cases.push(judged(
                format!("{name}, {who}"),
                tagged(&tags, &plain(source)),
                reason,
            ));
        }
    }
    for (name, tags, reason) in [
        ("untagged", vec![], PolicyPass),
        ("VLAN 41", vec![(DOT1Q, 41)], PolicyPass),
        ("VLAN 42", vec![(DOT1Q, 42)], PolicyDrop),
        ("VLAN 42 of 802.1ad", vec![(DOT1AD, 42)], PolicyDrop),
        ("a priority tag", vec![(DOT1Q, 0)], PolicyPass),
        (
            "a priority tag before VLAN 42",
            vec![(DOT1Q, 0), (DOT1Q, 42)],
            PolicyDrop,
        ),
        ("VLAN 42 in VLAN 7", vec![(DOT1AD, 7), (DOT1Q, 42)], PolicyPass),
        ("VLAN 7 in VLAN 42", vec![(DOT1AD, 42), (DOT1Q, 7)], PolicyDrop),
    ] {
        let frame = tagged(&tags, &plain(BLOCKED[0].1));
        cases.push(judged(format!("services: {name}, from B"), frame, reason).policy("services"));
    }
    cases.extend(filtered());
    for tag_protocol in [DOT1Q, DOT1AD, QINQ] {
        let whole = tagged(&[(tag_protocol, 42)], &plain(BLOCKED[0].1));
        cases.push(drops(format!("a tag of {tag_protocol:#06x} cut off"), whole, Truncated).lengths(14..=17));
        let two = tagged(&[(tag_protocol, 42); 2], &plain(BLOCKED[0].1));
        cases.push(
            drops(
                format!("a second tag of {tag_protocol:#06x} cut off"),
                two,
                Truncated,
            )
            .lengths(18..=21),
        );
    }
    cases.push(passes(
        "a link-local source behind a tag",
        tagged(&[(DOT1Q, 42)], &plain("fe80::1".parse().expect("an address"))),
        LinkLocal,
    ));
    row(
        rows,
        7,
        "802.1Q, 802.1ad and 802.1Q, 4 tags, TPID 0x9100, priority tag; B inside: drop",
        cases,
    );

    let mut cases = Vec::new();
    for n_tags in [5, 6, 40] {
        for (who, source, _) in drop_and_pass() {
            for (name, tag_protocol) in [("802.1Q", DOT1Q), ("802.1ad", DOT1AD), ("0x9100", QINQ)] {
                let frame = tagged(&vec![(tag_protocol, 42); n_tags], &plain(source));
                cases.push(drops(format!("{n_tags} tags of {name}, {who}"), frame, DeepVlan));
            }
        }
    }
    let arp = tagged(&[(DOT1Q, 42); 5], &ethernet(number::ARP, &[0; 28]));
    cases.push(drops("5 tags, ARP", arp, DeepVlan));
    let priority = tagged(&[(DOT1Q, 0); 5], &plain(BLOCKED[0].1));
    cases.push(drops("5 priority tags, the last one cut off", priority, DeepVlan).lengths(30..=33));
    row(rows, 8, "more than 4 tags: drop, `deep_vlan`", cases);

    // What a card leaves in the frame after it has moved the tag to the metadata, where XDP does not see it.
    let cases = drop_and_pass().map(|(who, source, reason)| {
        judged(
            format!("{who}, its tag taken out by the card"),
            plain(source),
            reason,
        )
    });
    row(rows, 9, "VLAN tag stripped by the card, B: drop", cases.collect());
}

/// The VLAN filter: the outermost tag that names a VLAN decides whether a frame is judged at all. 0x500 is where an
/// untagged IPv4 packet would name a VLAN.
fn filtered() -> Vec<Case> {
    use number::{DOT1AD, DOT1Q, QINQ};
    let mut cases: Vec<Case> = Vec::new();
    for (name, tags, reason) in [
        ("untagged", vec![], VlanNotJudged),
        ("VLAN 42", vec![(DOT1Q, 42)], PolicyDrop),
        ("VLAN 42 of 802.1ad", vec![(DOT1AD, 42)], PolicyDrop),
        ("VLAN 42 of 0x9100", vec![(QINQ, 42)], PolicyDrop),
        ("VLAN 42, all priority bits", vec![(DOT1Q, 0xf02a)], PolicyDrop),
        ("VLAN 43", vec![(DOT1Q, 43)], VlanNotJudged),
        ("a priority tag", vec![(DOT1Q, 0)], VlanNotJudged),
        (
            "a priority tag before VLAN 42",
            vec![(DOT1Q, 0), (DOT1Q, 42)],
            PolicyDrop,
        ),
        (
            "3 priority tags before VLAN 42",
            vec![(DOT1Q, 0), (DOT1AD, 0), (QINQ, 0), (DOT1Q, 42)],
            PolicyDrop,
        ),
        (
            "4 priority tags before VLAN 42",
            vec![(DOT1Q, 0), (DOT1Q, 0), (DOT1Q, 0), (DOT1Q, 0), (DOT1Q, 42)],
            DeepVlan,
        ),
        (
            "4 priority tags before VLAN 43, which nobody reads",
            vec![(DOT1Q, 0), (DOT1Q, 0), (DOT1Q, 0), (DOT1Q, 0), (DOT1Q, 43)],
            DeepVlan,
        ),
        ("4 priority tags", vec![(DOT1Q, 0); 4], VlanNotJudged),
        ("VLAN 42 in VLAN 7", vec![(DOT1AD, 7), (DOT1Q, 42)], VlanNotJudged),
        ("VLAN 7 in VLAN 42", vec![(DOT1AD, 42), (DOT1Q, 7)], PolicyDrop),
        ("5 tags of VLAN 42", vec![(DOT1Q, 42); 5], DeepVlan),
        ("another type before 42", vec![(0x88b5, 42)], VlanNotJudged),
    ] {
        for (who, source) in BLOCKED {
            let frame = tagged(&tags, &plain(source));
            let name = format!("filtered: {name}, {who}");
            cases.push(match reason {
                DeepVlan => drops(name, frame, reason),
                _ => judged(name, frame, reason),
            });
        }
    }
    let whole = tagged(&[(DOT1Q, 42)], &plain(BLOCKED[0].1));
    cases.push(passes("filtered: the tag cut off", whole.clone(), VlanNotJudged).lengths(14..=15));
    cases.push(drops("filtered: cut off behind VLAN 42", whole, Truncated).lengths(16..=17));
    let arp = tagged(&[(DOT1Q, 42)], &ethernet(number::ARP, &[0; 28]));
    cases.push(passes("filtered: ARP in VLAN 42", arp, Arp));
    cases.push(passes(
        "filtered: ARP, untagged",
        ethernet(number::ARP, &[0; 28]),
        VlanNotJudged,
    ));
    cases.into_iter().map(|case| case.vlans(&[42, 0x500])).collect()
}

fn in_pppoe(rows: &mut Vec<Row>) {
    let session = |ppp: &[u8]| ethernet(number::PPPOE_SESSION, &pppoe(ppp));
    let behind = |protocol: &[u8], packet: &[u8]| session(&[protocol, packet].concat());
    let datagram = udp(40_000, 443, b"corpus");
    let mut cases: Vec<Case> = Vec::new();
    for (who, source, reason) in drop_and_pass() {
        let packet = ip(source, number::UDP, &datagram);
        let [full, compressed]: [&[u8]; 2] = if source.is_ipv4() {
            [&[0, 0x21], &[0x21]]
        } else {
            [&[0, 0x57], &[0x57]]
        };
        cases.push(judged(format!("PPPoE, {who}"), behind(full, &packet), reason));
        cases.push(judged(
            format!("PPPoE in a VLAN, {who}"),
            tagged(&[(number::DOT1Q, 7)], &behind(full, &packet)),
            reason,
        ));
        // Linux takes it, whatever was negotiated (ppp_generic.c, __ppp_decompress_proto).
        cases.push(judged(
            format!("PPPoE, protocol field compressed to one byte, {who}"),
            behind(compressed, &packet),
            reason,
        ));
        let mut other_session = behind(full, &packet);
        other_session[14..20].copy_from_slice(&[0, 0xff, 0xff, 0xff, 0, 0]);
        cases.push(judged(
            format!("PPPoE, its header full of lies, {who}"),
            other_session,
            reason,
        ));
    }
    let packet = ip(BLOCKED[0].1, number::UDP, &datagram);
    let whole = behind(&[0, 0x21], &packet);
    cases.push(drops("PPPoE header cut off", whole.clone(), Truncated).lengths(14..=21));
    cases.push(drops("PPPoE, IPv4 header cut off", whole, Truncated).lengths(22..=41));
    let packet = ip(BLOCKED[1].1, number::UDP, &datagram);
    let whole = behind(&[0, 0x57], &packet);
    cases.push(drops("PPPoE, IPv6 header cut off", whole, Truncated).lengths(22..=61));
    for (name, protocol) in [
        ("LCP", [0xc0, 0x21]),
        ("IPCP", [0x80, 0x21]),
        ("IPv6CP", [0x80, 0x57]),
        ("compressed datagrams", [0x00, 0xfd]),
    ] {
        cases.push(passes(
            format!("PPPoE, {name}"),
            behind(&protocol, &packet),
            NotIp,
        ));
    }
    cases.push(passes(
        "PPPoE discovery",
        ethernet(number::PPPOE_DISCOVERY, &[0x11, 0x09, 0, 0, 0, 4, 1, 1, 0, 0]),
        NotIp,
    ));
    row(
        rows,
        29,
        "PPPoE session, PPP 0x0021 and 0x0057, inner B: drop; discovery: pass",
        cases,
    );
}

fn in_mpls(rows: &mut Vec<Row>) {
    let mut cases = Vec::new();
    for (who, source) in BLOCKED {
        let packet = ip(source, number::UDP, &udp(40_000, 443, b"corpus"));
        for n_labels in 1..=4 {
            let frame = ethernet(number::MPLS, &mpls(n_labels, &packet));
            cases.push(passes(format!("MPLS, {n_labels} labels, {who}"), frame, Mpls));
        }
        let frame = ethernet(number::MPLS_MULTICAST, &mpls(1, &packet));
        cases.push(passes(format!("MPLS multicast, {who}"), frame, Mpls));
    }
    let labels = ethernet(number::MPLS, &mpls(1, &[]));
    cases.push(passes(
        "MPLS in a VLAN",
        tagged(&[(number::DOT1Q, 7)], &labels),
        Mpls,
    ));
    cases.push(passes("MPLS cut off", labels, Mpls).lengths(14..=17));
    row(rows, 30, "MPLS, 1 to 4 labels, inner B: pass, counted", cases);
}

fn in_snap(rows: &mut Vec<Row>) {
    let snap = |organisation: [u8; 3], ether_type: u16, packet: &[u8]| {
        let mut llc = vec![0xaa, 0xaa, 0x03];
        llc.extend(organisation);
        llc.extend(ether_type.to_be_bytes());
        llc.extend(packet);
        ethernet(llc.len() as u16, &llc)
    };
    let mut cases = Vec::new();
    for (who, source) in BLOCKED {
        let packet = ip(source, number::UDP, &udp(40_000, 443, b"corpus"));
        let ether_type = if source.is_ipv4() {
            number::IPV4
        } else {
            number::IPV6
        };
        let frame = snap([0; 3], ether_type, &packet);
        cases.push(passes(format!("SNAP, {who}"), frame.clone(), Snap));
        cases.push(passes(
            format!("SNAP in a VLAN, {who}"),
            tagged(&[(number::DOT1Q, 7)], &frame),
            Snap,
        ));
    }
    let discovery = snap([0, 0, 0x0c], 0x2000, &[1; 32]);
    cases.push(passes("SNAP of a vendor (CDP)", discovery, Llc));
    let cut = snap([0; 3], number::IPV4, &[]);
    cases.push(passes("SNAP cut off", cut, Llc).lengths(14..=21));
    row(rows, 32, "IPv4 behind SNAP: pass, counted", cases);
}
