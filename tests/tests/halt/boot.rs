//! A halt is in force after a boot, whatever else cannot be taken up then.

use std::fs;

use integration_tests::cordon_process::Cordon;

use super::{DROP, PASS, POLICY, met, reboot, status};
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
