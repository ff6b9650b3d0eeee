//! Memory of the world database: in the kernel, for cordon and for the peers, and in the daemon at rest.

use std::{fs, os::fd::AsFd as _, os::fd::AsRawFd as _, path::Path, thread, time::Duration};

use anyhow::{Context as _, ensure};
use aya::maps::{Map, MapData};
use cordon::dataplane::{Dataplane, Settings};
use probe_common::map_name;

use super::{
    Bench, SEVEN,
    contest::Contest,
    contestant::{self, Hook, name},
    list::List,
    row::{Aim, Group, Row, Unit},
    wire::Wire,
};
use crate::{
    cordon_process::{Cordon, HostFile},
    images,
    lab::Lab,
    nft,
    scratch::Scratch,
};

/// The peers' sets take seconds to fill.
const MOST_ROUNDS: usize = 3;
/// Mebibytes that the issue allows in the kernel, for both families.
const MOST_KERNEL_MIB: f64 = 32.0;
/// Mebibytes that it allows the daemon at rest.
const MOST_DAEMON_MIB: f64 = 64.0;

/// Mebibytes in the kernel and in the daemon.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let name = "world table, both families, in the kernel";
    eprintln!("memory: {name} ...");
    let text = images::drop_countries(&SEVEN);
    let list = List::of(&bench.world, |_| true);
    let mut contest = Contest::new(Group::Memory, name, Unit::Mib);
    let mut locations = Vec::new();
    for _ in 0..bench.rounds.min(MOST_ROUNDS) {
        let scratch = Scratch::new()?;
        let pin_dir = scratch.bpffs().join("cordon");
        let mut dataplane = Dataplane::open(&Settings {
            pin_dir: Some(pin_dir.clone()),
            no_generation_pass: false,
            ..Default::default()
        })?;
        dataplane.publish(&images::image(&text, &bench.world)?, None)?;
        let (generation, location) = charged(&pin_dir.join("v1/gen-1"))?;
        contest.add(name::CORDON, mib(generation));
        locations.push(mib(location));
        drop(dataplane);
        contest.add(name::LPM, lpm(&list)?);
        contest.add(name::NFT_RAW, nftables(&list)?);
        contest.add(name::IPSET, ipset(&list)?);
    }
    let note = "cordon and the LPM trie: what the kernel charges for the maps (memlock); nftables: growth of \
                SUnreclaim, VmallocUsed and Percpu in /proc/meminfo; ipset: what `ipset list -terse` says";
    let cordon = (name::CORDON, contest.figures(name::CORDON));
    let mut rows = vec![
        Row::alone(Group::Memory, name, Unit::Mib, cordon).aiming(Aim::AtMost(MOST_KERNEL_MIB)),
        Row::alone(
            Group::Memory,
            "of it, the location tables",
            Unit::Mib,
            (name::CORDON, &locations),
        ),
    ];
    rows.extend(
        contest
            .rows(name::CORDON)?
            .into_iter()
            .map(|row| row.noting(note)),
    );
    rows.extend(daemon(&text)?);
    Ok(rows)
}

/// The list in the peers' tries.
fn lpm(list: &List) -> anyhow::Result<f64> {
    let peers = contestant::lpm_of(list, false)?;
    let mut bytes = 0;
    for name in ["LISTED_V4", "LISTED_V6"] {
        match peers.map(name) {
            Some(Map::LpmTrie(map)) => bytes += memlock(map)?,
            _ => anyhow::bail!("the peers have no trie {name}"),
        }
    }
    Ok(mib(bytes))
}

/// The kernel does not say what a set costs: the difference that it makes.
fn nftables(list: &List) -> anyhow::Result<f64> {
    let wire = Wire::new()?;
    let ruleset = contestant::nft_ruleset(list, Hook::PreroutingRaw);
    let before = kernel_kib()?;
    nft::load(&wire.edge, &ruleset)?;
    // What was freed in the transaction goes after a grace period.
    thread::sleep(Duration::from_secs(1));
    let after = kernel_kib()?;
    ensure!(
        after > before,
        "the kernel's memory did not grow by the set of nftables: other programs freed more meanwhile"
    );
    Ok((after - before) as f64 / 1024.0)
}

/// Kernel memory that sets can be in, of the whole machine.
fn kernel_kib() -> anyhow::Result<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    ["SUnreclaim:", "VmallocUsed:", "Percpu:"]
        .iter()
        .map(|name| field(&meminfo, name).with_context(|| format!("/proc/meminfo has no {name}")))
        .sum()
}

/// ipset knows what its sets cost.
fn ipset(list: &List) -> anyhow::Result<f64> {
    let wire = Wire::new()?;
    contestant::ipset_on(&wire, list)?;
    let output = wire
        .edge
        .command("ipset")
        .args(["list", "-terse"])
        .output()
        .context("cannot run `ipset` (package ipset)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let sizes: Vec<u64> = text
        .lines()
        .filter_map(|line| field(line, "Size in memory:"))
        .collect();
    ensure!(
        sizes.len() == 2,
        "ipset does not say what its two sets cost: {text}"
    );
    Ok(mib(sizes.iter().sum()))
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Bytes that the kernel charges for the maps of a generation, and for its location tables among them.
pub fn charged(generation: &Path) -> anyhow::Result<(u64, u64)> {
    let (mut generation_bytes, mut location_bytes) = (0, 0);
    for name in map_name::GENERATION {
        let bytes = memlock(&MapData::from_pin(generation.join(name))?)?;
        generation_bytes += bytes;
        if map_name::LOCATION.contains(&name) {
            location_bytes += bytes;
        }
    }
    Ok((generation_bytes, location_bytes))
}

fn memlock(map: &MapData) -> anyhow::Result<u64> {
    let fdinfo = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd()))?;
    field(&fdinfo, "memlock:").context("the kernel does not say what a map costs")
}

/// A real daemon with the world database published.
fn daemon(text: &str) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::new()?;
    let cordon = Cordon::start(&lab, &HostFile::default())?;
    cordon.apply(text)?;
    let status = fs::read_to_string(format!("/proc/{}/status", cordon.pid()?))?;
    let kib = |name| field(&status, name).with_context(|| format!("there is no {name}"));
    let row = |what: &str, kib: u64| {
        let figures = [kib as f64 / 1024.0];
        Row::alone(Group::Memory, what, Unit::Mib, (name::CORDON, &figures))
    };
    Ok(vec![
        row("daemon at rest, resident (VmRSS)", kib("VmRSS:")?).aiming(Aim::AtMost(MOST_DAEMON_MIB)),
        row("daemon at its peak (VmHWM)", kib("VmHWM:")?),
        Row::not_comparable(
            Group::Memory,
            "daemon",
            Unit::Mib,
            (name::CORDON, "nftables, ipset, xdp-filter"),
            "the peers have no daemon: nothing of theirs verifies, expires, reverts or answers while no command runs",
        ),
    ])
}

/// The number behind a name in a file of `name: number` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
