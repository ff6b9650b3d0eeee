//! The packet path of this build against that of another one, in one run: the same frames through the entry program
//! and the generation of both, alternating, on a table of one prefix.

use std::{fs, net::IpAddr, path::Path, time::Instant as Stopwatch};

use anyhow::{Context as _, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, ProgramArray, lpm_trie::Key, lpm_trie::LpmTrie},
    programs::Xdp,
};
use cordon::dataplane::{ENTRY, GENERATION};
use probe_common::{
    Action, Cell, ClassValue, Decision, State, StateWord, class, limits::NO_SLOT, map_name, n_counters,
    profile,
};
use serde::Serialize;

use super::spread;
use crate::{
    frames::{tcp_syn_frame, udp_frame},
    scratch::Scratch,
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

/// Runs of each frame for one load of the programs; their median counts.
const RUNS: usize = 3;

/// Compares with the objects `entry` and `generation` in a directory.
///
/// The programs of both builds are loaded anew in every round: where the kernel puts their code changes the figures by
/// more than what is looked for.
pub fn measure(against: &Path, rounds: usize, repeat: u32) -> anyhow::Result<Vec<PathRow>> {
    let read = |name: &str| {
        let file = against.join(name);
        fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    let other = [read("entry")?, read("generation")?];
    // What every policy gets unless it says otherwise.
    let default_features = [("REPLIES", 1), ("ICMP_ERRORS", 1), ("MARTIANS", 1)];
    let mut rows = Vec::new();
    for (label, features) in [
        ("features compiled out", &[] as &[_]),
        ("defaults", &default_features),
    ] {
        let frames = frames()?;
        let mut figures: Vec<Figures> = frames.iter().map(|_| Figures::default()).collect();
        for _ in 0..rounds {
            let before = Build::load([&other[0], &other[1]], &[])?;
            let now = Build::load([ENTRY, GENERATION], features)?;
            for (case, figures) in frames.iter().zip(&mut figures) {
                figures.add_round(&before, &now, case, repeat)?;
            }
        }
        rows.extend(
            frames
                .iter()
                .zip(figures)
                .map(|(case, figures)| figures.into_row(format!("{}, {label}", case.name))),
        );
    }
    Ok(rows)
}

/// A frame and what becomes of it.
struct Case {
    name: String,
    frame: Vec<u8>,
    action: u32,
}

fn frames() -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (source, action, what) in [
        ("198.51.100.1", XDP_DROP, "IPv4 dropped"),
        ("203.0.113.1", XDP_PASS, "IPv4 passed"),
        ("2001:db8:1::1", XDP_DROP, "IPv6 dropped"),
        ("2001:db8:2::1", XDP_PASS, "IPv6 passed"),
    ] {
        let source: IpAddr = source.parse()?;
        for (protocol, frame) in [
            ("TCP", tcp_syn_frame(source, 443)),
            ("UDP", udp_frame(source, 443, b"test")),
        ] {
            let name = format!("{what}, {protocol}");
            cases.push(Case { name, frame, action });
        }
    }
    Ok(cases)
}

/// What was measured of one frame, a value for every round.
#[derive(Default)]
struct Figures {
    before_ns: Vec<f64>,
    ns: Vec<f64>,
    ratio: Vec<f64>,
}

impl Figures {
    fn add_round(&mut self, before: &Build, now: &Build, case: &Case, repeat: u32) -> anyhow::Result<()> {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            old.push(before.timed(&case.frame, repeat, case.action)?);
            new.push(now.timed(&case.frame, repeat, case.action)?);
        }
        let [[_, old, _], [_, new, _]] = [spread(old), spread(new)];
        self.before_ns.push(old);
        self.ns.push(new);
        self.ratio.push(new / old);
        Ok(())
    }

    fn into_row(self, name: String) -> PathRow {
        PathRow {
            name,
            before_ns: spread(self.before_ns),
            ns: spread(self.ns),
            ratio: spread(self.ratio),
        }
    }
}

/// The programs of a build.
struct Build {
    entry: Ebpf,
    /// Its maps and programs are in use as long as it lives.
    _generation: Ebpf,
    _scratch: Scratch,
}

impl Build {
    /// Loads the entry program and a generation, which is in force.
    fn load([entry, generation]: [&[u8]; 2], features: &[(&'static str, u32)]) -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let mut generation = loaded(generation, features, &scratch)?;
        let mut entry = loader(&scratch)
            .load(entry)
            .context("cannot load the entry object")?;
        let program: &mut Xdp = entry
            .program_mut(map_name::program::ENTRY)
            .context("the object has no entry program")?
            .try_into()?;
        program.load().context("the verifier refused the entry program")?;

        let judge: &Xdp = generation
            .program_mut(map_name::program::GENERATION)
            .context("the object has no generation program")?
            .try_into()
            .map(|program: &mut Xdp| &*program)?;
        let mut slots: ProgramArray<_> = map(&mut entry, map_name::SLOTS)?.try_into()?;
        slots.set(0, judge.fd()?, 0)?;
        let word = StateWord {
            active: 0,
            previous: NO_SLOT,
            deadline_s: 0,
        };
        // The size of the state is another one in older builds; the word has always come first.
        let state = map(&mut entry, map_name::STATE)?;
        match Array::<_, State>::try_from(&mut *state) {
            Ok(mut state) => state.set(
                0,
                State {
                    word: word.pack(),
                    ..State::default()
                },
                0,
            )?,
            Err(_) => Array::<_, [u64; 4]>::try_from(state)?.set(0, [word.pack(), 0, 0, 0], 0)?,
        }
        Ok(Self {
            entry,
            _generation: generation,
            _scratch: scratch,
        })
    }

    fn timed(&self, frame: &[u8], repeat: u32, expected: u32) -> anyhow::Result<f64> {
        let program: &Xdp = self
            .entry
            .program(map_name::program::ENTRY)
            .context("the object has no entry program")?
            .try_into()?;
        // The kernel's own figure is in whole nanoseconds, too coarse for a path of thirty.
        let started = Stopwatch::now();
        let (action, _) = run_frame(program, frame, repeat)?;
        let elapsed = started.elapsed();
        ensure!(action == expected, "the verdict is {action}, not {expected}");
        Ok(elapsed.as_nanos() as f64 / f64::from(repeat))
    }
}

/// A loader whose programs share the maps that lie between them.
fn loader(scratch: &Scratch) -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    for name in [map_name::STATE, map_name::SLOTS] {
        loader.map_pin_path(name, scratch.bpffs().join(name));
    }
    loader
}

/// Loads a generation object and gives it one prefix of each family, in a class that drops.
fn loaded(object: &[u8], features: &[(&'static str, u32)], scratch: &Scratch) -> anyhow::Result<Ebpf> {
    let actions = 1 << Action::Pass as u32 | 1 << Action::Drop as u32;
    let mut constants = vec![
        (map_name::global::N_CLASSES, N_CLASSES),
        (map_name::global::N_PROFILES, N_PROFILES),
        (map_name::global::ACTIONS, actions),
    ];
    constants.extend_from_slice(features);
    let mut loader = loader(scratch);
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
