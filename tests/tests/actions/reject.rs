//! `reject`: the sender is told, and its kernel believes it.

use std::{
    io,
    net::{IpAddr, UdpSocket},
    time::{Duration, Instant},
};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use integration_tests::{
    curl,
    download::Download,
    frames::{FrameSocket, udp_frame},
    lab::{EDGE_MAC, INTERNET_IFNAME, INTERNET_MAC, edge_address},
    probes::Outcome::Passed,
    segments::{ACKNOWLEDGED, CLIENT_PORT, Flags, SEQUENCE, later_fragment, tcp_frame},
    servers::HTTP_PORT,
};

use super::stage::{
    PATIENCE, balance, open_books, pass_all, send_all, server, silent_edge, take_answers, treat_ru,
};
use crate::traffic::edge::{Edge, NL, RU, address};

/// A port that nobody listens on: an answer from there would be the stack's own.
const CLOSED_PORT: u16 = 9;

#[test]
fn curl_is_refused_and_does_not_time_out() {
    let edge = Edge::new();
    let _taker = take_answers(&edge);
    let cordon = edge.start(&treat_ru("drop", ""));
    let get =
        |source: IpAddr| curl::get(&edge.lab.internet, source, server(source, HTTP_PORT), "/hello").unwrap();
    let dropped = get(address(RU[0]));
    assert_eq!(
        dropped.status,
        curl::TIMED_OUT,
        "the control: a silent drop is a time-out: {dropped:?}"
    );
    cordon.apply(&treat_ru("reject", "")).unwrap();
    let books = open_books(&edge.lab, &cordon);
    for source in RU.map(address) {
        let refused = get(source);
        assert_eq!(refused.status, curl::REFUSED, "from {source}: {refused:?}");
        assert_eq!(refused.body, "");
    }
    for source in NL.map(address) {
        let served = get(source);
        assert_eq!((served.status, served.body.as_str()), (curl::OK, "edge /hello\n"));
    }
    let counted = balance(&edge.lab, &cordon, &books);
    assert_eq!(
        counted.packets_of("policy_reject", "RU"),
        2,
        "one SYN each: {counted}"
    );
    assert_eq!(counted.packets("reject_silent"), 0, "{counted}");
}

#[test]
fn a_connection_in_progress_is_reset() {
    for source in RU.map(address) {
        let edge = Edge::new();
        let _taker = take_answers(&edge);
        let cordon = edge.start(&pass_all());
        let books = open_books(&edge.lab, &cordon);
        let port = 8088;
        let download = Download::listen(&edge.lab.edge, port).unwrap();
        let client = curl::Running::download(&edge.lab.internet, source, server(source, port)).unwrap();
        download.wait_for_progress().unwrap();
        cordon.apply(&treat_ru("reject", "")).unwrap();
        let broken = client.finish().unwrap();
        assert_eq!(
            broken.status,
            curl::RECEIVE_FAILED,
            "from {source}: {}",
            broken.stderr
        );
        let counted = balance(&edge.lab, &cordon, &books);
        assert!(counted.packets_of("policy_reject", "RU") > 0, "{counted}");
    }
}

#[test]
fn a_udp_socket_gets_the_error() {
    let edge = Edge::new();
    let _taker = take_answers(&edge);
    let cordon = edge.start(&treat_ru("reject", ""));
    let books = open_books(&edge.lab, &cordon);
    // "Communication administratively prohibited" as Linux hands it to sockets: `icmp_err_convert` in
    // net/ipv4/icmp.c, `tab_unreach` in net/ipv6/icmp.c.
    for (source, errno) in RU
        .map(address)
        .into_iter()
        .zip([libc::EHOSTUNREACH, libc::EACCES])
    {
        let client = edge.lab.internet.run(|| UdpSocket::bind((source, 0))).unwrap();
        client.connect((edge_address(source), 7)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.send(b"anybody there?").unwrap();
        let error = client.recv(&mut [0; 16]).unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            Some(errno),
            "from {source}: {error}, not {}",
            io::Error::from_raw_os_error(errno)
        );
    }
    let counted = balance(&edge.lab, &cordon, &books);
    assert_eq!(counted.packets_of("policy_reject", "RU"), 2, "{counted}");
    edge.expect("others", &[(&NL, Passed)]);
}

/// Whether a frame goes to one of these addresses: the edge sends things of its own, too.
fn is_to(frame: &[u8], addresses: &[IpAddr]) -> bool {
    match SlicedPacket::from_ethernet(frame)
        .ok()
        .and_then(|packet| packet.net)
    {
        Some(NetSlice::Ipv4(ip)) => addresses.contains(&ip.header().destination_addr().into()),
        Some(NetSlice::Ipv6(ip)) => addresses.contains(&ip.header().destination_addr().into()),
        _ => false,
    }
}

/// Frames to Russia that arrive until some did, or for a while.
fn answers(listener: &FrameSocket, patience: Duration) -> Vec<Vec<u8>> {
    let deadline = Instant::now() + patience;
    let mut answers = Vec::new();
    while answers.is_empty() && Instant::now() < deadline {
        answers = listener.receive(10, Duration::from_millis(100)).unwrap();
        answers.retain(|frame| is_to(frame, &RU.map(address)));
    }
    answers
}

/// Sends one frame and gives the answer, which must be the only one.
fn answer_to(edge: &Edge, listener: &FrameSocket, frame: &[u8]) -> Vec<u8> {
    send_all(&edge.lab, &[frame.to_vec()]);
    let mut answers = answers(listener, PATIENCE);
    assert_eq!(answers.len(), 1, "one answer comes: {answers:?}");
    answers.remove(0)
}

#[test]
fn resets_are_what_rfc_9293_asks_for_with_right_checksums() {
    let edge = silent_edge();
    let _taker = take_answers(&edge);
    let cordon = edge.start(&treat_ru("reject", ""));
    let books = open_books(&edge.lab, &cordon);
    let listener = FrameSocket::open(&edge.lab.internet, INTERNET_IFNAME).unwrap();
    let mut n_sent = 0;
    for source in RU.map(address) {
        for (flags, payload) in [
            (Flags::Syn, b"".as_slice()),
            (Flags::Ack, b""),
            (Flags::Ack, b"some data"),
            // An odd length: the checksum of what is answered must not depend on it.
            (Flags::SynAck, b"x"),
        ] {
            let what = format!("{flags:?} with {} bytes from {source}", payload.len());
            let answer = answer_to(&edge, &listener, &tcp_frame(source, 443, flags, payload));
            n_sent += 1;
            assert_eq!(
                answer[..12],
                [INTERNET_MAC, EDGE_MAC].concat(),
                "{what}: MAC addresses"
            );
            let answer = SlicedPacket::from_ethernet(&answer).unwrap();
            let Some(TransportSlice::Tcp(tcp)) = &answer.transport else {
                panic!("{what}: answered by {:?}", answer.transport);
            };
            let header = tcp.to_header();
            let checksum = match answer.net.as_ref().unwrap() {
                NetSlice::Ipv4(ip) => {
                    let ip = ip.header().to_header();
                    assert_eq!(
                        ip.header_checksum,
                        ip.calc_header_checksum(),
                        "{what}: IPv4 checksum"
                    );
                    assert_eq!(IpAddr::from(ip.destination), source, "{what}");
                    assert_eq!(IpAddr::from(ip.source), edge_address(source), "{what}");
                    header.calc_checksum_ipv4(&ip, tcp.payload()).unwrap()
                }
                NetSlice::Ipv6(ip) => {
                    let ip = ip.header().to_header();
                    assert_eq!(IpAddr::from(ip.destination), source, "{what}");
                    assert_eq!(IpAddr::from(ip.source), edge_address(source), "{what}");
                    header.calc_checksum_ipv6(&ip, tcp.payload()).unwrap()
                }
                NetSlice::Arp(_) => panic!("{what}: answered by ARP"),
            };
            assert_eq!(header.checksum, checksum, "{what}: TCP checksum");
            assert_eq!(
                (header.source_port, header.destination_port),
                (443, CLIENT_PORT),
                "{what}"
            );
            assert!(header.rst && !header.syn && !header.fin, "{what}: {header:?}");
            assert_eq!(tcp.payload(), b"", "{what}");
            // Section 3.5.2: an acknowledging segment is answered at its acknowledgement number; any other one at
            // zero, acknowledging its length, in which a SYN counts as one.
            if flags == Flags::Syn {
                assert!(header.ack, "{what}");
                assert_eq!(
                    (header.sequence_number, header.acknowledgment_number),
                    (0, SEQUENCE + 1)
                );
            } else {
                assert_eq!(header.sequence_number, ACKNOWLEDGED, "{what}");
            }
        }
    }
    let counted = balance(&edge.lab, &cordon, &books);
    assert_eq!(counted.received_packets(), n_sent, "{counted}");
    assert_eq!(counted.packets_of("policy_reject", "RU"), n_sent, "{counted}");
}

#[test]
fn icmp_answers_quote_the_packet_with_right_checksums() {
    let edge = silent_edge();
    let _taker = take_answers(&edge);
    let cordon = edge.start(&treat_ru("reject", ""));
    let books = open_books(&edge.lab, &cordon);
    let listener = FrameSocket::open(&edge.lab.internet, INTERNET_IFNAME).unwrap();
    let mut n_sent = 0;
    for source in RU.map(address) {
        for payload in [b"".as_slice(), b"odd", &[b'.'; 1400]] {
            let what = format!("UDP with {} bytes from {source}", payload.len());
            let question = udp_frame(source, CLOSED_PORT, payload);
            let answer = answer_to(&edge, &listener, &question);
            n_sent += 1;
            assert_eq!(
                answer[..12],
                [INTERNET_MAC, EDGE_MAC].concat(),
                "{what}: MAC addresses"
            );
            let answer = SlicedPacket::from_ethernet(&answer).unwrap();
            let quoted = match (answer.net.as_ref().unwrap(), &answer.transport) {
                (NetSlice::Ipv4(ip), Some(TransportSlice::Icmpv4(icmp))) => {
                    let ip = ip.header().to_header();
                    assert_eq!(
                        ip.header_checksum,
                        ip.calc_header_checksum(),
                        "{what}: IPv4 checksum"
                    );
                    assert_eq!(IpAddr::from(ip.destination), source, "{what}");
                    assert_eq!((icmp.type_u8(), icmp.code_u8()), (3, 13), "{what}");
                    let right = icmp.icmp_type().calc_checksum(icmp.payload());
                    assert_eq!(icmp.checksum(), right, "{what}: ICMP checksum");
                    icmp.payload().to_vec()
                }
                (NetSlice::Ipv6(ip), Some(TransportSlice::Icmpv6(icmp))) => {
                    let ip = ip.header().to_header();
                    assert_eq!(IpAddr::from(ip.destination), source, "{what}");
                    assert_eq!((icmp.type_u8(), icmp.code_u8()), (1, 1), "{what}");
                    let right = icmp
                        .icmp_type()
                        .calc_checksum(ip.source, ip.destination, icmp.payload())
                        .unwrap();
                    assert_eq!(icmp.checksum(), right, "{what}: ICMPv6 checksum");
                    icmp.payload().to_vec()
                }
                other => panic!("{what}: answered by {other:?}"),
            };
            // RFC 792 asks for the header and 64 bits behind it, which hold the ports that the sender looks for.
            let headers = if source.is_ipv4() { 20 } else { 40 };
            assert!(
                quoted.len() >= headers + 8,
                "{what}: {} bytes quoted",
                quoted.len()
            );
            let packet = &question[14..];
            let n_compared = quoted.len().min(packet.len());
            assert_eq!(quoted[..n_compared], packet[..n_compared], "{what}");
        }
    }
    let counted = balance(&edge.lab, &cordon, &books);
    assert_eq!(counted.packets_of("policy_reject", "RU"), n_sent, "{counted}");
    assert_eq!(counted.received_packets(), n_sent, "{counted}");
}

#[test]
fn nobody_is_answered_who_must_not_be() {
    let edge = silent_edge();
    let _taker = take_answers(&edge);
    let cordon = edge.start(&treat_ru("reject", ""));
    let books = open_books(&edge.lab, &cordon);
    let listener = FrameSocket::open(&edge.lab.internet, INTERNET_IFNAME).unwrap();
    let mut to_everyone = udp_frame(address(RU[0]), CLOSED_PORT, b"hello all");
    to_everyone[..6].fill(0xff);
    let IpAddr::V4(v4) = address(RU[0]) else {
        panic!("the first is an IPv4 address")
    };
    let frames = [
        // RFC 9293, 3.5.2: no reset is answered by a reset.
        tcp_frame(address(RU[0]), 80, Flags::Rst, b""),
        tcp_frame(address(RU[1]), 80, Flags::Rst, b""),
        // RFC 1122, 3.2.2: none to a later fragment, none to a link-layer broadcast.
        later_fragment(v4.octets(), etherparse::IpNumber::UDP),
        to_everyone,
    ];
    send_all(&edge.lab, &frames);
    let counted = balance(&edge.lab, &cordon, &books);
    assert_eq!(
        counted.packets_of("reject_silent", "RU"),
        frames.len() as u64,
        "{counted}"
    );
    let answers = answers(&listener, Duration::from_millis(200));
    assert!(answers.is_empty(), "{answers:?}");
}

#[test]
fn answers_are_capped_and_what_exceeds_the_cap_is_still_counted() {
    let edge = silent_edge();
    let _taker = take_answers(&edge);
    let cordon = edge.start(&treat_ru("reject", ""));
    let books = open_books(&edge.lab, &cordon);
    let frames = vec![tcp_frame(address(RU[0]), 80, Flags::Syn, b""); 8_000];
    send_all(&edge.lab, &frames);
    let counted = balance(&edge.lab, &cordon, &books);
    let [answered, silent] =
        ["policy_reject", "reject_silent"].map(|reason| counted.packets_of(reason, "RU"));
    assert_eq!(answered + silent, counted.received_packets(), "{counted}");
    assert!(answered > 0 && silent > 0, "{counted}");
}
