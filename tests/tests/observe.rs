//! `cordon observe` counts by country, passes everything and leaves the interface as it found it.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    programs::{Xdp, XdpMode},
};
use integration_tests::{
    cordon_process::{Cordon, HostFile},
    frames::{FrameSocket, udp_frame},
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

/// Sources and how many frames come from each. The last is in no network of the database.
const TRAFFIC: [(&str, usize); 3] = [("81.0.7.7", 100), ("2a02:100::7", 40), ("84.0.7.7", 7)];

/// The same as the table should say it.
const COUNTED: [(&str, u64); 3] = [("RU", 100), ("NL", 40), ("unknown", 7)];

fn lab_and_database() -> (Lab, HostFile, Scratch) {
    let scratch = Scratch::new().unwrap();
    let database = scratch.path().join("countries.mmdb");
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .country("2a02:100::/32", "NL")
        .write(&database)
        .unwrap();
    let host = HostFile {
        database: Some(database),
        ..HostFile::default()
    };
    let lab = Lab::new().unwrap();
    lab.silence_internet().unwrap();
    (lab, host, scratch)
}

/// Starts to observe the edge's interface and waits until the program is there.
fn observe(lab: &Lab, cordon: &Cordon<'_>, args: &[&str]) -> Child {
    let mut all = vec!["observe", EDGE_IFNAME];
    all.extend(args);
    let mut command = cordon.command(&all).unwrap();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = spawn_bound(command).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while attached_program(lab).is_none() {
        if Instant::now() > deadline || child.try_wait().unwrap().is_some() {
            child.kill().ok();
            panic!("observe does not attach: {:?}", child.wait_with_output());
        }
        thread::sleep(Duration::from_millis(5));
    }
    child
}

/// The XDP program on the edge's interface, as `ip` shows it.
fn attached_program(lab: &Lab) -> Option<String> {
    let link = lab.edge_link().unwrap();
    link.lines()
        .map(str::trim)
        .find(|line| line.starts_with("prog/xdp"))
        .map(str::to_owned)
}

/// Sends the traffic; all of it arrives behind the program.
fn send_traffic(lab: &Lab) {
    let sender = FrameSocket::open(&lab.internet, INTERNET_IFNAME).unwrap();
    let receiver = FrameSocket::open(&lab.edge, EDGE_IFNAME).unwrap();
    for (source, n_frames) in TRAFFIC {
        let frame = udp_frame(source.parse().unwrap(), 9, b"observed");
        for _ in 0..n_frames {
            sender.send(&frame).unwrap();
        }
        let received = receiver.receive(n_frames, Duration::from_secs(5)).unwrap();
        assert_eq!(received.len(), n_frames, "observe drops nothing of {source}");
    }
}

#[test]
fn packets_are_counted_by_country_and_the_end_detaches() {
    let (lab, host, _scratch) = lab_and_database();
    let cordon = Cordon::new(&lab, &host).unwrap();
    let child = observe(&lab, &cordon, &["--for", "2s", "-o", "json"]);
    send_traffic(&lab);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let observed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let places = observed["places"].as_array().unwrap();
    let counted: Vec<(&str, u64)> = places
        .iter()
        .map(|row| (row["name"].as_str().unwrap(), row["packets"].as_u64().unwrap()))
        .collect();
    assert_eq!(counted, COUNTED, "{observed:#}");
    assert_eq!(observed["interface"]["ifname"], EDGE_IFNAME);
    assert_eq!(attached_program(&lab), None, "detached");
    assert_eq!(
        cordon.pins().unwrap(),
        Vec::<std::path::PathBuf>::new(),
        "nothing was pinned"
    );
}

#[test]
fn an_interrupt_prints_the_table_and_detaches() {
    let (lab, host, _scratch) = lab_and_database();
    let cordon = Cordon::new(&lab, &host).unwrap();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child = observe(&lab, &cordon, &[]);
        send_traffic(&lab);
        // The first interim line: the table that follows comes from the end alone.
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut interim = String::new();
        stdout.read_line(&mut interim).unwrap();
        assert!(
            interim.starts_with("147 packets") && interim.contains("RU 100"),
            "{interim}"
        );
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let mut table = String::new();
        stdout.read_to_string(&mut table).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}: {table}");
        for (name, n_packets) in COUNTED {
            let row = table
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_else(|| panic!("{signal}: {name} is missing: {table}"));
            assert_eq!(
                row.split_whitespace().nth(1),
                Some(n_packets.to_string().as_str()),
                "{table}"
            );
        }
        assert!(
            table.contains(&format!("detached from {EDGE_IFNAME}")),
            "{signal}: {table}"
        );
        assert_eq!(attached_program(&lab), None, "{signal}: detached");
    }
}

#[test]
fn another_xdp_program_is_left_where_it_is() {
    let (lab, host, _scratch) = lab_and_database();
    let cordon = Cordon::new(&lab, &host).unwrap();
    let mut peers = Ebpf::load(cordon::dataplane::PEERS).unwrap();
    let other: &mut Xdp = peers.program_mut("pass_only").unwrap().try_into().unwrap();
    other.load().unwrap();
    for mode in [XdpMode::Driver, XdpMode::Skb] {
        let link = lab.edge.run(|| other.attach(EDGE_IFNAME, mode)).unwrap();
        let before = attached_program(&lab).expect("the other program is attached");
        let refused = cordon.cordon(&["observe", EDGE_IFNAME, "--for", "1s"]).unwrap();
        assert_eq!(refused.status, 1, "{mode:?}: {refused:?}");
        assert!(
            refused.stderr.contains(EDGE_IFNAME) && refused.stderr.contains("already runs an XDP program"),
            "{mode:?}: {refused:?}"
        );
        assert_eq!(
            attached_program(&lab),
            Some(before),
            "{mode:?}: the other program stays"
        );
        other.detach(link).unwrap();
    }
}
