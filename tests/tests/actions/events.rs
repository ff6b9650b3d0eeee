//! Events: `cordon watch` tells what the policy reports, and what it could not tell is counted.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use integration_tests::{
    cordon_process::Cordon,
    frames::udp_frame,
    lab::EDGE_IFNAME,
    netns::spawn_bound,
    segments::{CLIENT_PORT, Flags, tcp_frame},
};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::stage::{
    PATIENCE, balance, open_books, policy, rule, send_all, silent_edge, start_with, wait_until,
};
use crate::traffic::edge::{BY, Edge, NL, RU, address};

/// Blocks Russia, counts Belarus, and reports as `settings` say.
fn reporting(settings: &str) -> String {
    let rules = [rule("RU", "drop", ""), rule("BY", "count", "")];
    policy(&format!("\n[events]\n{settings}\n"), &rules)
}

/// A `cordon watch --json` beside the test. It ends with its owner.
struct Watcher {
    child: Child,
    lines: Receiver<Value>,
}

impl Watcher {
    /// Starts it and waits for its first line, from which on it sees everything.
    fn start(cordon: &Cordon<'_>, filters: &[&str]) -> (Self, Value) {
        let mut command = cordon.command(&["watch", "--json"]).unwrap();
        command
            .args(filters)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = spawn_bound(command).unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("each line is one JSON object");
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let watcher = Self { child, lines };
        let first = watcher.lines.recv_timeout(PATIENCE).expect("a first line");
        assert_eq!(first["kind"], "start", "{first}");
        (watcher, first)
    }

    /// The next events, so many of them.
    fn events(&self, n: usize) -> Vec<Value> {
        let events: Vec<Value> = std::iter::from_fn(|| self.lines.recv_timeout(PATIENCE).ok())
            .take(n)
            .collect();
        assert_eq!(events.len(), n, "{events:#?}");
        assert!(events.iter().all(|event| event["kind"] == "event"), "{events:#?}");
        events
    }

    fn expect_silence(&self) {
        let line = self.lines.recv_timeout(Duration::from_millis(200));
        assert!(line.is_err(), "nothing else is told: {line:?}");
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Events written, lost and suppressed so far.
fn event_counts(cordon: &Cordon<'_>) -> [u64; 3] {
    let status = cordon.status().unwrap();
    ["written", "lost", "capped"].map(|key| {
        status["events"][key]
            .as_u64()
            .unwrap_or_else(|| panic!("status counts no {key} events: {status:#}"))
    })
}

fn since(now: [u64; 3], before: [u64; 3]) -> [u64; 3] {
    std::array::from_fn(|idx| now[idx] - before[idx])
}

#[test]
fn a_watcher_sees_verdicts_with_sources_cut_to_a_prefix() {
    let edge = silent_edge();
    let cordon = edge.start(&reporting("passes = 1"));
    let generation = cordon.generation().unwrap();
    let (watcher, first) = Watcher::start(&cordon, &[]);
    assert_eq!(first["is_reporting"], true, "{first}");
    let books = open_books(&edge.lab, &cordon);
    let udp = |source| udp_frame(address(source), 53, b"question");
    let tcp = |source| tcp_frame(address(source), 443, Flags::Syn, b"");
    // (frame, protocol, port, source as told, country, action, reason)
    let cases = [
        (udp(RU[0]), "udp", 53, "81.0.7.0/24", "RU", "drop", "policy_drop"),
        (
            tcp(RU[1]),
            "tcp",
            443,
            "2a01:100::/48",
            "RU",
            "drop",
            "policy_drop",
        ),
        (
            tcp(BY[0]),
            "tcp",
            443,
            "83.0.7.0/24",
            "BY",
            "count",
            "policy_count",
        ),
        (
            udp(NL[1]),
            "udp",
            53,
            "2a02:100::/48",
            "NL",
            "pass",
            "policy_pass",
        ),
    ];
    for (frame, protocol, port, source, country, action, reason) in &cases {
        send_all(&edge.lab, std::slice::from_ref(frame));
        let event = &watcher.events(1)[0];
        for (key, expected) in [
            ("interface", Value::from(EDGE_IFNAME)),
            ("protocol", (*protocol).into()),
            ("source_port", CLIENT_PORT.into()),
            ("destination_port", (*port).into()),
            ("source", (*source).into()),
            ("country", (*country).into()),
            ("action", (*action).into()),
            ("reason", (*reason).into()),
            ("bytes", frame.len().into()),
            ("generation", generation.into()),
        ] {
            assert_eq!(event[key], expected, "{key} of {event:#}");
        }
        let time = event["time"].as_str().unwrap();
        let seen: jiff::Timestamp = time.parse().unwrap();
        let age = jiff::Timestamp::now().duration_since(seen);
        assert!(age.abs() < jiff::SignedDuration::from_mins(5), "{time} is now");
    }
    watcher.expect_silence();
    let counted = balance(&edge.lab, &cordon, &books);
    assert_eq!(counted.received_packets(), cases.len() as u64, "{counted}");
}

#[test]
fn the_policy_says_how_much_of_a_source_is_told() {
    let edge = silent_edge();
    let cordon = edge.start(&reporting("source = \"full\""));
    let told = |cordon: &Cordon<'_>| -> Vec<Value> {
        let (watcher, _) = Watcher::start(cordon, &[]);
        RU.map(|source| {
            send_all(&edge.lab, &[udp_frame(address(source), 53, b"x")]);
            watcher.events(1)[0]["source"].clone()
        })
        .to_vec()
    };
    assert_eq!(told(&cordon), RU);
    cordon.apply(&reporting("source = \"none\"")).unwrap();
    assert_eq!(told(&cordon), [Value::Null, Value::Null]);
}

#[test]
fn filters_leave_out_what_was_not_asked_for() {
    let edge = silent_edge();
    let cordon = edge.start(&reporting("passes = 1"));
    let frames = [RU[0], BY[0], NL[0]].map(|source| udp_frame(address(source), 53, b"x"));
    for (filters, expected) in [
        (&["--country", "RU"][..], &["RU"][..]),
        (&["--action", "count"], &["BY"]),
        (&["--action", "pass"], &["NL"]),
        (&["--interface", EDGE_IFNAME], &["RU", "BY", "NL"]),
        (&["--country", "NL", "--action", "drop"], &[]),
        (&["--interface", "lo"], &[]),
        (&["--drops"], &["RU"]),
    ] {
        let (watcher, _) = Watcher::start(&cordon, filters);
        let before = event_counts(&cordon);
        send_all(&edge.lab, &frames);
        wait_until("all three are written", || {
            since(event_counts(&cordon), before) == [3, 0, 0]
        });
        let events = watcher.events(expected.len());
        let countries: Vec<&str> = events
            .iter()
            .filter_map(|event| event["country"].as_str())
            .collect();
        assert_eq!(countries, expected, "{filters:?}");
        watcher.expect_silence();
    }
}

#[test]
fn without_events_in_the_policy_nothing_is_reported() {
    let edge = silent_edge();
    let cordon = edge.start(&policy("", &[rule("RU", "drop", "")]));
    let (watcher, first) = Watcher::start(&cordon, &[]);
    assert_eq!(first["is_reporting"], false, "{first}");
    let before = event_counts(&cordon);
    let books = open_books(&edge.lab, &cordon);
    send_all(&edge.lab, &vec![udp_frame(address(RU[0]), 53, b"x"); 100]);
    let counted = balance(&edge.lab, &cordon, &books);
    assert_eq!(counted.packets_of("policy_drop", "RU"), 100, "{counted}");
    assert_eq!(event_counts(&cordon), before);
    watcher.expect_silence();
}

/// Sends so many frames that drop and gives what became of their events; the books must balance meanwhile.
fn flood(edge: &Edge, cordon: &Cordon<'_>, n: usize, meanwhile: impl FnOnce(&dyn Fn())) -> [u64; 3] {
    let before = event_counts(cordon);
    let books = open_books(&edge.lab, cordon);
    let frames = vec![udp_frame(address(RU[0]), 53, b"x"); n];
    meanwhile(&|| send_all(&edge.lab, &frames));
    let counted = balance(&edge.lab, cordon, &books);
    assert_eq!(counted.packets_of("policy_drop", "RU"), n as u64, "{counted}");
    since(event_counts(cordon), before)
}

#[test]
fn a_flood_is_capped_and_each_event_is_accounted_for() {
    let edge = silent_edge();
    let cordon = edge.start(&reporting("per_second = 100"));
    let [written, lost, capped] = flood(&edge, &cordon, 5_000, |send| send());
    assert_eq!(written + lost + capped, 5_000, "{written} {lost} {capped}");
    assert!(written > 0 && capped > 0, "{written} {lost} {capped}");
}

#[test]
fn what_finds_the_ring_full_is_counted_as_lost() {
    let edge = silent_edge();
    let mut host_file = edge.host_file();
    host_file.settings = "event_ring_kib = 64\n".to_owned();
    let cordon = start_with(&edge, &host_file, &reporting("per_second = 1000000"));
    // Nobody empties the ring: it holds fewer than a thousand events of 64 bytes.
    let [written, lost, capped] = flood(&edge, &cordon, 5_000, |send| {
        cordon.signal(Signal::SIGSTOP).unwrap();
        send();
        cordon.signal(Signal::SIGCONT).unwrap();
    });
    assert_eq!(written + lost + capped, 5_000, "{written} {lost} {capped}");
    assert!(
        (1..1_024).contains(&written) && lost > 0,
        "{written} {lost} {capped}"
    );
}

#[test]
fn one_in_so_many_is_reported() {
    let edge = silent_edge();
    let cordon = edge.start(&reporting("drops = 10\nper_second = 1000000"));
    let n = 10_000;
    let [written, lost, capped] = flood(&edge, &cordon, n, |send| send());
    let sampled = written + lost + capped;
    // Binomial, 1,000 expected, standard deviation 30: more than eight of them do not happen.
    assert!((750..=1_250).contains(&sampled), "{sampled} of {n}");
}
