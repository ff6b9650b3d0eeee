//! The packet path of this build against that of another one, in one run: the same frames through both
//! `cordon_gen` programs, alternating, on a table of one prefix.

use std::{net::IpAddr, path::Path, time::Instant as Stopwatch};

use anyhow::{Context as _, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, lpm_trie::Key, lpm_trie::LpmTrie},
    programs::Xdp,
};
use cordon::dataplane::GENERATION;
use probe_common::{Action, Cell, ClassValue, Decision, class, map_name, n_counters, profile};
use serde::Serialize;

use super::spread;
use crate::{
    frames::udp_frame,
    test_run::{XDP_DROP, XDP_PASS, run_frame},
};

/// Classes: unknown, lan, one place.
const N_CLASSES: u32 = 3;
const N_PROFILES: u32 = profile::FIRST_OWN as u32;

/// One comparison of two builds.
#[derive(Debug, Serialize)]
pub struct PathRow {
    /// What ran.
    pub name: String,
    /// Nanoseconds of a run of the other build: minimum, median, maximum.
    pub before_ns: [f64; 3],
    /// Nanoseconds of a run of this build.
    pub ns: [f64; 3],
    /// This build's time divided by the other's in the same round.
    pub ratio: [f64; 3],
}

/// Compares with the object `generation` in a directory.
pub fn measure(against: &Path, rounds: usize, repeat: u32) -> anyhow::Result<Vec<PathRow>> {
    let file = against.join("generation");
    let other = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    // What every policy gets unless it says otherwise, and a policy without replies.
    let default_features = [("REPLIES", 1), ("ICMP_ERRORS", 1), ("MARTIANS", 1)];
    let without = [("REPLIES", 0), ("ICMP_ERRORS", 1), ("MARTIANS", 1)];
    let mut rows = Vec::new();
    for (label, features) in [("features compiled out", without), ("defaults", default_features)] {
        let mut before = loaded(&other, &[])?;
        let mut now = loaded(GENERATION, &features)?;
        for (source, action, what) in [
            ("198.51.100.1", XDP_DROP, "IPv4 dropped"),
            ("203.0.113.1", XDP_PASS, "IPv4 passed"),
            ("2001:db8:1::1", XDP_DROP, "IPv6 dropped"),
            ("2001:db8:2::1", XDP_PASS, "IPv6 passed"),
        ] {
            let source: IpAddr = source.parse()?;
            let frame = udp_frame(source, 443, b"test");
            let (mut before_ns, mut ns, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..rounds {
                let old = timed(&mut before, &frame, repeat, action)?;
                let new = timed(&mut now, &frame, repeat, action)?;
                before_ns.push(old);
                ns.push(new);
                ratio.push(new / old);
            }
            rows.push(PathRow {
                name: format!("{what}, {label}"),
                before_ns: spread(before_ns),
                ns: spread(ns),
                ratio: spread(ratio),
            });
        }
    }
    Ok(rows)
}

fn timed(ebpf: &mut Ebpf, frame: &[u8], repeat: u32, expected: u32) -> anyhow::Result<f64> {
    let program: &mut Xdp = ebpf
        .program_mut(map_name::program::GENERATION)
        .context("the object has no generation program")?
        .try_into()?;
    // The kernel's own figure is in whole nanoseconds, too coarse for a path of thirty.
    let started = Stopwatch::now();
    let (action, _) = run_frame(program, frame, repeat)?;
    let elapsed = started.elapsed();
    ensure!(action == expected, "the verdict is {action}, not {expected}");
    Ok(elapsed.as_nanos() as f64 / f64::from(repeat))
}

/// Loads a generation object and gives it one prefix of each family, in a class that drops.
fn loaded(object: &[u8], features: &[(&'static str, u32)]) -> anyhow::Result<Ebpf> {
    let actions = 1 << Action::Pass as u32 | 1 << Action::Drop as u32;
    let mut constants = vec![
        (map_name::global::N_CLASSES, N_CLASSES),
        (map_name::global::N_PROFILES, N_PROFILES),
        (map_name::global::ACTIONS, actions),
    ];
    constants.extend_from_slice(features);
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    for (name, value) in &constants {
        loader.override_global(name, value, false);
    }
    let mut ebpf = loader
        .map_max_entries(map_name::MATRIX, N_CLASSES * N_PROFILES)
        .map_max_entries(map_name::COUNTERS, n_counters(N_CLASSES))
        .load(object)
        .context("cannot load the generation object")?;

    let place = ClassValue {
        class: class::FIRST_PLACE,
        reserved: 0,
    };
    let mut v4: LpmTrie<_, [u8; 4], ClassValue> = map(&mut ebpf, map_name::LOCATION_V4)?.try_into()?;
    v4.insert(&Key::new(24, [198, 51, 100, 0]), place, 0)?;
    let mut v6: LpmTrie<_, [u8; 16], ClassValue> = map(&mut ebpf, map_name::LOCATION_V6)?.try_into()?;
    let mut prefix = [0; 16];
    prefix[..6].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, 1]);
    v6.insert(&Key::new(48, prefix), place, 0)?;
    let mut matrix: Array<_, u32> = map(&mut ebpf, map_name::MATRIX)?.try_into()?;
    for row in 0..N_PROFILES {
        let cell = Cell::fixed(Decision::DROP);
        matrix.set(row * N_CLASSES + u32::from(class::FIRST_PLACE), cell.0, 0)?;
    }
    let program: &mut Xdp = ebpf
        .program_mut(map_name::program::GENERATION)
        .context("the object has no generation program")?
        .try_into()?;
    program.load().context("the verifier refused the program")?;
    Ok(ebpf)
}

fn map<'a>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut Map> {
    ebpf.map_mut(name)
        .with_context(|| format!("the object has no map {name}"))
}
