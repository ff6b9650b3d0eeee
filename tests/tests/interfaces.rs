//! A host with two interfaces: both are judged, also when one comes after the daemon.

use std::time::{Duration, Instant};

use integration_tests::{
    cordon_process::{Cordon, HostFile},
    frames::{FrameSocket, udp_frame},
    images::BLOCK_RU,
    lab::{EDGE_IFNAME, INTERNET_IFNAME, Lab},
    mmdb_writer::MmdbWriter,
    scratch::Scratch,
};
use serde_json::Value;

const SECOND_EDGE: &str = "edge1";
const SECOND_INTERNET: &str = "inet1";

const RU: &str = "81.0.7.7";
const NL: &str = "82.0.7.7";

fn lab_and_database() -> (Lab, HostFile, Scratch) {
    let scratch = Scratch::new().unwrap();
    let database = scratch.path().join("countries.mmdb");
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .country("82.0.0.0/16", "NL")
        .write(&database)
        .unwrap();
    let host = HostFile {
        interfaces: vec![EDGE_IFNAME.to_owned(), SECOND_EDGE.to_owned()],
        database: Some(database),
        ..HostFile::default()
    };
    let lab = Lab::new().unwrap();
    lab.silence_internet().unwrap();
    (lab, host, scratch)
}

fn add_second_pair(lab: &Lab) {
    lab.edge
        .ip_batch(&format!(
            "link add {SECOND_EDGE} type veth peer name {SECOND_INTERNET} netns {}\n\
             link set {SECOND_EDGE} up\n",
            lab.internet.path()
        ))
        .unwrap();
    lab.internet
        .ip_batch(&format!("link set {SECOND_INTERNET} arp off up\n"))
        .unwrap();
}

/// Sends 20 frames from each source into one interface; gives how many got through.
fn through(lab: &Lab, from: &str, to: &str) -> [usize; 2] {
    let sender = FrameSocket::open(&lab.internet, from).unwrap();
    let receiver = FrameSocket::open(&lab.edge, to).unwrap();
    for source in [RU, NL] {
        let frame = udp_frame(source.parse().unwrap(), 9, source.as_bytes());
        for _ in 0..20 {
            sender.send(&frame).unwrap();
        }
    }
    let arrived = receiver.receive(41, Duration::from_millis(300)).unwrap();
    [RU, NL].map(|source| {
        arrived
            .iter()
            .filter(|frame| frame.ends_with(source.as_bytes()))
            .count()
    })
}

fn attached(status: &Value) -> Vec<&str> {
    let interfaces = status["interfaces"].as_array().unwrap();
    interfaces
        .iter()
        .filter_map(|interface| interface["ifname"].as_str())
        .collect()
}

fn wait_for(cordon: &Cordon<'_>, what: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = cordon.status().unwrap();
        if what(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{status:#}\n{}", cordon.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn both_interfaces_are_judged() {
    let (lab, host, _scratch) = lab_and_database();
    add_second_pair(&lab);
    let cordon = Cordon::start(&lab, &host).unwrap();
    cordon.apply(BLOCK_RU).unwrap();
    let status = wait_for(&cordon, |status| attached(status).len() == 2);
    assert_eq!(attached(&status), [EDGE_IFNAME, SECOND_EDGE]);
    assert_eq!(status["state"], "ok", "{status:#}");
    let before = cordon.counters().unwrap();
    assert_eq!(through(&lab, INTERNET_IFNAME, EDGE_IFNAME), [0, 20]);
    assert_eq!(through(&lab, SECOND_INTERNET, SECOND_EDGE), [0, 20]);
    let counted = cordon.counters().unwrap().since(&before);
    assert_eq!(
        [
            counted.packets_of("policy_drop", "RU"),
            counted.packets_of("policy_pass", "NL")
        ],
        [40, 40],
        "{counted}"
    );
    cordon
        .cordon_ok(&["detach", "--yes", "--even-if-running"])
        .unwrap();
    assert_eq!(through(&lab, INTERNET_IFNAME, EDGE_IFNAME), [20, 20]);
    assert_eq!(
        through(&lab, SECOND_INTERNET, SECOND_EDGE),
        [20, 20],
        "detached from both"
    );
}

#[test]
fn an_interface_that_comes_late_is_a_problem_until_it_is_judged() {
    let (lab, host, _scratch) = lab_and_database();
    let cordon = Cordon::start(&lab, &host).unwrap();
    cordon.apply(BLOCK_RU).unwrap();
    let names_it = |status: &Value| {
        let problems = status["problems"].as_array().unwrap();
        problems
            .iter()
            .any(|problem| problem.as_str().is_some_and(|text| text.contains(SECOND_EDGE)))
    };
    let status = wait_for(&cordon, |status| attached(status).len() == 1);
    assert!(names_it(&status), "the absent interface is a problem: {status:#}");
    assert_eq!(status["state"], "degraded", "{status:#}");
    assert_eq!(through(&lab, INTERNET_IFNAME, EDGE_IFNAME), [0, 20]);

    add_second_pair(&lab);
    let status = wait_for(&cordon, |status| attached(status).len() == 2);
    assert!(!names_it(&status), "no problem any more: {status:#}");
    assert_eq!(status["state"], "ok", "{status:#}");
    assert_eq!(through(&lab, SECOND_INTERNET, SECOND_EDGE), [0, 20]);
}
