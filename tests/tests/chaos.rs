//! Kills, restarts, stops, and networks that change under packets: nothing leaks and nothing is dropped wrongly outside
//! of recorded gaps, and nothing grows.

/// Interfaces that come, go, and change their names.
mod interfaces;
/// What somebody else changes in the kernel.
mod tampering;

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aya::{
    maps::MapInfo,
    programs::{
        ProgramInfo,
        links::{FdLink, PinnedLink},
    },
};
use integration_tests::{
    cordon_process::{Cordon, HostFile},
    frames::{FrameSocket, udp_frame},
    images::BLOCK_RU,
    lab::{EDGE_IFNAME, INTERNET_IFNAME, Lab},
    mmdb_writer::MmdbWriter,
    pacer::Sink,
    scratch::Scratch,
};
use nix::sys::signal::Signal;
use serde_json::Value;

const RU: &str = "81.0.7.7";
const NL: &str = "82.0.7.7";
/// Where frames from RU go, and those from NL.
const PORTS: [u16; 2] = [4001, 4002];
/// Between two pairs of frames.
const PAUSE: Duration = Duration::from_micros(500);

struct Edge {
    lab: Lab,
    host: HostFile,
    _scratch: Scratch,
}

/// 81.0.0.0/16 is RU, 82.0.0.0/16 is NL; the internet says nothing by itself.
fn edge(interfaces: &[&str]) -> Edge {
    let scratch = Scratch::new().unwrap();
    let database = scratch.path().join("countries.mmdb");
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .country("82.0.0.0/16", "NL")
        .write(&database)
        .unwrap();
    let lab = Lab::new().unwrap();
    lab.silence_internet().unwrap();
    Edge {
        lab,
        host: HostFile {
            interfaces: interfaces.iter().map(ToString::to_string).collect(),
            database: Some(database),
            ..HostFile::default()
        },
        _scratch: scratch,
    }
}

/// `few`, or `many` with the full counts.
fn count(few: usize, many: usize) -> usize {
    match std::env::var_os("CORDON_TEST_FULL") {
        Some(_) => many,
        None => few,
    }
}

/// A blocked and an allowed source that send to the edge until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
    sinks: [Sink; 2],
}

impl Load {
    fn begin(lab: &Lab) -> Self {
        let sinks = PORTS.map(|port| Sink::listen(&lab.edge, port).unwrap());
        let socket = FrameSocket::open(&lab.internet, INTERNET_IFNAME).unwrap();
        let frames = [(RU, PORTS[0]), (NL, PORTS[1])]
            .map(|(source, port)| udp_frame(source.parse().unwrap(), port, b"chaos"));
        let stop = Arc::new(AtomicBool::new(false));
        let stop_it = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut n_sent = 0;
            while !stop_it.load(Ordering::Relaxed) {
                for frame in &frames {
                    socket.send(frame).unwrap();
                }
                n_sent += 1;
                thread::sleep(PAUSE);
            }
            n_sent
        });
        Self { stop, thread, sinks }
    }

    /// How many each sent; how many leaked; how many were dropped wrongly.
    fn end(self) -> [u64; 3] {
        self.stop.store(true, Ordering::Relaxed);
        let n_sent = self.thread.join().unwrap();
        let n_passed = self.sinks[1].received(n_sent);
        [n_sent, self.sinks[0].received(0), n_sent - n_passed]
    }
}

/// Everything that is pinned: path and id in the kernel.
fn ids(cordon: &Cordon<'_>) -> BTreeMap<PathBuf, u32> {
    let id = |path: &PathBuf| {
        if path.components().any(|part| part.as_os_str() == "links") {
            let link: FdLink = PinnedLink::from_pin(path).unwrap().into();
            return link.info().unwrap().id();
        }
        match MapInfo::from_pin(path) {
            Ok(map) => map.id(),
            Err(_) => ProgramInfo::from_pin(path).unwrap().id(),
        }
    };
    cordon
        .pins()
        .unwrap()
        .into_iter()
        .map(|path| {
            let id = id(&path);
            (path, id)
        })
        .collect()
}

/// What a process takes: KiB of memory, descriptors, maps among them.
fn takes(pid: u32) -> [u64; 3] {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let rss = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let fds: Vec<_> = fs::read_dir(format!("/proc/{pid}/fdinfo"))
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .collect();
    let n_maps = fds.iter().filter(|text| text.contains("map_id:")).count();
    [
        rss.trim().trim_end_matches(" kB").parse().unwrap(),
        fds.len() as u64,
        n_maps as u64,
    ]
}

fn wait_for(cordon: &Cordon<'_>, what: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let status = cordon.status().unwrap();
        if what(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{status:#}\n{}", cordon.log());
        thread::sleep(Duration::from_millis(50));
    }
}

fn is_judged(status: &Value, ifname: &str) -> bool {
    let interfaces = status["interfaces"].as_array().unwrap();
    interfaces.iter().any(|interface| interface["ifname"] == ifname)
}

/// How many packets came by in recorded gaps, at most.
fn in_gaps(status: &Value) -> u64 {
    status["gaps"]["packets"].as_u64().unwrap()
}

/// Ends the daemon `n` times, each time after the last has taken up what it found: every object in the kernel is the same
/// afterwards, and every packet is judged.
fn ends(n: usize, mut end: impl FnMut(&mut Cordon<'_>)) {
    let edge = edge(&[EDGE_IFNAME]);
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_RU).unwrap();
    cordon.wait_attached().unwrap();
    let before = ids(&cordon);
    let load = Load::begin(&edge.lab);
    let mut first = None;
    let mut last = [0; 3];
    for _ in 0..n {
        end(&mut cordon);
        cordon.run().unwrap();
        last = takes(cordon.pid().unwrap());
        first.get_or_insert(last);
        assert_eq!(
            ids(&cordon),
            before,
            "everything is taken up, nothing is made again"
        );
    }
    let [n_sent, n_leaked, n_lost] = load.end();
    let status = cordon.status().unwrap();
    eprintln!(
        "{n} ends, {n_sent} packets of each kind: {n_leaked} leaked, {n_lost} dropped wrongly, {} gaps, {} pins; RSS in \
         KiB, descriptors, maps: {:?}, then {last:?}",
        status["gaps"]["n"],
        before.len(),
        first.unwrap_or_default()
    );
    assert!(n_sent > 0);
    assert_eq!([n_leaked, n_lost], [0, 0]);
    assert_eq!(status["gaps"]["n"], 0, "{status:#}");
    let first = first.unwrap_or_default();
    // A connection may be on its way out.
    assert!(
        last[1] <= first[1] + 2 && last[2] == first[2],
        "{first:?} {last:?}"
    );
    assert!(last[0] < first[0] + (4 << 10), "{first:?} {last:?}");
}

#[test]
fn nothing_leaks_and_nothing_is_made_again_when_it_is_killed() {
    ends(count(3, 100), |cordon| cordon.kill().unwrap());
}

#[test]
fn nothing_leaks_and_nothing_is_made_again_when_it_is_restarted() {
    ends(count(3, 100), |cordon| {
        cordon.signal(Signal::SIGTERM).unwrap();
        cordon.forget().unwrap();
    });
}

/// As a watchdog finds it: it does not answer, and is killed.
#[test]
fn nothing_leaks_while_it_hangs() {
    ends(count(2, 20), |cordon| {
        cordon.signal(Signal::SIGSTOP).unwrap();
        thread::sleep(Duration::from_millis(300));
        cordon.kill().unwrap();
    });
}
