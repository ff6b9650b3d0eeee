//! Phases: a migration window, in the example's own words and in the kernel with nobody left to help it.

use std::{
    io::ErrorKind,
    net::{IpAddr, UdpSocket},
    path::{Path, PathBuf},
    time::Duration,
};

use cordon::{instant::Instant, policy};
use integration_tests::{
    cordon_process::Cordon,
    lab::edge_address,
    probes::{Outcome, Probe, Protocol},
    servers::ECHO_PORT,
};
use serde_json::Value;

use super::stage::{balance, open_books, pass_all, policy as policy_of, rule, tier};
use crate::traffic::edge::{BY, Edge, NL, RU, address, sleep_past};

/// The known customers: a prefix of each family, which [`RU`] lies in.
const CUSTOMERS: [&str; 2] = ["81.0.7.0/24", "2a01:100::/64"];
/// Of the same country, but unknown.
const STRANGERS: [&str; 2] = ["81.0.8.8", "2a01:100:0:8::8"];
/// Of the customers' datagrams, so many may come at once while they are limited.
const BURST: usize = 4;
/// So many are sent to tell a limit from none.
const N_DATAGRAMS: usize = 24;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/examples/migration-window.toml")
}

#[test]
fn the_example_says_at_each_instant_what_happens() {
    let edge = Edge::new();
    // No daemon: the file is asked, with the database that ships with cordon.
    let cordon = Cordon::new(&edge.lab, &Default::default()).unwrap();
    let path = example();
    let file = path.to_str().unwrap();
    cordon.cordon_ok(&["check", file]).unwrap();

    let (parsed, _) = policy::parse(file, &std::fs::read_to_string(&path).unwrap());
    let parsed = parsed.unwrap();
    let window = parsed
        .exemptions
        .iter()
        .find(|exemption| !exemption.phases.is_empty());
    let window = window.expect("the example has an exemption with phases");
    let ends: Vec<u32> = window.phases.iter().map(|phase| phase.until.value.0).collect();
    let explained = |address: IpAddr, at: u32| -> Value {
        let answer = cordon
            .cordon_ok(&[
                "explain",
                "--policy",
                file,
                "--at",
                &Instant(at).to_string(),
                "-o",
                "json",
                &address.to_string(),
            ])
            .unwrap();
        answer.json().unwrap()
    };
    let customer = window.prefixes[0].value.addr();
    // In the last second of each phase, and at the first instant at which the window is over.
    let said = |at| explained(customer, at)["action"].as_str().unwrap().to_owned();
    let in_turn: Vec<String> = ends.iter().map(|end| said(end - 1)).collect();
    assert_eq!(in_turn, ["pass", "limit", "drain"], "the window of {customer}");
    assert_eq!(said(ends[2]), "drop", "the window is over");
    assert_eq!(said(ends[0]), "limit", "`until` is exclusive");
    // Ninety days, from the start of the order.
    let begins = parsed.orders[0].effective.as_ref().unwrap().value.0;
    assert_eq!(ends[2] - begins, 90 * 24 * 3600);
    assert_eq!(said(begins), "pass");
}

/// A window whose phases end at these instants.
fn window(ends: [Instant; 3]) -> String {
    let limit = format!("packets_per_s = 1\nburst_packets = {BURST}");
    let [pass, limited, drained] = ends;
    [
        policy_of(
            &tier("slow", "limit", &limit),
            &[rule("RU", "drop", ""), rule("BY", "drop", "")],
        ),
        format!(
            "\n[[exemption]]\nprefixes = {CUSTOMERS:?}\nreference = \"CASE-1\"\nreason = \"migration\"\n\
             phases = [\n\
             {{ until = {pass}, action = \"pass\" }},\n\
             {{ until = {limited}, action = \"slow\" }},\n\
             {{ until = {drained}, action = \"drain\" }},\n]\n"
        ),
    ]
    .concat()
}

/// What a customer meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    Pass,
    Limit,
    Drain,
    Drop,
}

/// What customers meet now, and `None` if the phase ended while they asked.
fn met(edge: &Edge, until: Option<Instant>) -> Option<[Met; 2]> {
    let datagrams = RU.map(|source| answered(edge, address(source), N_DATAGRAMS));
    let tcp = RU.map(|source| {
        let probe = Probe {
            source: address(source),
            protocol: Protocol::Tcp,
        };
        edge.lab.probe(&[probe]).unwrap()[0]
    });
    let met = std::array::from_fn(|idx| match (datagrams[idx], tcp[idx]) {
        (0, Outcome::Blocked) => Met::Drop,
        (N_DATAGRAMS, Outcome::Passed) => Met::Pass,
        (N_DATAGRAMS, Outcome::Blocked) => Met::Drain,
        (1.., _) => Met::Limit,
        (0, Outcome::Passed) => panic!("TCP passes and UDP does not"),
    });
    until.is_none_or(|until| Instant::now() < until).then_some(met)
}

/// How many of so many datagrams, sent at once, were answered.
fn answered(edge: &Edge, source: IpAddr, n: usize) -> usize {
    let socket = edge.lab.internet.run(|| UdpSocket::bind((source, 0))).unwrap();
    socket.connect((edge_address(source), ECHO_PORT)).unwrap();
    for _ in 0..n {
        socket.send(b"hello").unwrap();
    }
    socket.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    let mut n_answered = 0;
    while n_answered < n {
        match socket.recv(&mut [0; 16]) {
            Ok(_) => n_answered += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("cannot receive at {source}: {error}"),
        }
    }
    n_answered
}

/// Goes through a window whose phases take this long; `false` if this machine was too slow to see them all.
fn went_through(edge: &Edge, phase_s: u32) -> bool {
    let mut cordon = edge.start(&pass_all());
    let books = open_books(&edge.lab, &cordon);
    let start = Instant::now().0;
    let ends = [1, 2, 3].map(|n| Instant(start + n * phase_s));
    cordon.apply(&window(ends)).unwrap();
    cordon.kill().unwrap();
    let phases = [
        (Met::Pass, Some(ends[0])),
        (Met::Limit, Some(ends[1])),
        (Met::Drain, Some(ends[2])),
        (Met::Drop, None),
    ];
    for (expected, until) in phases {
        let Some(met) = met(edge, until) else {
            return false;
        };
        assert_eq!(met, [expected; 2], "with the daemon dead, before {until:?}");
        // Everybody else is blocked at once, or not at all, whatever the phase.
        edge.expect(
            &format!("{expected:?}"),
            &[
                (&STRANGERS, Outcome::Blocked),
                (&BY, Outcome::Blocked),
                (&NL, Outcome::Passed),
            ],
        );
        if let Some(until) = until {
            sleep_past(until);
        }
    }
    cordon.run().unwrap();
    let counted = balance(&edge.lab, &cordon, &books);
    for reason in [
        "exempt",
        "within_limit",
        "over_limit",
        "drain_pass",
        "policy_drain",
        "policy_drop",
    ] {
        assert!(counted.packets_of(reason, "RU") > 0, "{reason}: {counted}");
    }
    true
}

#[test]
fn a_window_goes_from_pass_to_drop_with_the_daemon_dead_and_everybody_else_is_blocked_at_once() {
    let edge = Edge::new();
    assert!(
        [6, 20, 60]
            .into_iter()
            .any(|phase_s| went_through(&edge, phase_s)),
        "a minute a phase is too short for this machine"
    );
}

#[test]
fn a_rule_with_phases_steps_at_its_instant() {
    let edge = Edge::new();
    let mut cordon = edge.start(&pass_all());
    let books = open_books(&edge.lab, &cordon);
    let until = edge.before_the_end(
        &cordon,
        |until| {
            let phases = format!("phases = [{{ until = {until}, action = \"count\" }}]");
            policy_of("", &[rule("RU", "drop", &phases)])
        },
        &[(&RU, Outcome::Passed)],
    );
    cordon.kill().unwrap();
    sleep_past(until);
    edge.expect(
        "the phase is over",
        &[(&RU, Outcome::Blocked), (&NL, Outcome::Passed)],
    );
    cordon.run().unwrap();
    let counted = balance(&edge.lab, &cordon, &books);
    assert!(counted.packets_of("policy_count", "RU") > 0, "{counted}");
    assert!(counted.packets_of("policy_drop", "RU") > 0, "{counted}");
}
