//! Replies: a host that blocks a country is still a client of servers there, and nobody else gets in by that.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use integration_tests::{
    abroad::{
        Abroad, DNS_PORT, HTTP_PORT, NTP_PORT, PAGE, dns_query, is_dns_answer, is_ntp_answer, ntp_request,
    },
    curl,
    lab::{EDGE_V4, EDGE_V6, edge_address},
    probes::Outcome::{Blocked, Passed},
    segments::{Flags, tcp_frame_between, udp_frame_between},
};

use super::stage::{balance, open_books, policy, rule, send_all, silent_edge, start_with, treat_ru};
use crate::traffic::edge::{Edge, NL, RU, address};

/// What may take at most: an answer that comes, comes at once; one that is blocked never does.
const PATIENCE: Duration = Duration::from_secs(2);

/// Fetches a page from a server abroad, as the edge.
fn fetch(edge: &Edge, server: IpAddr) -> curl::Answer {
    let to = SocketAddr::new(server, HTTP_PORT);
    curl::get(&edge.lab.edge, edge_address(server), to, "/").unwrap()
}

/// Asks a server abroad over UDP, as the edge; `None`: no answer.
fn ask(edge: &Edge, server: SocketAddr, is_connected: bool, question: &[u8]) -> Option<Vec<u8>> {
    let any = SocketAddr::new(
        match server {
            SocketAddr::V4(_) => IpAddr::from([0; 4]),
            SocketAddr::V6(_) => IpAddr::from([0; 16]),
        },
        0,
    );
    // Bound to no port of its own choice: the kernel gives it an ephemeral one.
    let socket = edge.lab.edge.run(|| UdpSocket::bind(any)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    if is_connected {
        socket.connect(server).unwrap();
        socket.send(question).unwrap();
    } else {
        socket.send_to(question, server).unwrap();
    }
    let mut answer = [0; 512];
    match socket.recv(&mut answer) {
        Ok(n) => Some(answer[..n].to_vec()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        // The edge's own egress program may tell the socket.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
        Err(error) => panic!("cannot ask {server}: {error}"),
    }
}

/// Whether the edge gets its page, its name and its time from there: (HTTP, DNS, NTP).
fn served(edge: &Edge, server: IpAddr) -> [bool; 3] {
    let page = fetch(edge, server);
    let dns = [true, false].map(|is_connected| {
        let to = SocketAddr::new(server, DNS_PORT);
        ask(edge, to, is_connected, &dns_query(7)).is_some_and(|answer| is_dns_answer(&answer, 7))
    });
    assert_eq!(dns[0], dns[1], "connected or not, from {server}");
    let stamp = *b"01234567";
    let ntp = ask(
        edge,
        SocketAddr::new(server, NTP_PORT),
        false,
        &ntp_request(stamp),
    );
    [
        page.status == curl::OK && page.body == PAGE,
        dns[0],
        ntp.is_some_and(|answer| is_ntp_answer(&answer, stamp)),
    ]
}

#[test]
fn a_host_that_blocks_a_country_still_fetches_from_servers_there() {
    for hook in ["tcx", "clsact"] {
        let edge = Edge::new();
        let _servers = RU.map(|server| Abroad::start(&edge.lab.internet, address(server)).unwrap());
        let mut host_file = edge.host_file();
        host_file.settings = format!("egress = \"{hook}\"\n");
        let cordon = start_with(&edge, &host_file, &treat_ru("drop", ""));
        let books = open_books(&edge.lab, &cordon);
        for server in RU {
            assert_eq!(served(&edge, address(server)), [true; 3], "{hook}: from {server}");
        }
        edge.expect(hook, &[(&RU, Blocked), (&NL, Passed)]);
        let counted = balance(&edge.lab, &cordon, &books);
        assert!(counted.packets_of("reply", "RU") > 0, "{hook}: {counted}");
        assert!(counted.packets_of("policy_drop", "RU") > 0, "{hook}: {counted}");
    }
}

#[test]
fn without_replies_answers_are_blocked_like_everything_from_there() {
    let edge = Edge::new();
    let server = address(RU[0]);
    let _servers = Abroad::start(&edge.lab.internet, server).unwrap();
    let strict = treat_ru("drop", "").replacen("version = 1\n", "version = 1\nreplies = false\n", 1);
    let cordon = edge.start(&strict);
    assert_eq!(cordon.status().unwrap()["both_directions"], false);
    let books = open_books(&edge.lab, &cordon);
    assert_eq!(served(&edge, server), [false; 3]);
    let counted = balance(&edge.lab, &cordon, &books);
    assert_eq!(counted.packets("reply"), 0, "{counted}");
    assert!(counted.packets_of("policy_drop", "RU") > 0, "{counted}");
}

#[test]
fn both_directions_are_closed_and_what_does_not_leave_is_counted_apart() {
    for hook in ["tcx", "clsact"] {
        let edge = Edge::new();
        let servers = [RU, NL].concat();
        let _servers: Vec<Abroad> = servers
            .iter()
            .map(|server| Abroad::start(&edge.lab.internet, address(server)).unwrap())
            .collect();
        let mut host_file = edge.host_file();
        host_file.settings = format!("egress = \"{hook}\"\n");
        let both = policy("", &[rule("RU", "drop", "direction = \"both\"")]);
        let cordon = start_with(&edge, &host_file, &both);
        assert_eq!(cordon.status().unwrap()["both_directions"], true, "{hook}");
        let shown = cordon.cordon_ok(&["status"]).unwrap();
        assert!(shown.stdout.contains("both directions  yes"), "{shown:?}");
        let books = open_books(&edge.lab, &cordon);
        for server in RU {
            assert_eq!(
                served(&edge, address(server)),
                [false; 3],
                "{hook}: from {server}"
            );
        }
        for server in NL {
            assert_eq!(served(&edge, address(server)), [true; 3], "{hook}: from {server}");
        }
        edge.expect(hook, &[(&RU, Blocked), (&NL, Passed)]);
        let counted = balance(&edge.lab, &cordon, &books);
        assert!(counted.packets_of("egress_drop", "RU") > 0, "{hook}: {counted}");
        assert_eq!(counted.packets_of("reply", "RU"), 0, "{hook}: {counted}");
    }
}

#[test]
fn forged_answers_do_not_pass() {
    let edge = silent_edge();
    let cordon = edge.start(&treat_ru("drop", ""));
    let books = open_books(&edge.lab, &cordon);
    let mut frames = Vec::new();
    for (server, host) in RU.into_iter().zip([IpAddr::from(EDGE_V4), EDGE_V6.into()]) {
        let server = address(server);
        for port in [80, 443, 22] {
            for flags in [Flags::SynAck, Flags::Ack, Flags::Rst] {
                frames.push(tcp_frame_between(server, host, port, 50_000, flags, b""));
            }
        }
        for port in [53, 123, 443] {
            frames.push(udp_frame_between(server, host, port, 50_000, b"unasked"));
        }
    }
    send_all(&edge.lab, &frames);
    let counted = balance(&edge.lab, &cordon, &books);
    assert_eq!(
        counted.packets_of("policy_drop", "RU"),
        frames.len() as u64,
        "{counted}"
    );
    assert_eq!(counted.received_packets(), frames.len() as u64, "{counted}");
}

#[test]
fn an_open_connection_lets_its_own_answers_in_and_no_others() {
    let edge = Edge::new();
    let server = address(RU[0]);
    let _servers = Abroad::start(&edge.lab.internet, server).unwrap();
    let cordon = edge.start(&treat_ru("drop", ""));
    let socket = edge.lab.edge.run(|| UdpSocket::bind((EDGE_V4, 0))).unwrap();
    let port = socket.local_addr().unwrap().port();
    let to = SocketAddr::new(server, DNS_PORT);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&dns_query(1), to).unwrap();
    assert!(socket.recv(&mut [0; 512]).is_ok(), "the answer passes");

    let books = open_books(&edge.lab, &cordon);
    let host = IpAddr::from(EDGE_V4);
    let frames = [
        // From another port of the server, from another host, to another port of the edge, by another protocol.
        udp_frame_between(server, host, 54, port, b"no"),
        udp_frame_between(address("81.0.7.8"), host, DNS_PORT, port, b"no"),
        udp_frame_between(server, host, DNS_PORT, port ^ 1, b"no"),
        tcp_frame_between(server, host, DNS_PORT, port, Flags::Ack, b"no"),
    ];
    send_all(&edge.lab, &frames);
    let counted = balance(&edge.lab, &cordon, &books);
    assert_eq!(
        counted.packets_of("policy_drop", "RU"),
        frames.len() as u64,
        "{counted}"
    );
    assert_eq!(counted.packets("reply"), 0, "{counted}");
    // The control: the right one passes, again and again.
    send_all(
        &edge.lab,
        &[udp_frame_between(server, host, DNS_PORT, port, b"yes")],
    );
    let mut answer = [0; 16];
    let n = socket.recv(&mut answer).unwrap();
    assert_eq!(&answer[..n], b"yes");
}
