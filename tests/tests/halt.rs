//! Halts of services, lifts of orders, and what leads out of a halt: real binary, real kernel, real packets.

/// What is halted at a boot.
mod boot;
/// Answers from endpoints pass in a halt.
mod endpoints;
/// Orders that do not hold for a time.
mod lift;
/// Services that drop everything for a time.
mod service;

use integration_tests::{
    cordon_process::Cordon,
    probes::{Outcome, Probe, Protocol},
};
use serde_json::Value;

use crate::traffic::edge::{Edge, address};

pub(crate) const PASS: Outcome = Outcome::Passed;
pub(crate) const DROP: Outcome = Outcome::Blocked;

/// Two services of the lab's edge; ping is for neither. One order is about everything, one about a service.
pub(crate) const POLICY: &str = r#"
version = 1
name = "two-services"
default = "pass"
unknown = "pass"

[[service]]
name = "web"
protocols = ["tcp"]
ports = [80]

[[service]]
name = "echo"
protocols = ["udp"]
ports = [7]

[[order]]
id = "embargo"
authority = "Test Authority"
[[order.rule]]
action = "drop"
countries = ["RU"]

[[order]]
id = "echo-only"
authority = "Other Authority"
[[order.rule]]
action = "drop"
countries = ["BY"]
services = ["echo"]

[[deny]]
prefixes = ["81.0.66.0/24"]
reason = "attack"
"#;

/// Another policy with the same services and orders.
fn another() -> String {
    format!("{POLICY}[[deny]]\nprefixes = [\"81.0.77.0/24\"]\nreason = \"more\"\n")
        .replace("two-services", "another")
}

/// What a source meets by TCP (web), UDP (echo) and ping.
pub(crate) fn met(edge: &Edge, source: &str) -> [Outcome; 3] {
    let probes = Protocol::ALL.map(|protocol| Probe {
        source: address(source),
        protocol,
    });
    let outcomes = edge.lab.probe(&probes).unwrap();
    outcomes.try_into().unwrap()
}

/// A verb that is refused; gives what it says.
fn refused(cordon: &Cordon<'_>, args: &[&str]) -> String {
    let answer = cordon.cordon(args).unwrap();
    assert_eq!(answer.status, 1, "cordon {args:?}: {answer:?}");
    answer.stderr
}

fn status(cordon: &Cordon<'_>) -> Value {
    cordon.status().unwrap()
}

/// As after a crash: what is pinned stays.
fn restart(cordon: &mut Cordon<'_>) {
    cordon.kill().unwrap();
    cordon.run().unwrap();
}

/// As after a boot: nothing is pinned, and the interface is attached to anew.
fn reboot(cordon: &mut Cordon<'_>) {
    cordon.kill().unwrap();
    cordon.cordon_ok(&["detach", "--yes"]).unwrap();
    cordon.run().unwrap();
    cordon.wait_attached().unwrap();
}

/// The start of a boot: nothing is pinned, and no daemon runs.
pub(crate) fn forget_the_boot(cordon: &Cordon<'_>) {
    cordon.cordon_ok(&["detach", "--yes"]).unwrap();
}

/// Makes the host one that takes signed bundles only.
fn trust_a_key(cordon: &Cordon<'_>) {
    let name = cordon.dir().join("alice");
    let name = name.to_str().unwrap();
    cordon.cordon_ok(&["key", "new", name, "--no-password"]).unwrap();
    cordon
        .cordon_ok(&["key", "trust", &format!("{name}.pub")])
        .unwrap();
}
