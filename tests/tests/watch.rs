//! `cordon watch`: what the policy in force reports, to whoever looks on.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Stdio},
    time::{Duration, Instant},
};

use integration_tests::{
    cordon_process::{Cordon, HostFile},
    frames::{FrameSocket, udp_frame},
    images::BLOCK_RU,
    lab::{EDGE_IFNAME, INTERNET_IFNAME, Lab},
    mmdb_writer::MmdbWriter,
    netns::spawn_bound,
    scratch::Scratch,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

const RU: &str = "81.0.7.7";
const NL: &str = "82.0.7.7";

struct Edge {
    lab: Lab,
    host: HostFile,
    _scratch: Scratch,
}

fn edge() -> Edge {
    let scratch = Scratch::new().unwrap();
    let database = scratch.path().join("countries.mmdb");
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .country("82.0.0.0/16", "NL")
        .write(&database)
        .unwrap();
    let lab = Lab::new().unwrap();
    lab.silence_internet().unwrap();
    Edge {
        lab,
        host: HostFile {
            database: Some(database),
            ..HostFile::default()
        },
        _scratch: scratch,
    }
}

/// The policy with `[events]`.
fn reporting(events: &str) -> String {
    format!("{BLOCK_RU}\n[events]\n{events}\n")
}

/// A running `cordon watch`.
struct Watcher {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Watcher {
    fn start(cordon: &Cordon<'_>, args: &[&str]) -> Self {
        let mut all = vec!["watch"];
        all.extend(args);
        let mut command = cordon.command(&all).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = spawn_bound(command).unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// As JSON, from the line on that says that it has begun.
    fn start_json(cordon: &Cordon<'_>, args: &[&str]) -> (Self, Value) {
        let mut all = vec!["--json"];
        all.extend(args);
        let mut watcher = Self::start(cordon, &all);
        let start = watcher.json();
        assert_eq!(start["kind"], "start");
        (watcher, start)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Interrupts it; gives exit status, what was left to read and what it said beside it.
    fn interrupt(mut self) -> (Option<i32>, String, String) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).unwrap();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        let output = self.child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), rest, stderr)
    }
}

fn send(lab: &Lab, source: &str, n_frames: usize) {
    let sender = FrameSocket::open(&lab.internet, INTERNET_IFNAME).unwrap();
    let frame = udp_frame(source.parse().unwrap(), 9, b"watched");
    for _ in 0..n_frames {
        sender.send(&frame).unwrap();
    }
}

#[test]
fn what_is_dropped_is_seen_with_its_source_cut() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(&reporting("")).unwrap();
    let (mut watcher, start) = Watcher::start_json(&cordon, &[]);
    assert_eq!(start["is_reporting"], true, "{start}");
    send(&edge.lab, NL, 3);
    send(&edge.lab, RU, 2);
    for _ in 0..2 {
        let event = watcher.json();
        for (key, wanted) in [
            ("kind", "event"),
            ("interface", EDGE_IFNAME),
            ("source", "81.0.7.0/24"),
            ("country", "RU"),
            ("protocol", "udp"),
            ("action", "drop"),
            ("reason", "policy_drop"),
            ("fate", "dropped"),
        ] {
            assert_eq!(event[key], wanted, "{key}: {event:#}");
        }
        assert_eq!(event["destination_port"], 9, "{event:#}");
        assert_eq!(event["generation"], cordon.generation().unwrap());
    }
    let (status, rest, _) = watcher.interrupt();
    assert_eq!(status, Some(0));
    assert_eq!(rest, "", "what passes is not reported");
    let events = &cordon.status().unwrap()["events"];
    assert_eq!(events["written"], 2, "{events}");
    assert_eq!([&events["lost"], &events["capped"]], [0, 0], "{events}");
}

#[test]
fn each_watcher_sees_what_it_asked_for() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(&reporting("passes = 1\nsource = \"full\"")).unwrap();
    let (mut nl, _) = Watcher::start_json(&cordon, &["--country", "nl"]);
    let (mut drops, _) = Watcher::start_json(&cordon, &["--drops"]);
    let (mut passes, _) = Watcher::start_json(&cordon, &["--action", "pass", "--interface", EDGE_IFNAME]);
    let (other, _) = Watcher::start_json(&cordon, &["--interface", "eth7"]);
    send(&edge.lab, RU, 1);
    send(&edge.lab, NL, 1);
    assert_eq!(nl.json()["source"], NL);
    assert_eq!(drops.json()["source"], RU);
    assert_eq!(passes.json()["source"], NL);
    for watcher in [nl, drops, passes, other] {
        let (status, rest, _) = watcher.interrupt();
        assert_eq!((status, rest.as_str()), (Some(0), ""));
    }
    let refused = cordon.cordon(&["watch", "--action", "block"]).unwrap();
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.stderr.contains("choose one of"), "{refused:?}");
}

#[test]
fn a_place_that_is_none_is_refused_and_an_interface_that_is_none_is_noted() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(&reporting("")).unwrap();
    for (country, wanted) in [
        ("Russia", "did you mean RU (Russia"),
        ("DE", "no addresses in DE (Germany)"),
        ("qqqqqqq", "choose one of NL, RU, lan, unknown"),
    ] {
        let refused = cordon.cordon(&["watch", "--country", country]).unwrap();
        assert_eq!(refused.status, 1, "{refused:?}");
        assert!(refused.stderr.contains(wanted), "{refused:?}");
    }
    let (watcher, start) = Watcher::start_json(&cordon, &["--interface", EDGE_IFNAME]);
    assert_eq!(start.get("notes"), None, "{start}");
    watcher.interrupt();
    let mut watcher = Watcher::start(&cordon, &["--interface", "nope"]);
    let mut stderr = BufReader::new(watcher.child.stderr.take().unwrap());
    let mut note = String::new();
    stderr.read_line(&mut note).unwrap();
    assert!(
        note.contains("no interface is called nope") && note.contains(EDGE_IFNAME),
        "{note}"
    );
    assert_eq!(watcher.interrupt().0, Some(0), "it goes on");
}

#[test]
fn people_are_told_at_once_if_nothing_is_reported_and_at_the_end_how_it_went() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_RU).unwrap();
    let mut watcher = Watcher::start(&cordon, &[]);
    let mut stderr = BufReader::new(watcher.child.stderr.take().unwrap());
    let mut note = String::new();
    stderr.read_line(&mut note).unwrap();
    assert!(note.contains("has no `[events]`"), "{note}");

    // The same watcher goes on with the policy that follows.
    cordon.apply(&reporting("")).unwrap();
    send(&edge.lab, RU, 1);
    let line = watcher.line();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[1..5], [EDGE_IFNAME, "81.0.7.0/24", "RU", "udp"], "{line}");
    assert_eq!(words[6..8], ["drop", "policy_drop"], "{line}");
    kill(Pid::from_raw(watcher.child.id() as i32), Signal::SIGINT).unwrap();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(watcher.child.wait().unwrap().code(), Some(0));
    assert!(rest.starts_with("1 shown"), "{rest}");
}

#[test]
fn a_reader_that_has_enough_ends_the_watch_quietly() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(&reporting("")).unwrap();
    let (mut watcher, _) = Watcher::start_json(&cordon, &[]);
    drop(watcher.stdout);
    let deadline = Instant::now() + Duration::from_secs(30);
    let status = loop {
        send(&edge.lab, RU, 1);
        if let Some(status) = watcher.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "it goes on for nobody");
        std::thread::sleep(Duration::from_millis(50));
    };
    let mut stderr = String::new();
    watcher
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn the_cap_suppresses_and_counts_what_it_suppressed() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(&reporting("per_second = 1")).unwrap();
    let n_frames = 500;
    send(&edge.lab, RU, n_frames);
    let status = cordon.status().unwrap();
    let events = &status["events"];
    let count = |key: &str| events[key].as_u64().unwrap();
    assert!(count("capped") > 0, "{events}");
    assert_eq!(
        count("written") + count("capped") + count("lost"),
        n_frames as u64,
        "each is one of the three: {events}"
    );
}

#[test]
fn a_watch_that_outlives_the_daemon_says_so() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(&reporting("")).unwrap();
    let (mut watcher, _) = Watcher::start_json(&cordon, &[]);
    cordon.kill().unwrap();
    let last = watcher.json();
    assert!(last["error"].as_str().unwrap().contains("daemon"), "{last}");
    assert_eq!(watcher.child.wait().unwrap().code(), Some(1));
}
