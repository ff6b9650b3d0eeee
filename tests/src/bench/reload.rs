//! Another list into the kernel: how long it takes, and what becomes of packets meanwhile.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant as Stopwatch,
};

use anyhow::{Context as _, ensure};
use cordon::{
    dataplane::{Dataplane, Settings},
    geo,
    host::FieldChoice,
};

use super::{
    Bench, SEVEN,
    contest::Contest,
    contestant::{self, Contestant, Hook, name},
    list::{List, N_SOURCES},
    packets::EVERYWHERE,
    row::{Aim, Group, Row, Unit},
    wire::{Generator, LISTED_PORT, OTHER_PORT, Wire},
};
use crate::{images, nft, pacer, rng::Rng};

/// A world-size reload of a peer takes seconds.
const MOST_WORLD_ROUNDS: usize = 3;
/// Packets in one call of the kernel while lists are reloaded: fewer than the receiver's queue holds.
const BATCH: u32 = 128;
/// How ipset is reloaded by who does it right.
const IPSET_SWAP: &str = "ipset, second set and swap";
/// How it is reloaded by who does not.
const IPSET_IN_PLACE: &str = "ipset, flushed and filled again";
/// One transaction.
const NFT: &str = "nft -f, one transaction";

/// Times of reloads, and packets that were judged wrongly during them.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let lists = Lists::new(bench)?;
    let mut rows = seven(bench, &lists)?;
    rows.extend(world(bench)?);
    rows.extend(wrong_packets(bench, &lists)?);
    Ok(rows)
}

/// Two lists that take each other's place; the second lacks a country.
struct Lists {
    lists: [List; 2],
    policies: [String; 2],
    dir: tempfile::TempDir,
}

impl Lists {
    fn new(bench: &Bench) -> anyhow::Result<Self> {
        let codes = [&SEVEN[..], &SEVEN[..SEVEN.len() - 1]];
        Ok(Self {
            lists: codes.map(|codes| List::of(&bench.world, |code| codes.contains(&code))),
            policies: codes.map(images::drop_countries),
            dir: tempfile::tempdir()?,
        })
    }

    /// A file for each list.
    fn files(&self, kind: &str, text: impl Fn(&List) -> String) -> anyhow::Result<[PathBuf; 2]> {
        let files = [0, 1].map(|idx| self.dir.path().join(format!("{kind}-{idx}")));
        for (file, list) in files.iter().zip(&self.lists) {
            fs::write(file, text(list))?;
        }
        Ok(files)
    }
}

/// The seven-country list, both families.
fn seven(bench: &Bench, lists: &Lists) -> anyhow::Result<Vec<Row>> {
    let name = "7-country list, both families, another list in force";
    eprintln!("reload: {name} ...");
    let wire = Wire::new()?;
    let mut dataplane = contestant::cordon_on(&wire, &images::image(&lists.policies[1], &bench.world)?)?;
    let nft = Contestant::nft_raw(&lists.lists[1])?;
    let ipset = Contestant::ipset(&lists.lists[1])?;
    let nft_files = lists.files("nft", contestant::nft_reload)?;
    let ipset_files = lists.files("ipset", contestant::ipset_swap)?;
    let mut contest = Contest::new(Group::Reload, name, Unit::Ms);
    for round in 0..bench.publishes {
        let idx = round % 2;
        let started = Stopwatch::now();
        dataplane.publish(&images::image(&lists.policies[idx], &bench.world)?, None)?;
        contest.add(name::CORDON, ms_since(started));
        let started = Stopwatch::now();
        contestant::run(contestant::nft_command(&nft.wire, nft_files[idx].clone()))?;
        contest.add(NFT, ms_since(started));
        let started = Stopwatch::now();
        contestant::run(contestant::ipset_command(&ipset.wire, ipset_files[idx].clone()))?;
        contest.add(IPSET_SWAP, ms_since(started));
    }
    let note =
        "cordon: from the policy's text to the store, verification included; the peers: the whole command";
    let rows = contest.rows(name::CORDON)?;
    Ok(rows.into_iter().map(|row| row.noting(note)).collect())
}

/// The world table, both families.
fn world(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let name = "world table, both families, loaded anew";
    eprintln!("reload: {name} ...");
    let list = List::of(&bench.world, |_| true);
    let few = List::few(&["192.0.2.0/24", "2001:db8::/32"])?;
    let dir = tempfile::tempdir()?;
    let [nft_file, ipset_file] = ["nft", "ipset"].map(|tool| dir.path().join(tool));
    fs::write(&nft_file, contestant::nft_reload(&list))?;
    fs::write(&ipset_file, contestant::ipset_swap(&list))?;
    let bytes = geo::embedded_database()?;
    let mut contest = Contest::new(Group::Reload, name, Unit::Ms);
    for _ in 0..bench.publishes.min(MOST_WORLD_ROUNDS) {
        // A dataplane that has the tables already would not load them again.
        let mut dataplane = Dataplane::open(&Settings {
            pin_dir: None,
            no_generation_pass: false,
            ..Default::default()
        })?;
        let started = Stopwatch::now();
        let location = geo::read_database("world", bytes.clone(), FieldChoice::default())?;
        dataplane.publish(&images::image(EVERYWHERE, &Arc::new(location))?, None)?;
        contest.add(name::CORDON, ms_since(started));
        drop(dataplane);

        let nft = Contestant::nft_raw(&few)?;
        let started = Stopwatch::now();
        contestant::run(contestant::nft_command(&nft.wire, nft_file.clone()))?;
        contest.add(NFT, ms_since(started));
        drop(nft);

        let ipset = Contestant::ipset(&few)?;
        let started = Stopwatch::now();
        contestant::run(contestant::ipset_command(&ipset.wire, ipset_file.clone()))?;
        contest.add(IPSET_SWAP, ms_since(started));
    }
    let note = "cordon: from the database file to the store, verification included; the peers: a ready list of \
                prefixes, flattened, without countries";
    let rows = contest.rows(name::CORDON)?;
    Ok(rows.into_iter().map(|row| row.noting(note)).collect())
}

/// Two lists in turn under packets that every list drops, and packets that no list drops.
fn wrong_packets(bench: &Bench, lists: &Lists) -> anyhow::Result<Vec<Row>> {
    let mut rng = Rng::new(20_260_602);
    let kept = lists.lists[1].only(4);
    let others = List::of(&bench.world, |code| !SEVEN.contains(&code)).only(4);
    let [listed, others] = [&kept, &others].map(|list| list.draw(4, N_SOURCES / 2, &mut rng));
    let senders: Vec<_> = listed
        .into_iter()
        .zip(others)
        .flat_map(|(listed, other)| [(listed, LISTED_PORT), (other, OTHER_PORT)])
        .collect();
    let mut generator = Generator::new(&senders)?;
    let n = bench.reloads;
    let mut rows = Vec::new();
    let mut report = |who: &str, seen: Seen| {
        let note = format!(
            "IPv4, {} packets sent, {} lost before the hook",
            seen.n_sent, seen.n_lost
        );
        for (what, figure) in [
            ("wrongly passed", seen.wrongly_passed),
            ("wrongly dropped", seen.wrongly_dropped),
        ] {
            let name = format!("{n} reloads of the 7-country list under packets, {what}");
            let row = Row::alone(Group::Reload, &name, Unit::Packets, (who, &[figure as f64]));
            let row = row.noting(note.clone());
            rows.push(match who {
                name::CORDON => row.aiming(Aim::AtMost(0.0)),
                _ => row,
            });
        }
    };

    eprintln!("reload: {n} reloads under packets: {} ...", name::CORDON);
    let wire = Wire::new()?;
    let mut dataplane = contestant::cordon_on(&wire, &images::image(&lists.policies[1], &bench.world)?)?;
    let seen = under_packets(&wire, &mut generator, n, |idx| {
        dataplane.publish(&images::image(&lists.policies[idx], &bench.world)?, None)?;
        Ok(())
    })?;
    report(name::CORDON, seen);
    drop(dataplane);

    for (who, kind) in [(NFT, "nft"), (IPSET_SWAP, "ipset"), (IPSET_IN_PLACE, "in-place")] {
        eprintln!("reload: {n} reloads under packets: {who} ...");
        let wire = Wire::new()?;
        let first = &lists.lists[1];
        let files = match kind {
            "nft" => {
                nft::load(&wire.edge, &contestant::nft_ruleset(first, Hook::PreroutingRaw))?;
                lists.files(kind, contestant::nft_reload)?
            }
            _ => {
                contestant::ipset_on(&wire, first)?;
                match kind {
                    "ipset" => lists.files(kind, contestant::ipset_swap)?,
                    _ => lists.files(kind, contestant::ipset_in_place)?,
                }
            }
        };
        let seen = under_packets(&wire, &mut generator, n, |idx| {
            let file = files[idx].clone();
            contestant::run(match kind {
                "nft" => contestant::nft_command(&wire, file),
                _ => contestant::ipset_command(&wire, file),
            })
        })?;
        report(who, seen);
    }
    Ok(rows)
}

/// What became of packets.
#[derive(Debug)]
struct Seen {
    n_sent: u64,
    /// Never arrived at the interface, so nobody judged them.
    n_lost: u64,
    wrongly_passed: u64,
    wrongly_dropped: u64,
}

/// Reloads while packets come in on another CPU, listed and others in turn.
fn under_packets(
    wire: &Wire,
    generator: &mut Generator,
    n_reloads: usize,
    mut reload: impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<Seen> {
    wire.start_audit()?;
    let before = wire.received()?;
    let stop = AtomicBool::new(false);
    let (reloaded, sent) = thread::scope(|scope| {
        let sender = scope.spawn(|| -> anyhow::Result<u64> {
            // On one CPU, so that listed and others are sent strictly in turn.
            pacer::run_on(0)?;
            let mut n_sent = 0;
            while !stop.load(Ordering::Relaxed) {
                wire.send(generator, BATCH)?;
                n_sent += u64::from(BATCH);
            }
            Ok(n_sent)
        });
        let reloaded = (0..n_reloads).try_for_each(|number| reload(number % 2));
        stop.store(true, Ordering::Relaxed);
        (reloaded, sender.join().expect("the sender does not panic"))
    });
    reloaded?;
    let n_sent = sent?;
    ensure!(n_sent > 0, "no packet was sent during the reloads");
    let n_received = wire.received()? - before;
    let passed = wire.passed()?;
    wire.end_audit()?;
    let n_lost = n_sent
        .checked_sub(n_received)
        .context("more packets arrived than were sent")?;
    Ok(Seen {
        n_sent,
        n_lost,
        wrongly_passed: passed.listed,
        wrongly_dropped: (n_sent / 2).saturating_sub(passed.other + n_lost),
    })
}

fn ms_since(started: Stopwatch) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}
