//! Exemptions made at run time: what the kernel makes of them, and what they survive.

/// The verbs: what is refused, what is told.
mod command_line;
/// The tries and generations alone, second by second, without a daemon.
mod kernel;
/// Fifty thousand.
mod many;
/// Restarts, kills, publishes, reverts.
mod survive;

use std::{path::PathBuf, time::Duration};

use cordon::{
    dataplane::{Dataplane, Settings},
    instant::Instant,
};
use integration_tests::{
    cordon_process::{Answer, Cordon, HostFile},
    lab::{EDGE_IFNAME, Lab},
    mmdb_writer::MmdbWriter,
    scratch::Scratch,
    test_run::{XDP_PASS, action_for},
};
use serde_json::Value;

/// Two orders that drop, a service, and a rule that no exemption lifts.
const POLICY: &str = r#"
version = 1
name = "two-orders"
default = "pass"
unknown = "pass"

[[service]]
name = "web"
protocols = ["tcp"]
ports = [443]

[[order]]
id = "embargo"
authority = "Test Authority"
[[order.rule]]
action = "drop"
countries = ["RU", "NL"]

[[order]]
id = "court"
authority = "Test Court"
[[order.rule]]
action = "drop"
countries = ["NL"]

[[order]]
id = "war"
authority = "Test Ministry"
[[order.rule]]
action = "drop"
countries = ["KP"]
no_exemptions = true
"#;

/// Dropped by "embargo".
const RU: &str = "81.0.7.7";
/// Dropped by "embargo" and "court".
const NL: &str = "82.0.7.7";
/// Dropped by "war", whatever happens.
const KP: &str = "83.0.7.7";

struct Edge {
    lab: Lab,
    host: HostFile,
    _scratch: Scratch,
}

fn edge() -> Edge {
    let scratch = Scratch::new().unwrap();
    let database = scratch.path().join("countries.mmdb");
    countries().write(&database).unwrap();
    Edge {
        lab: Lab::new().unwrap(),
        host: HostFile {
            interfaces: vec![EDGE_IFNAME.to_owned()],
            database: Some(database),
            ..HostFile::default()
        },
        _scratch: scratch,
    }
}

fn countries() -> MmdbWriter {
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .country("82.0.0.0/16", "NL")
        .country("83.0.0.0/16", "KP")
        .country("2a00:81::/32", "RU")
}

/// Whether an address passes, by the live program; it must agree with what the policy and the exemptions say.
fn passes(cordon: &Cordon<'_>, address: &str) -> bool {
    verdict(cordon, &[address]) == 0
}

fn verdict(cordon: &Cordon<'_>, args: &[&str]) -> i32 {
    let mut all = vec!["explain", "--quiet"];
    all.extend(args);
    let answer = cordon.cordon(&all).unwrap();
    assert_ne!(answer.status, 1, "kernel and policy differ: {answer:?}");
    answer.status
}

/// `exempt add` of an hour, with these options besides.
fn add(cordon: &Cordon<'_>, prefix: &str, reference: &str, more: &[&str]) -> Answer {
    cordon.cordon(&added(prefix, reference, more)).unwrap()
}

fn add_ok(cordon: &Cordon<'_>, prefix: &str, reference: &str, more: &[&str]) {
    cordon.cordon_ok(&added(prefix, reference, more)).unwrap();
}

fn added<'a>(prefix: &'a str, reference: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["exempt", "add", prefix, "--reference", reference];
    args.extend(["--reason", "contract", "--approver", "J. Doe"]);
    if !more.contains(&"--for") && !more.contains(&"--until") {
        args.extend(["--for", "1h"]);
    }
    args.extend(more);
    args
}

fn list(cordon: &Cordon<'_>) -> Vec<Value> {
    let answer = cordon
        .cordon_ok(&["exempt", "list", "--json"])
        .unwrap()
        .json()
        .unwrap();
    answer["exemptions"].as_array().unwrap().clone()
}

fn references(cordon: &Cordon<'_>) -> Vec<String> {
    let list = list(cordon);
    list.iter()
        .map(|entry| entry["reference"].as_str().unwrap().to_owned())
        .collect()
}

fn restart(cordon: &mut Cordon<'_>) {
    cordon.kill().unwrap();
    cordon.run().unwrap();
}

/// What the pinned programs do with addresses, with no daemon about.
fn pass_without_daemon<const N: usize>(cordon: &Cordon<'_>, addresses: [&str; N]) -> [bool; N] {
    let pin_dir: PathBuf = cordon.dir().join("bpf/cordon");
    let dataplane = Dataplane::open(&Settings {
        pin_dir: Some(pin_dir),
        ..Settings::default()
    })
    .unwrap();
    let entry = dataplane.open_entry_program().unwrap();
    addresses.map(|address| action_for(&entry, address.parse().unwrap()).unwrap() == XDP_PASS)
}

fn wait_until(instant: Instant) {
    while Instant::now() < instant {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn in_seconds(seconds: u32) -> Instant {
    Instant(Instant::now().0 + seconds)
}
