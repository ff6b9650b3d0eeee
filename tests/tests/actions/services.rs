//! Services: what a packet is for decides which rules it meets.

use std::net::IpAddr;

use etherparse::IpNumber;
use integration_tests::{
    cordon_process::Cordon,
    counters::Counters,
    curl,
    frames::{FrameSocket, udp_frame, with_vlan_tags},
    lab::{EDGE_IFNAME, EDGE_V4, EDGE_V6, INTERNET_IFNAME},
    ledger::Ledger,
    probes::Outcome::Passed,
    segments::{CLIENT_PORT, Flags, later_fragment, tcp_frame, udp_frame_between},
    servers::{HTTP_PORT, Servers},
};

use super::stage::{
    PATIENCE, balance, open_books, policy, rule, send_all, server, service, silent_edge, start_with,
    take_answers, tier, wait_until,
};
use crate::traffic::edge::{Edge, NL, RU, address};

/// Port 443 is refused, port 80 is slow, the rest passes.
fn by_port() -> String {
    let parts = [
        service("https", "protocols = [\"tcp\"]\nports = [443]"),
        service("http", "protocols = [\"tcp\"]\nports = [80]"),
        tier("slow", "limit", "packets_per_s = 1\nburst_packets = 10"),
    ];
    let rules = [
        rule("RU", "reject", "services = [\"https\"]"),
        rule("RU", "slow", "services = [\"http\"]"),
    ];
    policy(&parts.concat(), &rules)
}

/// Sends a frame alone and gives the reason it was counted under.
fn reason_of(edge: &Edge, cordon: &Cordon<'_>, frame: &[u8]) -> String {
    let books = open_books(&edge.lab, cordon);
    send_all(&edge.lab, &[frame.to_vec()]);
    let counted: Counters = {
        let mut counted = Counters::default();
        wait_until("the frame is counted", || {
            counted = balance(&edge.lab, cordon, &books);
            counted.received_packets() > 0
        });
        counted
    };
    assert_eq!(counted.received_packets(), 1, "{counted}");
    let reason = counted.by_reason();
    reason.strip_suffix(" 1").unwrap_or(&reason).to_owned()
}

fn expect_reasons(edge: &Edge, cordon: &Cordon<'_>, frames: &[(&str, Vec<u8>, &str)]) {
    for (what, frame, reason) in frames {
        assert_eq!(reason_of(edge, cordon, frame), *reason, "{what}");
    }
}

fn v4(source: &str) -> [u8; 4] {
    match address(source) {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(_) => panic!("{source} is no IPv4 address"),
    }
}

#[test]
fn one_port_is_refused_another_is_slow_and_the_rest_passes() {
    let edge = silent_edge();
    let cordon = edge.start(&by_port());
    for [ru, nl] in [[RU[0], NL[0]], [RU[1], NL[1]]].map(|sources| sources.map(address)) {
        let tcp = |source, port| tcp_frame(source, port, Flags::Syn, b"");
        expect_reasons(
            &edge,
            &cordon,
            &[
                ("RU, TCP 443", tcp(ru, 443), "policy_reject"),
                ("RU, TCP 80", tcp(ru, 80), "within_limit"),
                ("RU, TCP 22", tcp(ru, 22), "policy_pass"),
                ("RU, TCP 444", tcp(ru, 444), "policy_pass"),
                ("RU, UDP 443", udp_frame(ru, 443, b"x"), "policy_pass"),
                ("RU, UDP 80", udp_frame(ru, 80, b"x"), "policy_pass"),
                ("NL, TCP 443", tcp(nl, 443), "policy_pass"),
                ("NL, TCP 80", tcp(nl, 80), "policy_pass"),
            ],
        );
    }
}

#[test]
fn real_clients_meet_the_rules_of_their_service() {
    let edge = Edge::new();
    let _taker = take_answers(&edge);
    let _https = Servers::start_http(&edge.lab.edge, 443, "https").unwrap();
    let _other = Servers::start_http(&edge.lab.edge, 8000, "other").unwrap();
    let parts = [
        service("https", "protocols = [\"tcp\"]\nports = [443]"),
        service("http", "protocols = [\"tcp\"]\nports = [80]"),
        tier("slow", "limit", "packets_per_s = 1000\nburst_packets = 1000"),
    ];
    let rules = [
        rule("RU", "reject", "services = [\"https\"]"),
        rule("RU", "slow", "services = [\"http\"]"),
    ];
    let cordon = edge.start(&policy(&parts.concat(), &rules));
    let books = open_books(&edge.lab, &cordon);
    let get = |source, port| {
        let source = address(source);
        let answer = curl::get(&edge.lab.internet, source, server(source, port), "/").unwrap();
        (answer.status, answer.body)
    };
    for source in RU {
        assert_eq!(get(source, 443), (curl::REFUSED, String::new()), "{source}");
        assert_eq!(
            get(source, HTTP_PORT),
            (curl::OK, "edge /\n".to_owned()),
            "{source}"
        );
        assert_eq!(get(source, 8000), (curl::OK, "other /\n".to_owned()), "{source}");
    }
    for source in NL {
        assert_eq!(get(source, 443), (curl::OK, "https /\n".to_owned()), "{source}");
    }
    let counted = balance(&edge.lab, &cordon, &books);
    assert_eq!(counted.packets_of("policy_reject", "RU"), 2, "{counted}");
    assert!(counted.packets_of("within_limit", "RU") > 0, "{counted}");
}

#[test]
fn later_fragments_take_the_strictest_row_that_they_may() {
    let edge = silent_edge();
    let cordon = edge.start(&by_port());
    expect_reasons(
        &edge,
        &cordon,
        &[
            // Part of a segment to port 443, for all that one can know. Fragments are not answered.
            ("TCP", later_fragment(v4(RU[0]), IpNumber::TCP), "reject_silent"),
            // No service is about UDP.
            ("UDP", later_fragment(v4(RU[0]), IpNumber::UDP), "policy_pass"),
            (
                "TCP from NL",
                later_fragment(v4(NL[0]), IpNumber::TCP),
                "policy_pass",
            ),
        ],
    );
    // What a fragment may be for ends with the destination.
    let parts = service(
        "https",
        "destinations = [\"198.18.0.99/32\"]\nprotocols = [\"tcp\"]\nports = [443]",
    );
    cordon
        .apply(&policy(&parts, &[rule("RU", "drop", "services = [\"https\"]")]))
        .unwrap();
    expect_reasons(
        &edge,
        &cordon,
        &[(
            "TCP to another address",
            later_fragment(v4(RU[0]), IpNumber::TCP),
            "policy_pass",
        )],
    );
}

#[test]
fn a_service_of_a_destination() {
    let edge = silent_edge();
    let parts = service(
        "old-site",
        &format!("destinations = [\"{EDGE_V4}/32\", \"{EDGE_V6}/128\", \"198.18.64.0/18\"]"),
    );
    let cordon = edge.start(&policy(
        &parts,
        &[rule("RU", "drop", "services = [\"old-site\"]")],
    ));
    let udp = |source: &str, destination: &str| {
        udp_frame_between(address(source), address(destination), CLIENT_PORT, 9, b"x")
    };
    expect_reasons(
        &edge,
        &cordon,
        &[
            ("the address", udp(RU[0], "198.18.0.1"), "policy_drop"),
            ("the next one", udp(RU[0], "198.18.0.2"), "policy_pass"),
            (
                "the first of the prefix",
                udp(RU[0], "198.18.64.0"),
                "policy_drop",
            ),
            (
                "the last of the prefix",
                udp(RU[0], "198.18.127.255"),
                "policy_drop",
            ),
            ("behind the prefix", udp(RU[0], "198.18.128.0"), "policy_pass"),
            ("the IPv6 address", udp(RU[1], "2001:2::1"), "policy_drop"),
            ("another IPv6 address", udp(RU[1], "2001:2::2"), "policy_pass"),
            ("somebody else", udp(NL[0], "198.18.0.1"), "policy_pass"),
        ],
    );
}

#[test]
fn a_service_of_vlans() {
    let edge = silent_edge();
    let parts = [
        service("guests", "vlans = [10, 4094]"),
        service("untagged-web", "vlans = [0]\nprotocols = [\"tcp\"]\nports = [80]"),
    ];
    let rules = [
        rule("RU", "drop", "services = [\"guests\"]"),
        rule("RU", "count", "services = [\"untagged-web\"]"),
    ];
    let cordon = edge.start(&policy(&parts.concat(), &rules));
    // As cards do by default, also behind the back of a daemon that runs.
    for (offload, is_a_problem) in [("on", true), ("off", false), ("on", true)] {
        let mut ethtool = edge.lab.edge.command("ethtool");
        let switched = ethtool.args(["-K", EDGE_IFNAME, "rxvlan", offload]);
        assert!(switched.status().unwrap().success());
        wait_until("the state tells of the tags", || {
            let status = cordon.status().unwrap();
            let problems = status["problems"].to_string();
            problems.contains("rxvlan off") == is_a_problem && (status["state"] == "degraded") == is_a_problem
        });
    }
    let web = tcp_frame(address(RU[0]), 80, Flags::Syn, b"");
    let tagged = |tags: &[(u16, u16)]| with_vlan_tags(&web, tags);
    expect_reasons(
        &edge,
        &cordon,
        &[
            ("VLAN 10", tagged(&[(0x8100, 10)]), "policy_drop"),
            (
                "VLAN 10 with a priority",
                tagged(&[(0x8100, 0xe00a)]),
                "policy_drop",
            ),
            ("VLAN 4094", tagged(&[(0x8100, 4094)]), "policy_drop"),
            ("VLAN 11", tagged(&[(0x8100, 11)]), "policy_pass"),
            (
                "VLAN 10 outside 11",
                tagged(&[(0x88a8, 10), (0x8100, 11)]),
                "policy_drop",
            ),
            (
                "VLAN 10 inside 11",
                tagged(&[(0x88a8, 11), (0x8100, 10)]),
                "policy_pass",
            ),
            ("untagged", web.clone(), "policy_count"),
            (
                "untagged, another port",
                tcp_frame(address(RU[0]), 81, Flags::Syn, b""),
                "policy_pass",
            ),
        ],
    );
}

#[test]
fn a_service_of_an_interface() {
    let (second_edge, second_internet) = ("edge1", "inet1");
    let edge = silent_edge();
    edge.lab
        .edge
        .ip_batch(&format!(
            "link add {second_edge} type veth peer name {second_internet} netns {}\n\
             link set {second_edge} up\n",
            edge.lab.internet.path()
        ))
        .unwrap();
    let conf = format!("ipv6/conf/{second_internet}/disable_ipv6");
    edge.lab.internet.sysctl(&conf, "1").unwrap();
    edge.lab
        .internet
        .ip_batch(&format!("link set {second_internet} arp off up\n"))
        .unwrap();
    let mut host_file = edge.host_file();
    host_file.interfaces.push(second_edge.to_owned());
    let parts = service("second", &format!("interfaces = [\"{second_edge}\"]"));
    let cordon = start_with(
        &edge,
        &host_file,
        &policy(&parts, &[rule("RU", "drop", "services = [\"second\"]")]),
    );
    wait_until("both interfaces are judged", || {
        let status = cordon.status().unwrap();
        status["interfaces"]
            .as_array()
            .is_some_and(|interfaces| interfaces.len() == 2)
    });
    let books = Ledger::open(&edge.lab.edge, &cordon, &[EDGE_IFNAME, second_edge]).unwrap();
    let frames = RU.map(|source| udp_frame(address(source), 9, b"x"));
    let arrived = [(INTERNET_IFNAME, EDGE_IFNAME), (second_internet, second_edge)].map(|(from, to)| {
        let sender = FrameSocket::open(&edge.lab.internet, from).unwrap();
        let receiver = FrameSocket::open(&edge.lab.edge, to).unwrap();
        for frame in &frames {
            sender.send(frame).unwrap();
        }
        let patience = if to == EDGE_IFNAME {
            PATIENCE
        } else {
            PATIENCE / 100
        };
        receiver.receive(frames.len(), patience).unwrap().len()
    });
    assert_eq!(arrived, [frames.len(), 0]);
    let counted = books.balance(&edge.lab.edge, &cordon).unwrap();
    assert_eq!(counted.packets_of("policy_pass", "RU"), 2, "{counted}");
    assert_eq!(counted.packets_of("policy_drop", "RU"), 2, "{counted}");
}

#[test]
fn a_rule_without_services_covers_ports_that_appear_later() {
    let edge = Edge::new();
    let parts = service("web", "protocols = [\"tcp\"]\nports = [\"80-443\"]");
    let rules = [rule("RU", "drop", ""), rule("BY", "drop", "services = [\"web\"]")];
    let cordon = edge.start(&policy(&parts, &rules));
    let books = open_books(&edge.lab, &cordon);
    // No policy knows of this port; it opens under the policy in force.
    let new_port = 50_123;
    let _new = Servers::start_http(&edge.lab.edge, new_port, "new").unwrap();
    let get = |source: &str, port| {
        let source = address(source);
        curl::get(&edge.lab.internet, source, server(source, port), "/")
            .unwrap()
            .status
    };
    for (source, port, status) in [
        (RU[0], new_port, curl::TIMED_OUT),
        (RU[1], new_port, curl::TIMED_OUT),
        ("83.0.7.7", new_port, curl::OK),
        ("83.0.7.7", HTTP_PORT, curl::TIMED_OUT),
        (NL[0], new_port, curl::OK),
    ] {
        assert_eq!(get(source, port), status, "{source} to port {port}");
    }
    edge.expect("others", &[(&NL, Passed)]);
    let counted = balance(&edge.lab, &cordon, &books);
    assert!(counted.packets_of("policy_drop", "RU") > 0, "{counted}");
}

#[test]
fn the_ends_of_a_port_range() {
    let edge = silent_edge();
    let parts = service("range", "ports = [\"8000-8010\", 9000]");
    let cordon = edge.start(&policy(&parts, &[rule("RU", "drop", "services = [\"range\"]")]));
    let source = address(RU[1]);
    for (port, reason) in [
        (7999, "policy_pass"),
        (8000, "policy_drop"),
        (8010, "policy_drop"),
        (8011, "policy_pass"),
        (9000, "policy_drop"),
    ] {
        let tcp = tcp_frame(source, port, Flags::Ack, b"");
        let udp = udp_frame(source, port, b"");
        assert_eq!(reason_of(&edge, &cordon, &tcp), reason, "TCP {port}");
        assert_eq!(reason_of(&edge, &cordon, &udp), reason, "UDP {port}");
    }
}
