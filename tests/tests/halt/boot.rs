//! A halt is in force after a boot, whatever else cannot be taken up then.

use std::{fs, thread, time::Duration};

use integration_tests::cordon_process::Cordon;

use super::{DROP, PASS, POLICY, another, met, reboot, status};
use crate::traffic::edge::{Edge, FAILSAFE, NL};

fn halted(edge: &Edge) -> Cordon<'_> {
    let cordon = edge.start(POLICY);
    cordon.cordon_ok(&["halt", "--reason", "attack"]).unwrap();
    cordon
}

fn assert_halted(edge: &Edge, cordon: &Cordon<'_>) {
    assert_eq!(met(edge, NL[0]), [DROP; 3]);
    assert_eq!(met(edge, FAILSAFE[0]), [PASS; 3]);
    let status = status(cordon);
    assert_eq!(status["halted"]["reason"], "attack", "{status:#}");
}

#[test]
fn without_a_policy() {
    let edge = Edge::new();
    let mut cordon = Cordon::start(&edge.lab, &edge.host_file()).unwrap();
    cordon.cordon_ok(&["halt", "--reason", "attack"]).unwrap();
    reboot(&mut cordon);
    assert_halted(&edge, &cordon);
}

#[test]
fn with_a_policy() {
    let edge = Edge::new();
    let mut cordon = halted(&edge);
    reboot(&mut cordon);
    assert_halted(&edge, &cordon);
    cordon.cordon_ok(&["resume"]).unwrap();
    assert_eq!(met(&edge, NL[0]), [PASS; 3]);
}

#[test]
fn with_a_broken_policy() {
    let edge = Edge::new();
    let mut cordon = halted(&edge);
    fs::write(cordon.dir().join("state/policy.toml"), "version = ").unwrap();
    reboot(&mut cordon);
    assert_halted(&edge, &cordon);
    assert!(status(&cordon)["problems"].to_string().contains("policy.toml"));
}

/// Also where no copy of the database is kept, and for a service.
#[test]
fn with_a_broken_database() {
    let edge = Edge::new();
    let mut cordon = halted(&edge);
    let database = edge.host_file().database.unwrap();
    fs::write(&database, "<!DOCTYPE html>").unwrap();
    reboot(&mut cordon);
    assert_halted(&edge, &cordon);

    cordon.cordon_ok(&["resume"]).unwrap();
    cordon
        .cordon_ok(&["halt", "--service", "web", "--reason", "attack"])
        .unwrap();
    fs::remove_dir_all(cordon.dir().join("state/geo")).unwrap();
    reboot(&mut cordon);
    assert_eq!(met(&edge, NL[0]), [DROP, PASS, PASS]);
}

/// The daemon died between going back and forgetting the file, as if the unlink had failed. Halting a service has given
/// what is in force a later number and time than those of the policy that was reverted.
#[test]
fn a_policy_that_was_reverted_is_not_taken_up_because_its_file_is_left() {
    let edge = Edge::new();
    let mut cordon = edge.start(POLICY);
    let path = cordon.write_policy(&another()).unwrap();
    cordon.cordon_ok(&["apply", "--confirm", "6s", &path]).unwrap();
    thread::sleep(Duration::from_secs(2));
    cordon
        .cordon_ok(&["halt", "--service", "web", "--reason", "attack"])
        .unwrap();
    let pending = cordon.dir().join("state/pending.toml");
    let waiting = fs::read(&pending).unwrap();
    while status(&cordon)["reverted"] != true {
        thread::sleep(Duration::from_millis(100));
    }
    cordon.kill().unwrap();
    fs::write(&pending, waiting).unwrap();
    cordon.run().unwrap();
    let after = status(&cordon);
    assert_eq!(after["policy"]["name"], "two-services", "{after:#}");
    assert!(!pending.exists());
}
