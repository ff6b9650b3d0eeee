//! `drain`: what is open goes on, nothing new opens.

use std::time::Duration;

use cordon::instant::Instant;
use integration_tests::{
    curl,
    download::Download,
    frames::{FrameSocket, udp_frame},
    lab::{EDGE_IFNAME, INTERNET_IFNAME},
    probes::{Outcome, Probe, Protocol},
    segments::{Flags, quic_initial, quic_short, tcp_frame},
};

use super::stage::{balance, open_books, pass_all, policy, rule, server, silent_edge, treat_ru};
use crate::traffic::edge::{Edge, NL, RU, address, sleep_past};

const DOWNLOAD_PORT: u16 = 8088;

#[test]
fn a_download_in_progress_completes_and_no_new_connection_opens() {
    for source in RU {
        let source = address(source);
        let edge = Edge::new();
        let cordon = edge.start(&pass_all());
        let books = open_books(&edge.lab, &cordon);
        let download = Download::listen(&edge.lab.edge, DOWNLOAD_PORT).unwrap();
        let client =
            curl::Running::download(&edge.lab.internet, source, server(source, DOWNLOAD_PORT)).unwrap();
        download.wait_for_progress().unwrap();

        cordon.apply(&treat_ru("drain", "")).unwrap();
        download.wait_for_progress().unwrap();
        expect_drained(&edge);
        download.wait_for_progress().unwrap();
        download.finish();
        let answer = client.finish().unwrap();
        assert_eq!(answer.status, curl::OK, "from {source}: {}", answer.stderr);
        assert_eq!(
            answer.body,
            download.n_sent().to_string(),
            "the whole body arrived"
        );

        let counted = balance(&edge.lab, &cordon, &books);
        assert!(counted.packets_of("drain_pass", "RU") > 0, "{counted}");
        assert!(counted.packets_of("policy_drain", "RU") > 0, "{counted}");
        assert_eq!(
            counted.packets("policy_drain"),
            counted.packets_of("policy_drain", "RU"),
            "{counted}"
        );
    }
}

#[test]
fn a_download_in_progress_completes_when_a_phase_begins_with_the_daemon_dead() {
    let source = address(RU[0]);
    let edge = Edge::new();
    let mut cordon = edge.start(&pass_all());
    let books = open_books(&edge.lab, &cordon);
    let download = Download::listen(&edge.lab.edge, DOWNLOAD_PORT).unwrap();
    let client = curl::Running::download(&edge.lab.internet, source, server(source, DOWNLOAD_PORT)).unwrap();
    download.wait_for_progress().unwrap();

    let drained_from = edge.before_the_end(
        &cordon,
        |until| {
            let phases = format!("phases = [{{ until = {until}, action = \"pass\" }}]");
            policy("", &[rule("RU", "drain", &phases)])
        },
        &[(&RU, Outcome::Passed)],
    );
    cordon.kill().unwrap();
    sleep_past(Instant(drained_from.0 + 1));
    download.wait_for_progress().unwrap();
    expect_drained(&edge);
    download.wait_for_progress().unwrap();
    download.finish();
    let answer = client.finish().unwrap();
    assert_eq!(answer.status, curl::OK, "{}", answer.stderr);
    assert_eq!(
        answer.body,
        download.n_sent().to_string(),
        "the whole body arrived"
    );

    cordon.run().unwrap();
    let counted = balance(&edge.lab, &cordon, &books);
    assert!(counted.packets_of("drain_pass", "RU") > 0, "{counted}");
    assert!(counted.packets_of("policy_drain", "RU") > 0, "{counted}");
}

/// New TCP connections from Russia do not open; what opens nothing passes; nobody else notices.
fn expect_drained(edge: &Edge) {
    let probes: Vec<Probe> = [RU, NL]
        .concat()
        .into_iter()
        .flat_map(|source| {
            Protocol::ALL.map(|protocol| Probe {
                source: address(source),
                protocol,
            })
        })
        .collect();
    for (probe, outcome) in probes.iter().zip(edge.lab.probe(&probes).unwrap()) {
        let is_stopped = RU.map(address).contains(&probe.source) && probe.protocol == Protocol::Tcp;
        let expected = if is_stopped {
            Outcome::Blocked
        } else {
            Outcome::Passed
        };
        assert_eq!(outcome, expected, "{probe:?}");
    }
}

#[test]
fn a_first_quic_datagram_is_dropped_and_other_datagrams_pass() {
    let edge = silent_edge();
    let cordon = edge.start(&treat_ru("drain", ""));
    let books = open_books(&edge.lab, &cordon);
    let sender = FrameSocket::open(&edge.lab.internet, INTERNET_IFNAME).unwrap();
    let receiver = FrameSocket::open(&edge.lab.edge, EDGE_IFNAME).unwrap();
    let source = RU.map(address);
    let [initial, short] = [quic_initial(), quic_short()];
    let mut n_sent = 0;
    for (what, passes, frames) in [
        (
            "QUIC Initial",
            false,
            source.map(|from| udp_frame(from, 443, &initial)),
        ),
        (
            "QUIC, short header",
            true,
            source.map(|from| udp_frame(from, 443, &short)),
        ),
        ("UDP echo", true, source.map(|from| udp_frame(from, 7, b"echo"))),
        (
            "SYN",
            false,
            source.map(|from| tcp_frame(from, 80, Flags::Syn, b"")),
        ),
        (
            "SYN-ACK",
            true,
            source.map(|from| tcp_frame(from, 80, Flags::SynAck, b"")),
        ),
        (
            "ACK",
            true,
            source.map(|from| tcp_frame(from, 80, Flags::Ack, b"data")),
        ),
        (
            "RST",
            true,
            source.map(|from| tcp_frame(from, 80, Flags::Rst, b"")),
        ),
    ] {
        for frame in frames {
            let before = cordon.counters().unwrap();
            sender.send(&frame).unwrap();
            n_sent += 1;
            // Whatever becomes of it, it is counted: then it is known what.
            super::stage::wait_until(what, || {
                cordon.counters().unwrap().received_packets() > before.received_packets()
            });
            let counted = cordon.counters().unwrap().since(&before);
            let reason = if passes { "drain_pass" } else { "policy_drain" };
            assert_eq!(counted.packets_of(reason, "RU"), 1, "{what}: {counted}");
            let arrived = receiver
                .receive(usize::from(passes), Duration::from_secs(5))
                .unwrap();
            assert_eq!(arrived.len(), usize::from(passes), "{what}");
        }
    }
    let left = receiver.receive(1, Duration::from_millis(100)).unwrap();
    assert!(left.is_empty(), "what was dropped did not arrive: {left:?}");
    let counted = balance(&edge.lab, &cordon, &books);
    assert_eq!(counted.received_packets(), n_sent, "{counted}");
}
