//! Interfaces that come, go, and change their names: judged from the first packet on, or on record.

use std::{thread, time::Duration};

use integration_tests::{
    cordon_process::Cordon,
    frames::{FrameSocket, udp_frame},
    images::BLOCK_RU,
    lab::{EDGE_IFNAME, Lab},
};
use nix::sys::signal::Signal;

use super::{NL, RU, count, edge, ids, in_gaps, is_judged, takes, wait_for};

const SECOND: &str = "wan1";
const RENAMED: &str = "wan2";
const OUTSIDE: &str = "inet1";

/// Makes a second pair of interfaces; the edge's end is down.
fn make(lab: &Lab) {
    lab.edge
        .ip_batch(&format!(
            "link add {SECOND} type veth peer name {OUTSIDE} netns {}\n",
            lab.internet.path()
        ))
        .unwrap();
    lab.internet
        .sysctl(&format!("ipv6/conf/{OUTSIDE}/disable_ipv6"), "1")
        .unwrap();
    lab.internet
        .ip_batch(&format!("link set {OUTSIDE} arp off up\n"))
        .unwrap();
}

fn batch(lab: &Lab, line: &str) {
    lab.edge.ip_batch(&format!("{line}\n")).unwrap();
}

/// Sends 20 frames from RU and from NL; gives how many of each got through to an interface.
fn through(lab: &Lab, to: &str) -> [u64; 2] {
    let sender = FrameSocket::open(&lab.internet, OUTSIDE).unwrap();
    let receiver = FrameSocket::open(&lab.edge, to).unwrap();
    for source in [RU, NL] {
        let frame = udp_frame(source.parse().unwrap(), 9, source.as_bytes());
        for _ in 0..20 {
            sender.send(&frame).unwrap();
        }
    }
    let arrived = receiver.receive(41, Duration::from_millis(200)).unwrap();
    [RU, NL].map(|source| {
        let ends = |frame: &&Vec<u8>| frame.ends_with(source.as_bytes());
        arrived.iter().filter(ends).count() as u64
    })
}

#[test]
fn an_interface_that_is_made_again_leaks_only_in_recorded_gaps() {
    let edge = edge(&[EDGE_IFNAME, "wan*"]);
    let lab = &edge.lab;
    let cordon = Cordon::start(lab, &edge.host).unwrap();
    cordon.apply(BLOCK_RU).unwrap();
    let status = wait_for(&cordon, |status| is_judged(status, EDGE_IFNAME));
    assert!(
        status["problems"][0].as_str().unwrap().contains("wan*"),
        "{status:#}"
    );
    let pins = ids(&cordon).len();
    let mut first = None;
    let (mut n_leaked, mut n_lost) = (0, 0);
    let n = count(3, 100);
    for _ in 0..n {
        // It comes up after it is judged: no gap, and by another name it is judged as well, and after it was down.
        make(lab);
        wait_for(&cordon, |status| is_judged(status, SECOND));
        batch(lab, &format!("link set {SECOND} up"));
        let mut passed = vec![through(lab, SECOND)];
        batch(lab, &format!("link set {SECOND} down"));
        batch(lab, &format!("link set {SECOND} name {RENAMED}"));
        batch(lab, &format!("link set {RENAMED} mtu 1400 up"));
        passed.push(through(lab, RENAMED));
        n_leaked += passed.iter().map(|[ru, _]| ru).sum::<u64>();
        n_lost += passed.iter().map(|[_, nl]| 20 - nl).sum::<u64>();
        wait_for(&cordon, |status| is_judged(status, RENAMED));
        batch(lab, &format!("link delete {RENAMED}"));
        let status = wait_for(&cordon, |status| !is_judged(status, RENAMED));
        let takes = takes(cordon.pid().unwrap());
        first.get_or_insert(takes);
        assert_eq!(status["gaps"]["n"], 0, "{status:#}");
    }
    // The pin of an interface that is gone goes with the next look.
    thread::sleep(Duration::from_secs(3));
    let before = first.unwrap();
    let after = takes(cordon.pid().unwrap());
    eprintln!(
        "{n} times made, renamed, down and up, deleted: {n_leaked} leaked, {n_lost} dropped wrongly; {pins} pins, then {}; RSS \
         in KiB, descriptors, maps: {before:?}, then {after:?}",
        ids(&cordon).len()
    );
    assert_eq!([n_leaked, n_lost], [0, 0]);
    assert_eq!(ids(&cordon).len(), pins, "pins");
    assert!(
        after[1] <= before[1] + 2 && after[2] <= before[2],
        "{before:?} {after:?}"
    );
    assert!(after[0] < before[0] + (4 << 10), "{before:?} {after:?}");
}

#[test]
fn what_comes_by_before_an_interface_is_judged_is_on_record() {
    let edge = edge(&[EDGE_IFNAME, "wan*"]);
    let lab = &edge.lab;
    let cordon = Cordon::start(lab, &edge.host).unwrap();
    cordon.apply(BLOCK_RU).unwrap();
    wait_for(&cordon, |status| is_judged(status, EDGE_IFNAME));
    let (mut n_leaked, mut n_recorded) = (0, 0);
    for _ in 0..count(2, 20) {
        // The daemon sees nothing of it until the packets are through.
        cordon.signal(Signal::SIGSTOP).unwrap();
        make(lab);
        batch(lab, &format!("link set {SECOND} up"));
        let [ru, nl] = through(lab, SECOND);
        assert_eq!([ru, nl], [20, 20], "nobody judges it yet");
        n_leaked += ru + nl;
        cordon.signal(Signal::SIGCONT).unwrap();
        let status = wait_for(&cordon, |status| {
            is_judged(status, SECOND) && in_gaps(status) > n_recorded
        });
        n_recorded = in_gaps(&status);
        assert!(n_recorded >= n_leaked, "{status:#}");
        let last = status["gaps"]["last"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["interface"], SECOND);
        assert!(
            last["from"].as_str() <= last["to"].as_str() && last["to"].is_string(),
            "{last}"
        );
        assert_eq!(through(lab, SECOND), [0, 20]);
        batch(lab, &format!("link delete {SECOND}"));
        wait_for(&cordon, |status| !is_judged(status, SECOND));
    }
    eprintln!("{n_leaked} packets came by unjudged, {n_recorded} at most are on record");
    let audit = cordon.cordon_ok(&["audit", "show", "-o", "json"]).unwrap().stdout;
    assert!(
        audit.contains("\"interface\":\"wan1\"") || audit.contains("\"interface\": \"wan1\""),
        "{audit}"
    );
}
