use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use integration_tests::{
    abroad::{
        Abroad, DNS_PORT, HTTP_PORT, NTP_PORT, PAGE, dns_query, is_dns_answer, is_ntp_answer, ntp_request,
    },
    cordon_process::Cordon,
    counters::Counters,
    curl,
    frames::FrameSocket,
    lab::{EDGE_IFNAME, INTERNET_IFNAME, edge_address},
    ledger::Ledger,
    segments::{Flags, tcp_frame_between, udp_frame_between},
};

use super::{DROP, POLICY, met};
use crate::traffic::edge::{Edge, NL, address};

/// Not named anywhere.
const OTHER: [&str; 2] = ["82.0.7.8", "2a02:100::8"];

/// What may take at most: an answer that comes, comes at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// A daemon that knows the servers at both addresses of NL.
fn start<'lab>(edge: &'lab Edge, policy: &str) -> Cordon<'lab> {
    let mut host_file = edge.host_file();
    host_file.settings = format!(
        "bundle_servers = [\"{}:{HTTP_PORT}\", \"[{}]:{HTTP_PORT}\"]\ntime_servers = [\"{}\", \"{}\"]\n",
        NL[0], NL[1], NL[0], NL[1]
    );
    let cordon = Cordon::start(&edge.lab, &host_file).unwrap();
    cordon.apply(policy).unwrap();
    cordon.wait_attached().unwrap();
    cordon
}

fn fetch(edge: &Edge, server: &str) -> curl::Answer {
    let server = address(server);
    let to = SocketAddr::new(server, HTTP_PORT);
    curl::get(&edge.lab.edge, edge_address(server), to, "/").unwrap()
}

/// Whether the edge gets the time from a server.
fn gets_time(edge: &Edge, server: &str) -> bool {
    asks(edge, server, NTP_PORT, &ntp_request(*b"01234567"))
        .is_some_and(|answer| is_ntp_answer(&answer, *b"01234567"))
}

fn asks(edge: &Edge, server: &str, port: u16, question: &[u8]) -> Option<Vec<u8>> {
    let server = address(server);
    let any = match server {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::from([0; 16]),
    };
    let socket = edge.lab.edge.run(|| UdpSocket::bind((any, 0))).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(question, (server, port)).unwrap();
    let mut answer = [0; 512];
    let n = socket.recv(&mut answer).ok()?;
    Some(answer[..n].to_vec())
}

fn balance(edge: &Edge, cordon: &Cordon<'_>, books: &Ledger) -> Counters {
    match books.balance(&edge.lab.edge, cordon) {
        Ok(counted) => counted,
        Err(error) => panic!("the books do not balance: {error:#}\n{}", cordon.log()),
    }
}

#[test]
fn a_bundle_is_fetched_while_halted_and_nothing_else_gets_in() {
    for replies in ["", "replies = false\n"] {
        let edge = Edge::new();
        let servers = [NL, OTHER].concat();
        let _servers: Vec<Abroad> = servers
            .iter()
            .map(|server| Abroad::start(&edge.lab.internet, address(server)).unwrap())
            .collect();
        let policy = POLICY.replacen("version = 1\n", &format!("version = 1\n{replies}"), 1);
        let cordon = start(&edge, &policy);
        for server in &servers {
            assert_eq!(fetch(&edge, server).body, PAGE, "{server} before the halt");
        }
        let books = Ledger::open(&edge.lab.edge, &cordon, &[EDGE_IFNAME]).unwrap();
        cordon.cordon_ok(&["halt", "--reason", "drill"]).unwrap();
        for server in NL {
            let page = fetch(&edge, server);
            assert_eq!(
                (page.status, page.body.as_str()),
                (curl::OK, PAGE),
                "{server}: {page:?}"
            );
            assert!(gets_time(&edge, server), "{server}");
            // The same server, but a port that nobody named.
            assert_eq!(asks(&edge, server, DNS_PORT, &dns_query(7)), None, "{server}");
            // It may answer, and no more.
            assert_eq!(met(&edge, server), [DROP; 3], "{server}");
        }
        for server in OTHER {
            assert_eq!(fetch(&edge, server).status, curl::TIMED_OUT, "{server}");
            assert!(!gets_time(&edge, server), "{server}");
        }
        let counted = balance(&edge, &cordon, &books);
        assert!(counted.packets("halted_reply") > 0, "{counted}");
        assert_eq!(counted.packets("reply"), 0, "{counted}");
    }
}

/// The resolvers are those that the system names; nobody else's answers count.
#[test]
fn names_are_resolved_while_halted() {
    for replies in ["", "replies = false\n"] {
        let edge = Edge::new();
        let servers = [NL, OTHER].concat();
        let _servers: Vec<Abroad> = servers
            .iter()
            .map(|server| Abroad::start(&edge.lab.internet, address(server)).unwrap())
            .collect();
        let policy = POLICY.replacen("version = 1\n", &format!("version = 1\n{replies}"), 1);
        let mut host_file = edge.host_file();
        host_file.resolv_conf = Some(format!("nameserver {}\nnameserver {}\n", NL[0], NL[1]));
        let cordon = Cordon::start(&edge.lab, &host_file).unwrap();
        cordon.apply(&policy).unwrap();
        cordon.wait_attached().unwrap();
        cordon
            .cordon_ok(&["halt", "--reason", "drill", "--override-lockout"])
            .unwrap();
        for server in NL {
            let answer = asks(&edge, server, DNS_PORT, &dns_query(7));
            assert!(
                answer.is_some_and(|answer| is_dns_answer(&answer, 7)),
                "{server} {replies}"
            );
            // It may answer questions about names, and no more.
            assert!(!gets_time(&edge, server), "{server}");
            assert_eq!(met(&edge, server), [DROP; 3], "{server}");
        }
        for server in OTHER {
            assert_eq!(asks(&edge, server, DNS_PORT, &dns_query(7)), None, "{server}");
        }
    }
}

/// Answers of a DHCP server, to the host's address and to all.
#[test]
fn addresses_are_leased_while_halted() {
    const DHCP: [u16; 2] = [67, 68];
    let edge = Edge::new();
    let mut host_file = edge.host_file();
    host_file.settings = format!("dhcp_servers = [{:?}]\n", NL[0]);
    let cordon = Cordon::start(&edge.lab, &host_file).unwrap();
    cordon.apply(POLICY).unwrap();
    cordon.wait_attached().unwrap();
    cordon
        .cordon_ok(&["halt", "--reason", "drill", "--override-lockout"])
        .unwrap();
    edge.lab.silence_internet().unwrap();
    let from = |server: &str| {
        let destinations = [edge_address(address(server)), [255; 4].into()];
        destinations.map(|to| udp_frame_between(address(server), to, DHCP[0], DHCP[1], b"offer"))
    };
    let counted = offer(&edge, &cordon, &from(NL[0]));
    assert_eq!(counted.packets("halted"), 0, "{counted}");
    assert_eq!(counted.packets("halted_failsafe"), 2, "{counted}");
    let counted = offer(&edge, &cordon, &from(OTHER[0]));
    assert_eq!(counted.packets("halted"), 2, "another server: {counted}");
}

/// What endpoints might send unasked, or somebody in their name.
fn forged(server: &str, source_port: u16, port: u16) -> Vec<Vec<u8>> {
    let server = address(server);
    let host = edge_address(server);
    let flags = [Flags::Syn, Flags::SynAck, Flags::Ack, Flags::Rst];
    let mut frames: Vec<Vec<u8>> = flags
        .into_iter()
        .map(|flags| tcp_frame_between(server, host, source_port, port, flags, b"forged"))
        .collect();
    frames.push(udp_frame_between(server, host, source_port, port, b"forged"));
    frames
}

/// Sends frames; gives what was counted.
fn offer(edge: &Edge, cordon: &Cordon<'_>, frames: &[Vec<u8>]) -> Counters {
    let books = Ledger::open(&edge.lab.edge, cordon, &[EDGE_IFNAME]).unwrap();
    let sender = FrameSocket::open(&edge.lab.internet, INTERNET_IFNAME).unwrap();
    for frame in frames {
        sender.send(frame).unwrap();
    }
    let counted = balance(edge, cordon, &books);
    assert_eq!(counted.received_packets(), frames.len() as u64, "{counted}");
    counted
}

#[test]
fn forged_answers_pass_nowhere_that_connections_are_known() {
    let edge = Edge::new();
    let cordon = start(&edge, POLICY);
    cordon.cordon_ok(&["halt", "--reason", "drill"]).unwrap();
    edge.lab.silence_internet().unwrap();
    let mut frames = Vec::new();
    for server in NL {
        for source_port in [HTTP_PORT, NTP_PORT, DNS_PORT, 443] {
            frames.extend(forged(server, source_port, 50_000));
        }
    }
    let counted = offer(&edge, &cordon, &frames);
    assert_eq!(counted.packets("halted"), frames.len() as u64, "{counted}");
}

#[test]
fn without_known_connections_what_opens_one_or_comes_from_another_port_drops() {
    let edge = Edge::new();
    let strict = POLICY.replacen("version = 1\n", "version = 1\nreplies = false\n", 1);
    let cordon = start(&edge, &strict);
    cordon.cordon_ok(&["halt", "--reason", "drill"]).unwrap();
    edge.lab.silence_internet().unwrap();
    for server in NL {
        // TCP from the bundle server's port: all but the SYN might answer something.
        let counted = offer(&edge, &cordon, &forged(server, HTTP_PORT, 50_000)[..4]);
        assert_eq!(counted.packets("halted_reply"), 3, "{server}: {counted}");
        assert_eq!(counted.packets("halted"), 1, "{server}: {counted}");
        // UDP from the same port, TCP from that of time, and ports that nobody named.
        let mut others = forged(server, HTTP_PORT, 50_000).split_off(4);
        others.extend_from_slice(&forged(server, NTP_PORT, 50_000)[..4]);
        others.extend(forged(server, 443, 50_000));
        let counted = offer(&edge, &cordon, &others);
        assert_eq!(
            counted.packets("halted"),
            others.len() as u64,
            "{server}: {counted}"
        );
        let time = forged(server, NTP_PORT, 50_000).split_off(4);
        let counted = offer(&edge, &cordon, &time);
        assert_eq!(counted.packets("halted_reply"), 1, "{server}: {counted}");
    }
}

#[test]
fn a_server_that_is_not_named_any_more_is_forgotten_at_the_next_start() {
    let edge = Edge::new();
    let _server = Abroad::start(&edge.lab.internet, address(NL[0])).unwrap();
    let mut cordon = start(&edge, POLICY);
    cordon.cordon_ok(&["halt", "--reason", "drill"]).unwrap();
    assert_eq!(fetch(&edge, NL[0]).status, curl::OK);
    cordon.kill().unwrap();
    assert_eq!(fetch(&edge, NL[0]).status, curl::OK, "the kernel knows by itself");
    let path = cordon.dir().join("cordon.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("bundle_servers") && !line.starts_with("time_servers"))
        .collect();
    std::fs::write(&path, text.join("\n")).unwrap();
    cordon.run().unwrap();
    assert_eq!(fetch(&edge, NL[0]).status, curl::TIMED_OUT);
}
