//! Freeing a large trie: it takes the kernel long, and no packet may wait for it.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{ErrorKind, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use cordon::{
    dataplane::{Dataplane, Settings},
    geo::{ClassTable, GeoSource, Location, Prefix, Ranges},
    host::EngineChoice,
};
use integration_tests::{
    frames::udp_frame,
    images,
    test_run::{XDP_PASS, run_frame},
};
use probe_common::class;

/// Prefixes of the trie, and how long it is watched while it is freed.
fn size() -> (u32, Duration) {
    match env::var_os("CORDON_TEST_FULL") {
        Some(_) => (4_000_000, Duration::from_secs(15)),
        None => (200_000, Duration::from_secs(2)),
    }
}

/// Single addresses, none beside another: nothing can be kept together.
fn location(n_prefixes: u32) -> Location {
    let mut ranges = Ranges::default();
    ranges.push(0, class::UNKNOWN);
    let addresses = (0..n_prefixes).map(|idx| 1 << 28 | idx << 3);
    for address in addresses.clone() {
        ranges.push(address, class::FIRST_PLACE);
        ranges.push(address + 1, class::UNKNOWN);
    }
    let prefixes = addresses.map(|addr| Prefix {
        addr,
        prefix_len: 32,
        class: class::FIRST_PLACE,
    });
    Location {
        classes: ClassTable::new(["AA".to_owned()]),
        prefixes_v4: prefixes.collect(),
        prefixes_v6: Vec::new(),
        ranges_v4: ranges,
        ranges_v6: Ranges::default(),
        source: GeoSource {
            origin: "test".to_owned(),
            database_type: "test".to_owned(),
            built_s: 0,
            sha256: String::new(),
            n_networks_v4: n_prefixes as usize,
            n_networks_v6: 0,
            attribution: None,
        },
        digest: [n_prefixes as u8; 32],
    }
}

/// The kernel's log from here on.
struct KernelLog(File);

impl KernelLog {
    fn from_now() -> Self {
        let mut options = OpenOptions::new();
        let mut log = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .unwrap();
        log.seek(SeekFrom::End(0)).unwrap();
        Self(log)
    }

    /// The lines about CPUs that were kept too long.
    fn stalls(&mut self) -> Vec<String> {
        let mut stalls = Vec::new();
        let mut record = vec![0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(0) => break,
                Ok(n) => {
                    let line = String::from_utf8_lossy(&record[..n]).into_owned();
                    let is_stall = ["soft lockup", "hard LOCKUP", "rcu", "blocked for more than"];
                    if is_stall.iter().any(|word| line.contains(word)) {
                        stalls.push(line);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Records that were overwritten meanwhile.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(error) => panic!("cannot read the kernel's log: {error}"),
            }
        }
        stalls
    }
}

#[test]
fn packets_flow_while_a_large_trie_is_freed() {
    let (n_prefixes, watched) = size();
    let mut log = KernelLog::from_now();
    let large = images::image(images::PASS_ALL, &Arc::new(location(n_prefixes))).unwrap();
    let small = images::image(images::PASS_ALL, &Arc::new(location(1))).unwrap();
    let mut dataplane = Dataplane::open(&Settings {
        engine: EngineChoice::Lpm,
        ..Default::default()
    })
    .unwrap();
    dataplane.publish(&large, None).unwrap();
    drop(large);

    let entry = dataplane.open_entry_program().unwrap();
    let frame = udp_frame("198.51.100.1".parse().unwrap(), 443, b"test");
    let (is_over, n_batches) = (AtomicBool::new(false), AtomicU64::new(0));
    let n_while_freed = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let (action, _) = run_frame(&entry, &frame, 1_000).unwrap();
                assert_eq!(action, XDP_PASS);
                n_batches.fetch_add(1, Ordering::Relaxed);
            }
        });
        // The first takes the large one's place as the active one, the second as the one to revert to.
        dataplane.publish(&small, None).unwrap();
        dataplane.publish(&small, None).unwrap();
        let before = n_batches.load(Ordering::Relaxed);
        dataplane.tidy().unwrap();
        thread::sleep(watched);
        let n_while_freed = n_batches.load(Ordering::Relaxed) - before;
        is_over.store(true, Ordering::Relaxed);
        n_while_freed
    });
    println!("{n_prefixes} prefixes freed, {n_while_freed} thousand packets meanwhile");
    assert!(n_while_freed > 0, "no packet was judged while the trie was freed");
    assert_eq!(log.stalls(), Vec::<String>::new());
}
