//! Nanoseconds per packet on a veth pair with native XDP: cordon, the floor and the peers in turn.

use std::{net::IpAddr, sync::Arc};

use anyhow::{Context as _, ensure};
use cordon::compile::Image;

use super::{
    Bench, SEVEN,
    contest::Contest,
    contestant::{Contestant, name},
    list::{List, N_SOURCES},
    row::{Aim, Group, Row, Unit},
    wire::{Generator, LISTED_PORT, Passed},
};
use crate::{images, rng::Rng};

/// xdp-filter's list holds 10,000.
const N_EXACT: usize = 1 << 13;
/// cordon with a table of nothing but the list, like that of the peers.
pub const LIST_ONLY: &str = "cordon, table of the list only";
/// What is left of a packet's cost when what the floor costs is taken off.
const ABOVE: &str = "above XDP that only drops";

/// Drops everything.
pub const EVERYWHERE: &str = "version = 1\ndefault = \"pass\"\nunknown = \"pass\"\n\
    [[order]]\nid = \"bench-1\"\nauthority = \"Bench\"\n[[order.rule]]\naction = \"drop\"\neverywhere = true\n";

/// Whether the packets of a contest pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of them.
    Passed,
    /// None.
    Dropped,
}

/// All contests of packets.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rng = Rng::new(20_260_601);
    let is_listed = |code: &str| SEVEN.contains(&code);
    let seven = List::of(&bench.world, is_listed);
    let others = List::of(&bench.world, |code| !is_listed(code));
    let world = List::of(&bench.world, |_| true);
    let mut rows = Vec::new();
    for family in [4, 6] {
        rows.extend(seven_dropped(bench, &seven.only(family), family, &mut rng)?);
        rows.extend(others_passed(
            bench,
            &seven.only(family),
            &others,
            family,
            &mut rng,
        )?);
        rows.extend(world_dropped(bench, &world.only(family), family, &mut rng)?);
    }
    rows.extend(exact_addresses(bench, &seven.only(4), &mut rng)?);
    for without in ["cordon without counters", "cordon without events"] {
        let why = match without {
            "cordon without counters" => "the counters cannot be compiled out: every packet is counted once",
            _ => "that is cordon without `[events]` in the policy, the row without a word about events",
        };
        let names = (name::CORDON, without);
        rows.push(Row::not_comparable(
            Group::Packets,
            "variants",
            Unit::Ns,
            names,
            why,
        ));
    }
    Ok(rows)
}

/// The contestants of a contest, and rows that say who could not take part.
struct Field<'a> {
    contest: &'a str,
    contestants: Vec<Contestant>,
    absent: Vec<Row>,
}

impl<'a> Field<'a> {
    fn new(contest: &'a str, own: Vec<Contestant>) -> Self {
        Self {
            contest,
            contestants: own,
            absent: Vec::new(),
        }
    }

    /// A peer that this machine may not be able to run: the others go on without it.
    fn peer(&mut self, who: &str, made: anyhow::Result<Contestant>) {
        match made {
            Ok(contestant) => self.contestants.push(contestant),
            Err(error) => {
                let names = (name::CORDON, who);
                let why = format!("it cannot be set up here: {error:#}");
                self.absent.push(Row::not_comparable(
                    Group::Packets,
                    self.contest,
                    Unit::Ns,
                    names,
                    why,
                ));
            }
        }
    }
}

/// The seven-country list, every packet from it.
fn seven_dropped(bench: &Bench, list: &List, family: u8, rng: &mut Rng) -> anyhow::Result<Vec<Row>> {
    let name = format!("IPv{family}, 7 countries, all dropped");
    eprintln!("packets: {name} ...");
    let policy = images::drop_countries(&SEVEN);
    let image = |text: &str| images::image(text, &bench.world);
    let list_only = images::location(&list.database(|class| bench.world.classes.name(class).to_owned()))?;
    let own = vec![
        Contestant::drop_only()?,
        Contestant::lpm(list, false)?,
        Contestant::cordon(name::CORDON, &image(&policy)?)?,
        Contestant::cordon(LIST_ONLY, &images::image(&policy, &list_only)?)?,
        Contestant::cordon("cordon with a service", &image(&for_a_service(&policy))?)?,
        Contestant::cordon("cordon with events", &image(&format!("{policy}[events]\n"))?)?,
    ];
    let mut field = Field::new(&name, own);
    field.peer(name::NFT_RAW, Contestant::nft_raw(list));
    field.peer(name::NFT_INGRESS, Contestant::nft_ingress(list));
    field.peer(name::IPSET, Contestant::ipset(list));
    let sources = list.draw(family, N_SOURCES, rng);
    let contest = compete(bench, &name, &field.contestants, &sources, Outcome::Dropped)?;
    let mut rows = field.absent;
    rows.push(generators_share(bench, &name, &sources)?);
    for subject in [name::CORDON, LIST_ONLY] {
        for row in contest.rows(subject)? {
            rows.push(match against(&row) {
                name::DROP_ONLY => row.aiming(Aim::RatioAtLeast(0.85)),
                name::LPM => row.aiming(Aim::RatioAtLeast(1.8)),
                name::NFT_RAW | name::NFT_INGRESS | name::IPSET => row.aiming(Aim::RatioAtLeast(3.0)),
                _ => row,
            });
        }
        for peer in [name::LPM, name::NFT_RAW, name::NFT_INGRESS, name::IPSET] {
            let row = above_floor(&contest, &name, subject, peer).noisy();
            rows.push(row.aiming(Aim::RatioAtLeast(5.0)));
        }
    }
    Ok(rows)
}

/// The list in force, every packet from elsewhere.
fn others_passed(
    bench: &Bench,
    list: &List,
    others: &List,
    family: u8,
    rng: &mut Rng,
) -> anyhow::Result<Vec<Row>> {
    let name = format!("IPv{family}, 7 countries listed, all from elsewhere passed");
    eprintln!("packets: {name} ...");
    let image = images::image(&images::drop_countries(&SEVEN), &bench.world)?;
    let own = vec![
        Contestant::pass_only()?,
        Contestant::lpm(list, false)?,
        Contestant::cordon(name::CORDON, &image)?,
    ];
    let mut field = Field::new(&name, own);
    field.peer(name::NFT_RAW, Contestant::nft_raw(list));
    field.peer(name::NFT_INGRESS, Contestant::nft_ingress(list));
    field.peer(name::IPSET, Contestant::ipset(list));
    let sources = others.draw(family, N_SOURCES, rng);
    let contest = compete(bench, &name, &field.contestants, &sources, Outcome::Passed)?;
    let mut rows = field.absent;
    rows.extend(contest.rows(name::CORDON)?);
    Ok(rows)
}

/// Everything that has a place, counted by country where that can be done.
fn world_dropped(bench: &Bench, list: &List, family: u8, rng: &mut Rng) -> anyhow::Result<Vec<Row>> {
    let name = format!("IPv{family}, world table, all dropped, counted by country");
    eprintln!("packets: {name} ...");
    let image = world_image(bench)?;
    let own = vec![
        Contestant::drop_only()?,
        Contestant::lpm(list, true)?,
        Contestant::cordon(name::CORDON, &image)?,
    ];
    let mut field = Field::new(&name, own);
    field.peer(name::NFT_RAW, Contestant::nft_raw(list));
    field.peer(name::IPSET, Contestant::ipset(list));
    let sources = list.draw(family, N_SOURCES, rng);
    let contest = compete(bench, &name, &field.contestants, &sources, Outcome::Dropped)?;
    let rows = contest.rows(name::CORDON)?;
    Ok(field
        .absent
        .into_iter()
        .chain(rows.into_iter().map(|row| match against(&row) {
            name::DROP_ONLY => row.aiming(Aim::RatioAtLeast(0.72)),
            name::LPM => row.aiming(Aim::RatioAtLeast(3.0)),
            name::NFT_RAW | name::IPSET => Row {
                not_comparable: Some("the peer does not count by country: one set holds them all".to_owned()),
                ..row
            },
            _ => row,
        }))
        .collect())
}

/// The best case of a filter of addresses: every packet from one that is listed.
fn exact_addresses(bench: &Bench, list: &List, rng: &mut Rng) -> anyhow::Result<Vec<Row>> {
    let name = format!("IPv4, {N_EXACT} exact addresses, all dropped");
    eprintln!("packets: {name} ...");
    let sources = list.draw(4, N_EXACT, rng);
    let mut addresses: Vec<[u8; 4]> = sources
        .iter()
        .filter_map(|source| match source {
            IpAddr::V4(address) => Some(address.octets()),
            IpAddr::V6(_) => None,
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    let image = images::image(&images::drop_countries(&SEVEN), &bench.world)?;
    let own = vec![
        Contestant::drop_only()?,
        Contestant::cordon(name::CORDON, &image)?,
    ];
    let mut field = Field::new(&name, own);
    field.peer(name::XDP_FILTER, Contestant::xdp_filter(&addresses));
    let contest = compete(bench, &name, &field.contestants, &sources, Outcome::Dropped)?;
    let mut rows = field.absent;
    rows.extend(contest.rows(name::CORDON)?);
    Ok(rows)
}

/// A policy that drops every source but private ones.
pub fn world_image(bench: &Bench) -> anyhow::Result<Arc<Image>> {
    images::image(EVERYWHERE, &bench.world)
}

/// The same policy for one service only, the one that the packets are for.
fn for_a_service(policy: &str) -> String {
    format!(
        "{policy}services = [\"bench\"]\n[[service]]\nname = \"bench\"\nprotocols = [\"udp\"]\nports = [{LISTED_PORT}]\n"
    )
}

/// All in turn in every round, after each has shown that it judges every source as it should.
fn compete(
    bench: &Bench,
    name: &str,
    contestants: &[Contestant],
    sources: &[IpAddr],
    outcome: Outcome,
) -> anyhow::Result<Contest> {
    let senders: Vec<(IpAddr, u16)> = sources.iter().map(|source| (*source, LISTED_PORT)).collect();
    let mut generator = Generator::new(&senders)?;
    for contestant in contestants {
        check(contestant, &mut generator, outcome).with_context(|| name.to_owned())?;
    }
    let mut contest = Contest::new(Group::Packets, name, Unit::Ns);
    for _ in 0..bench.rounds {
        for contestant in contestants {
            let ns = contestant
                .wire
                .run(&mut generator, bench.packets)
                .with_context(|| format!("{name}: {}", contestant.name))?;
            contest.add(&contestant.name, ns);
        }
    }
    Ok(contest)
}

/// A packet from each source: a contestant that does nothing would look fast.
pub fn check(contestant: &Contestant, generator: &mut Generator, outcome: Outcome) -> anyhow::Result<()> {
    contestant.wire.start_audit()?;
    contestant.wire.run(generator, N_SOURCES as u32)?;
    let passed = contestant.wire.passed()?;
    let listed = match outcome {
        Outcome::Passed => N_SOURCES as u64,
        Outcome::Dropped => 0,
    };
    ensure!(
        passed == Passed { listed, other: 0 },
        "{}: of {N_SOURCES} packets {passed:?} passed, not {listed}",
        contestant.name
    );
    contestant.wire.end_audit()
}

/// What making the frames costs, without sending them.
fn generators_share(bench: &Bench, name: &str, sources: &[IpAddr]) -> anyhow::Result<Row> {
    let senders: Vec<(IpAddr, u16)> = sources.iter().map(|source| (*source, LISTED_PORT)).collect();
    let mut generator = Generator::idle(&senders)?;
    let wire = super::wire::Wire::new()?;
    let ns = (0..bench.rounds)
        .map(|_| wire.send(&mut generator, bench.packets))
        .collect::<anyhow::Result<Vec<f64>>>()?;
    Ok(Row::alone(
        Group::Packets,
        name,
        Unit::Ns,
        ("the generator's own share", &ns),
    ))
}

/// What a packet costs above the floor, subject against peer. Below a nanosecond it is noise.
fn above_floor(contest: &Contest, name: &str, subject: &str, peer: &str) -> Row {
    let above = |who: &str| -> Vec<f64> {
        contest
            .figures(who)
            .iter()
            .zip(contest.figures(name::DROP_ONLY))
            .map(|(ns, floor)| (ns - floor).max(1.0))
            .collect()
    };
    let name = format!("{name}, {ABOVE}");
    Row::alternating(
        Group::Packets,
        &name,
        Unit::Ns,
        (subject, &above(subject)),
        (peer, &above(peer)),
    )
}

fn against(row: &Row) -> &str {
    row.against.as_ref().map_or("", |against| &against.name)
}
