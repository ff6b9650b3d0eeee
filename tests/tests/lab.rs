//! The harness itself: probes tell blocked from passed, frames arrive, and nothing is left behind.

use std::{net::IpAddr, time::Duration};

use integration_tests::{
    frames::{FrameSocket, udp_frame, with_vlan_tags},
    lab::{EDGE_IFNAME, INTERNET_IFNAME, Lab},
    netns::Netns,
    probes::{Outcome, Probe, Protocol},
    raw_database::{RawDatabase, address_in, is_usable_source},
    rng::Rng,
    scratch::Scratch,
    stream::{Always, Stream},
};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Without cordon every address in the world reaches the edge.
#[test]
fn every_source_passes_without_cordon() {
    let lab = Lab::new().unwrap();
    let mut rng = Rng::new(7);
    let database = RawDatabase::shipped().unwrap();
    let networks = database.networks_by_country().unwrap();
    let mut sources = Vec::new();
    while sources.len() < 150 {
        let countries: Vec<&Vec<_>> = networks.values().collect();
        let country = countries[rng.below(countries.len())];
        let source = address_in(&country[rng.below(country.len())], &mut rng);
        if is_usable_source(source) {
            sources.push(source);
        }
    }
    for (source, reach) in sources.iter().zip(lab.reach(&sources).unwrap()) {
        assert_eq!(reach.uniform(), Some(Outcome::Passed), "{source}: {reach}");
    }
}

/// A route that swallows the answers to one source of each family looks as a drop should look, and the sources
/// beside it stay reachable.
#[test]
fn what_gets_no_answer_is_blocked_and_nothing_else_is() {
    let lab = Lab::new().unwrap();
    let blocked = [address("203.0.113.9"), address("2a00:1450::9")];
    let passed = [address("203.0.113.10"), address("2a00:1450::a")];
    lab.edge.ip_batch("route add blackhole 203.0.113.9/32\n").unwrap();
    lab.edge
        .ip6_batch("route add blackhole 2a00:1450::9/128\n")
        .unwrap();
    let sources = [blocked[0], passed[0], blocked[1], passed[1]];
    let outcomes: Vec<_> = lab
        .reach(&sources)
        .unwrap()
        .iter()
        .map(|reach| reach.uniform())
        .collect();
    let (pass, drop) = (Some(Outcome::Passed), Some(Outcome::Blocked));
    assert_eq!(outcomes, [drop, pass, drop, pass]);

    lab.edge.ip_batch("route del blackhole 203.0.113.9/32\n").unwrap();
    assert_eq!(
        lab.reach_from(blocked[0]).unwrap().uniform(),
        pass,
        "the route is gone"
    );
}

/// One protocol at a time can be told from the others.
#[test]
fn a_source_may_be_blocked_for_one_protocol_only() {
    let lab = Lab::new().unwrap();
    lab.edge.sysctl("ipv4/icmp_echo_ignore_all", "1").unwrap();
    let source = address("203.0.113.9");
    let probes = Protocol::ALL.map(|protocol| Probe { source, protocol });
    let outcomes = lab.probe(&probes).unwrap();
    assert_eq!(outcomes, [Outcome::Passed, Outcome::Passed, Outcome::Blocked]);
    let reach = lab.reach_from(source).unwrap();
    assert_eq!(reach.uniform(), None);
    assert_eq!(reach.to_string(), "tcp pass, udp pass, ping drop");
}

/// ARP and neighbour discovery work both ways after the neighbours were forgotten.
#[test]
fn neighbours_are_found_again_after_a_flush() {
    let lab = Lab::new().unwrap();
    let sources = [address("203.0.113.9"), address("2a00:1450::9")];
    for _ in 0..2 {
        for reach in lab.reach(&sources).unwrap() {
            assert_eq!(reach.uniform(), Some(Outcome::Passed));
        }
        lab.flush_neighbours().unwrap();
    }
}

/// A stream notices every packet that met the wrong verdict.
#[test]
fn a_stream_counts_wrong_verdicts() {
    let lab = Lab::new().unwrap();
    let blocked = address("203.0.113.9");
    let passed = address("2a00:1450::9");
    let either = address("203.0.113.10");
    lab.edge.ip_batch("route add blackhole 203.0.113.9/32\n").unwrap();
    let sources = [
        (blocked, Always::Blocked),
        (passed, Always::Passed),
        (either, Always::Either),
    ];
    let stream = Stream::start(&lab, &sources).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let reports = stream.stop().unwrap();
    assert!(
        reports
            .iter()
            .all(|report| report.n_sent > 0 && report.n_wrong() == 0),
        "{reports:?}"
    );

    let stream = Stream::start(&lab, &[(blocked, Always::Passed), (passed, Always::Blocked)]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let reports = stream.stop().unwrap();
    assert!(
        reports.iter().all(|report| report.n_wrong() == report.n_sent),
        "{reports:?}"
    );
}

/// Raw frames arrive as they were sent, in their order, and a silenced internet adds none.
#[test]
fn frames_arrive_as_sent_and_alone() {
    let lab = Lab::new().unwrap();
    lab.silence_internet().unwrap();
    let sender = FrameSocket::open(&lab.internet, INTERNET_IFNAME).unwrap();
    let receiver = FrameSocket::open(&lab.edge, EDGE_IFNAME).unwrap();
    let mut sent = Vec::new();
    for n in 0..100_u8 {
        sent.push(udp_frame(address("203.0.113.9"), 9, &[n; 30]));
        sent.push(udp_frame(address("2a00:1450::9"), 9, &[n; 30]));
    }
    for frame in &sent {
        sender.send(frame).unwrap();
    }
    let received = receiver
        .receive(sent.len() + 1, Duration::from_millis(500))
        .unwrap();
    assert_eq!(received.len(), sent.len(), "as many frames arrive as were sent");
    assert!(received == sent, "the frames arrive unchanged and in order");

    let tagged = with_vlan_tags(&sent[0], &[(0x88a8, 5), (0x8100, 6)]);
    assert_eq!(tagged[12..20], [0x88, 0xa8, 0, 5, 0x81, 0, 0, 6]);
    assert_eq!(tagged[20..], sent[0][12..]);
}

/// Nothing of a namespace can be seen by its neighbour, and none has a name.
#[test]
fn namespaces_are_separate_and_unnamed() {
    let (one, other) = (Netns::new().unwrap(), Netns::new().unwrap());
    one.ip_batch("link add probe0 type veth peer name probe1\n")
        .unwrap();
    assert!(one.ip(&["link", "show", "dev", "probe0"]).is_ok());
    assert!(other.ip(&["link", "show", "dev", "probe0"]).is_err());
    assert!(
        Netns::new()
            .unwrap()
            .ip_batch("link set no-such-link up\n")
            .is_err(),
        "errors of ip are seen"
    );
}

/// A scratch directory has a bpffs, and neither stays.
#[test]
fn scratch_directories_go_with_their_owner() {
    let scratch = Scratch::new().unwrap();
    let (path, bpffs) = (scratch.path().to_owned(), scratch.bpffs());
    let mounts = || std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(mounts().contains(bpffs.to_str().unwrap()));
    std::fs::create_dir(bpffs.join("pins")).expect("a bpffs takes directories");
    assert!(
        std::fs::write(bpffs.join("file"), "").is_err(),
        "a bpffs takes no files"
    );
    drop(scratch);
    assert!(!path.exists());
    assert!(!mounts().contains(bpffs.to_str().unwrap()));
}

/// What a killed process left, mount included, is removed by the next one; what a living one has is not.
#[test]
fn leftovers_of_dead_processes_are_swept() {
    let mut dead = std::process::Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let leftover = std::env::temp_dir().join(format!("cordon-lab-{}-1-0", dead.id()));
    let living = Scratch::new().unwrap();
    let bpffs = leftover.join("bpf");
    std::fs::create_dir_all(&bpffs).unwrap();
    let status = std::process::Command::new("mount")
        .args(["-t", "bpf", "bpf"])
        .arg(&bpffs)
        .status()
        .unwrap();
    assert!(status.success());

    let _next = Scratch::new().unwrap();
    assert!(!leftover.exists(), "the leftover is gone");
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(bpffs.to_str().unwrap()), "so is its mount");
    assert!(living.bpffs().exists(), "what belongs to a living process stays");
}
