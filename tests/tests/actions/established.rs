//! What is established from a place ends with the next packet once that place is blocked, although answers to the
//! host's own connections pass: a server's answers are no connections of its own. Or it has a grace: a phase.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, UdpSocket},
    time::Duration,
};

use cordon::instant::Instant;
use integration_tests::{lab::edge_address, servers::ECHO_PORT};

use super::stage::{
    PATIENCE, balance, connect_from, open_books, pass_all, policy, rule, treat_ru, wait_until,
};
use crate::traffic::edge::{Edge, RU, address, sleep_past};

const PORT: u16 = 8099;
/// Long enough for a policy to be applied and a segment to arrive on a busy machine.
const GRACE_S: u32 = 15;

#[test]
fn a_udp_client_that_was_active_before_the_policy_is_dropped_at_once() {
    for source in RU {
        let source = address(source);
        let edge = Edge::new();
        let cordon = edge.start(&pass_all());
        let books = open_books(&edge.lab, &cordon);
        let client = edge.lab.internet.run(|| UdpSocket::bind((source, 0))).unwrap();
        client.connect((edge_address(source), ECHO_PORT)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = [0; 16];
        for _ in 0..20 {
            client.send(b"before").unwrap();
            assert_eq!(
                client.recv(&mut answer).unwrap(),
                6,
                "the server answers before the policy"
            );
        }
        cordon.apply(&treat_ru("drop", "")).unwrap();
        let n_dropped = || cordon.counters().unwrap().packets_of("policy_drop", "RU");
        for n in 1..=5 {
            client.send(b"after").unwrap();
            wait_until("each datagram is dropped", || n_dropped() == n);
        }
        client.set_nonblocking(true).unwrap();
        let nothing = client.recv(&mut answer).unwrap_err();
        assert_eq!(
            nothing.kind(),
            ErrorKind::WouldBlock,
            "no answer came to {source}"
        );
        let counted = balance(&edge.lab, &cordon, &books);
        assert_eq!(counted.packets("reply"), 0, "{counted}");
    }
}

#[test]
fn a_tcp_connection_from_a_newly_blocked_country_is_dropped_at_the_next_packet() {
    for source in RU {
        let source = address(source);
        let edge = Edge::new();
        let cordon = edge.start(&pass_all());
        let books = open_books(&edge.lab, &cordon);
        let edge_side = SocketAddr::new(edge_address(source), PORT);
        let listener = edge.lab.edge.run(|| TcpListener::bind(edge_side)).unwrap();
        let mut client = edge.lab.internet.run(|| connect_from(source, edge_side)).unwrap();
        let (mut server, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), source);
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut line = [0; 6];
        client.write_all(b"before").unwrap();
        server.read_exact(&mut line).unwrap();
        server.write_all(b"answer").unwrap();
        client.read_exact(&mut line).unwrap();

        cordon.apply(&treat_ru("drop", "")).unwrap();
        client.write_all(b"after!").unwrap();
        wait_until("the next segment is dropped", || {
            cordon.counters().unwrap().packets_of("policy_drop", "RU") > 0
        });
        server.set_nonblocking(true).unwrap();
        let nothing = server.read(&mut line).unwrap_err();
        assert_eq!(
            nothing.kind(),
            ErrorKind::WouldBlock,
            "nothing came from {source}"
        );
        let counted = balance(&edge.lab, &cordon, &books);
        assert_eq!(counted.packets("reply"), 0, "{counted}");

        // The control: it was the policy alone. TCP repeats what was lost.
        cordon.apply(&pass_all()).unwrap();
        server.set_nonblocking(false).unwrap();
        server.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        server.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"after!");
    }
}

#[test]
fn a_phase_that_drains_is_a_grace_for_what_is_established() {
    let source = address(RU[0]);
    let edge = Edge::new();
    let cordon = edge.start(&pass_all());
    let books = open_books(&edge.lab, &cordon);
    let edge_side = SocketAddr::new(edge_address(source), PORT);
    let listener = edge.lab.edge.run(|| TcpListener::bind(edge_side)).unwrap();
    let mut client = edge.lab.internet.run(|| connect_from(source, edge_side)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();

    let until = Instant(Instant::now().0 + GRACE_S);
    let phases = format!("phases = [{{ until = {until}, action = \"drain\" }}]");
    cordon.apply(&policy("", &[rule("RU", "drop", &phases)])).unwrap();
    let mut line = [0; 6];
    client.write_all(b"during").unwrap();
    server.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"during");
    let counted = cordon.counters().unwrap();
    assert!(counted.packets_of("drain_pass", "RU") > 0, "{counted}");
    assert_eq!(counted.packets_of("policy_drop", "RU"), 0, "{counted}");

    sleep_past(until);
    client.write_all(b"after!").unwrap();
    wait_until("the next segment is dropped", || {
        cordon.counters().unwrap().packets_of("policy_drop", "RU") > 0
    });
    server.set_nonblocking(true).unwrap();
    let nothing = server.read(&mut line).unwrap_err();
    assert_eq!(
        nothing.kind(),
        ErrorKind::WouldBlock,
        "nothing came from {source}"
    );
    balance(&edge.lab, &cordon, &books);
}
