//! A policy that nobody confirms is in force until its deadline, and a second later the one before it is: many windows,
//! and in every other one the daemon dies.

use std::{
    thread,
    time::{Duration, Instant as Stopwatch},
};

use integration_tests::{
    cordon_process::Cordon,
    probes::{
        Outcome::{self, Blocked, Passed},
        Probe, Protocol,
    },
};

use crate::traffic::edge::{BLOCK_LIST, Edge, NL, RU, address, deny};

/// Windows in the long run, and otherwise.
const N_WINDOWS_FULL: usize = 100;
const N_WINDOWS: usize = 10;
/// Hosts, side by side, that share the windows.
const N_HOSTS: usize = 5;
/// How long a policy waits for its confirmation.
const WINDOW: Duration = Duration::from_secs(2);
/// How late the kernel may be: the product's promise.
const PROMISE: Duration = Duration::from_secs(1);

/// What Russia and the Netherlands meet.
fn met(edge: &Edge) -> [Outcome; 2] {
    let probes = [RU[0], NL[0]].map(|source| Probe {
        source: address(source),
        protocol: Protocol::Udp,
    });
    edge.lab.probe(&probes).unwrap().try_into().unwrap()
}

/// Lets one window pass; whether the new policy was looked at before the deadline.
fn window(edge: &Edge, cordon: &mut Cordon<'_>, path: &str, dies: bool) -> bool {
    let before = Stopwatch::now();
    cordon
        .cordon_ok(&["apply", "--override-lockout", "--confirm", "2s", path])
        .unwrap();
    // The deadline is so long after some instant between these two.
    let answered = Stopwatch::now();
    if dies {
        cordon.kill().unwrap();
    }
    let new = met(edge);
    let is_before = before.elapsed() < WINDOW;
    if is_before {
        assert_eq!(
            new,
            [Blocked, Blocked],
            "before the deadline; the daemon dies: {dies}"
        );
    }
    while answered.elapsed() < WINDOW + PROMISE {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(
        met(edge),
        [Blocked, Passed],
        "a second after the deadline; the daemon died: {dies}"
    );
    if dies {
        cordon.run().unwrap();
    }
    let patience = Stopwatch::now() + Duration::from_secs(20);
    while cordon.status().unwrap()["reverted"] != true {
        assert!(
            Stopwatch::now() < patience,
            "the daemon never says so: {}",
            cordon.log()
        );
        thread::sleep(Duration::from_millis(100));
    }
    is_before
}

/// Gives how many windows were looked at before their deadline.
fn windows(numbers: impl Iterator<Item = usize>) -> usize {
    let edge = Edge::new();
    let mut cordon = edge.start(BLOCK_LIST);
    assert_eq!(met(&edge), [Blocked, Passed], "at first");
    let path = cordon
        .write_policy(&[BLOCK_LIST, &deny(&["82.0.7.0/24"], None)].concat())
        .unwrap();
    let looked = numbers.filter(|number| window(&edge, &mut cordon, &path, number % 2 == 1));
    looked.count()
}

#[test]
fn a_second_after_its_deadline_an_unconfirmed_policy_is_gone_in_a_hundred_windows() {
    let is_full = std::env::var_os("CORDON_TEST_FULL").is_some();
    let n_windows = if is_full { N_WINDOWS_FULL } else { N_WINDOWS };
    let n_looked: usize = thread::scope(|scope| {
        let hosts: Vec<_> = (0..N_HOSTS)
            .map(|host| scope.spawn(move || windows((0..n_windows).skip(host).step_by(N_HOSTS))))
            .collect();
        hosts.into_iter().map(|host| host.join().unwrap()).sum()
    });
    println!("{n_windows} windows, {n_looked} of them looked at before the deadline");
    assert!(n_looked > 0, "no window was looked at before its deadline");
}
