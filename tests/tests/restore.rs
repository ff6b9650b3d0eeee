//! `cordon restore`: what is stored is in force without a daemon, as at boot before the network is up.

use std::{fs, time::Instant};

use integration_tests::{
    cordon_process::{Answer, Cordon},
    lab::EDGE_IFNAME,
};
use serde_json::Value;

use crate::{
    halt::{DROP, PASS, POLICY, forget_the_boot, met},
    traffic::edge::{Edge, FAILSAFE, NL, RU},
};

fn restore(cordon: &Cordon<'_>) -> (Answer, Value) {
    let started = Instant::now();
    let answer = cordon.cordon(&["restore", "-o", "json"]).unwrap();
    println!("restored in {} ms", started.elapsed().as_millis());
    let status = answer.json().unwrap();
    (answer, status)
}

fn generation(status: &Value) -> u64 {
    status["generation"]["number"].as_u64().unwrap()
}

#[test]
fn a_host_without_a_policy_is_left_alone() {
    let edge = Edge::new();
    let cordon = Cordon::new(&edge.lab, &edge.host_file()).unwrap();
    let (answer, status) = restore(&cordon);
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(status["state"], "not_enforcing");
    assert_eq!(status["interfaces"].as_array().unwrap().len(), 0);
    assert_eq!(met(&edge, RU[0]), [PASS; 3]);
}

/// The daemon that comes later adopts it and rebuilds nothing.
#[test]
fn the_stored_policy_is_in_force_without_a_daemon_and_is_adopted() {
    let edge = Edge::new();
    let mut cordon = edge.start(POLICY);
    assert_eq!(met(&edge, RU[0]), [DROP; 3]);
    cordon.kill().unwrap();
    forget_the_boot(&cordon);
    assert_eq!(met(&edge, RU[0]), [PASS; 3], "nothing is in force after a boot");

    let (answer, status) = restore(&cordon);
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(met(&edge, RU[0]), [DROP; 3]);
    assert_eq!(met(&edge, NL[0]), [PASS; 3]);

    cordon.run().unwrap();
    let adopted = cordon.status().unwrap();
    assert_eq!(generation(&adopted), generation(&status));
    assert!(
        cordon.log().contains("adopted, nothing rebuilt"),
        "{}",
        cordon.log()
    );
    let answer = cordon.cordon(&["restore"]).unwrap();
    assert_eq!(answer.status, 1, "a daemon runs: {answer:?}");
    assert_eq!(met(&edge, RU[0]), [DROP; 3]);
}

#[test]
fn a_halt_is_restored_and_ends_with_the_daemons_resume() {
    let edge = Edge::new();
    let mut cordon = edge.start(POLICY);
    cordon.cordon_ok(&["halt", "--reason", "attack"]).unwrap();
    cordon.kill().unwrap();
    forget_the_boot(&cordon);
    let (answer, status) = restore(&cordon);
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(status["halted"]["reason"], "attack");
    assert_eq!(met(&edge, NL[0]), [DROP; 3]);
    assert_eq!(met(&edge, FAILSAFE[0]), [PASS; 3]);
    cordon.run().unwrap();
    cordon.cordon_ok(&["resume"]).unwrap();
    assert_eq!(met(&edge, NL[0]), [PASS; 3]);
}

/// An interface that comes later must not fail the boot; one that is there and cannot be judged must be seen.
#[test]
fn absent_interfaces_are_no_failure_and_what_stands_in_the_way_is() {
    let edge = Edge::new();
    let host_file = edge.host_file();
    let mut cordon = Cordon::start(&edge.lab, &host_file).unwrap();
    cordon.apply(POLICY).unwrap();
    cordon.kill().unwrap();
    forget_the_boot(&cordon);

    let path = cordon.dir().join("cordon.toml");
    let text = fs::read_to_string(&path).unwrap();
    let with_absent = text.replace(
        &format!("[{EDGE_IFNAME:?}]"),
        &format!("[{EDGE_IFNAME:?}, \"late0\"]"),
    );
    assert_ne!(with_absent, text);
    fs::write(&path, &with_absent).unwrap();
    let (answer, status) = restore(&cordon);
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(status["problems"].to_string().contains("late0"), "{status:#}");
    assert_eq!(met(&edge, RU[0]), [DROP; 3]);

    forget_the_boot(&cordon);
    fs::write(cordon.dir().join("state/policy.toml"), "version = ").unwrap();
    let (answer, _) = restore(&cordon);
    assert_eq!(answer.status, 1, "{answer:?}");
    assert!(answer.stderr.contains("policy.toml"), "{answer:?}");
}
