//! `mark`: a tier as a DSCP, which nftables on the edge turns into another service.

use std::time::Duration;

use etherparse::{NetSlice, SlicedPacket};
use integration_tests::{
    curl,
    frames::{FrameSocket, udp_frame},
    lab::{EDGE_IFNAME, INTERNET_IFNAME},
    nft,
    probes::Outcome::Passed,
    servers::{HTTP_PORT, Servers},
};

use super::stage::{PATIENCE, balance, open_books, server, silent_edge, tier, treat_ru};
use crate::traffic::edge::{Edge, NL, RU, UNKNOWN, address};

/// Port of the proxy that serves the reduced tier.
const PROXY_PORT: u16 = 8080;

/// Who comes marked is sent to the proxy.
const RULES: &str = "\
table inet tiers {
    chain prerouting {
        type nat hook prerouting priority dstnat; policy accept;
        ip dscp cs1 tcp dport 80 redirect to :8080
        ip6 dscp cs1 tcp dport 80 redirect to :8080
    }
}
";

#[test]
fn marked_sources_get_the_reduced_service_and_the_others_the_full_one() {
    let edge = Edge::new();
    nft::load(&edge.lab.edge, RULES).unwrap();
    let _proxy = Servers::start_http(&edge.lab.edge, PROXY_PORT, "reduced").unwrap();
    let get = |source: &str| {
        let source = address(source);
        let answer = curl::get(&edge.lab.internet, source, server(source, HTTP_PORT), "/shop").unwrap();
        assert_eq!(answer.status, curl::OK, "from {source}: {answer:?}");
        answer.body
    };
    let cordon = edge.start(&treat_ru("pass", ""));
    for source in [RU, NL].concat() {
        assert_eq!(get(source), "edge /shop\n", "before the tier, from {source}");
    }
    cordon
        .apply(&treat_ru("reduced", &tier("reduced", "mark", "dscp = \"cs1\"")))
        .unwrap();
    let books = open_books(&edge.lab, &cordon);
    for source in RU {
        assert_eq!(get(source), "reduced /shop\n", "from {source}");
    }
    for source in [NL, UNKNOWN].concat() {
        assert_eq!(get(source), "edge /shop\n", "from {source}");
    }
    let counted = balance(&edge.lab, &cordon, &books);
    assert!(counted.packets_of("policy_mark", "RU") > 0, "{counted}");
    assert_eq!(
        counted.packets("policy_mark"),
        counted.packets_of("policy_mark", "RU"),
        "{counted}"
    );
    edge.expect("unmarked packets are answered", &[(&NL, Passed)]);
}

#[test]
fn the_mark_is_written_and_nothing_else_changes() {
    for (name, dscp) in [("\"cs1\"", 8), ("\"ef\"", 46), ("63", 63), ("\"le\"", 1)] {
        let edge = silent_edge();
        let cordon = edge.start(&treat_ru(
            "reduced",
            &tier("reduced", "mark", &format!("dscp = {name}")),
        ));
        let books = open_books(&edge.lab, &cordon);
        let sender = FrameSocket::open(&edge.lab.internet, INTERNET_IFNAME).unwrap();
        let receiver = FrameSocket::open(&edge.lab.edge, EDGE_IFNAME).unwrap();
        for source in RU {
            // Congestion experienced: the two bits beside the DSCP must survive.
            let frame = with_traffic_class(&udp_frame(address(source), 9, b"marked"), 3);
            sender.send(&frame).unwrap();
            let arrived = receiver.receive(1, PATIENCE).unwrap();
            let expected = with_traffic_class(&frame, dscp << 2 | 3);
            assert_eq!(arrived, [expected], "dscp = {name} from {source}");
            if let Some(NetSlice::Ipv4(ip)) = SlicedPacket::from_ethernet(&arrived[0]).unwrap().net {
                let header = ip.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum());
            }
        }
        // Others keep theirs.
        let frame = with_traffic_class(&udp_frame(address(NL[0]), 9, b"unmarked"), 0x28);
        sender.send(&frame).unwrap();
        assert_eq!(receiver.receive(1, PATIENCE).unwrap(), [frame]);
        assert!(receiver.receive(1, Duration::from_millis(50)).unwrap().is_empty());
        let counted = balance(&edge.lab, &cordon, &books);
        assert_eq!(counted.packets_of("policy_mark", "RU"), 2, "{counted}");
        assert_eq!(counted.received_packets(), 3, "{counted}");
    }
}

/// The same frame with another traffic class (and a right checksum).
fn with_traffic_class(frame: &[u8], class: u8) -> Vec<u8> {
    let mut frame = frame.to_vec();
    match frame[14] >> 4 {
        4 => {
            frame[15] = class;
            let (header, _) = etherparse::Ipv4Header::from_slice(&frame[14..]).unwrap();
            frame[24..26].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
        }
        _ => {
            frame[14] = 0x60 | class >> 4;
            frame[15] = class << 4 | frame[15] & 0xf;
        }
    }
    frame
}
