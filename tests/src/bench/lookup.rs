//! An address to its class, 64 look-ups a program run: the index, the trie that the `lpm` engine fills, and a trie with
//! every prefix of the database. All are asked for the same addresses in turn, and must add up to the same classes.

use std::{collections::VecDeque, net::IpAddr};

use anyhow::{Context as _, ensure};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{
        Array, Map,
        lpm_trie::{Key, LpmTrie},
    },
    programs::Xdp,
};
use cordon::{
    dataplane::PEERS,
    geo::{Address, ClassTable, Index, Location, Prefix, Ranges, lpm_prefixes},
};
use probe_common::{ClassValue, class, index::Page};

use super::{
    Bench, SEVEN,
    contest::Contest,
    row::{Aim, Group, Row, Unit},
};
use crate::{frames::udp_frame, rng::Rng, test_run::run_frame};

const N_LOOKUPS: usize = 64;
const N_BATCHES: usize = 1 << 14;
/// Runs whose time is taken together.
const RUNS: u32 = 4096;
/// Prefixes beyond which no trie is filled: it would take gigabytes.
const MAX_TRIE: usize = 4_000_000;

/// Addresses as two numbers each.
type Batch = [u64; 2 * N_LOOKUPS];

/// Who is measured.
const INDEX: &str = "index";
const ORTC: &str = "LPM trie, fewest prefixes";
const EVERY: &str = "LPM trie, every prefix";

/// Measures all tables of both families.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let Bench { world, rounds, .. } = bench;
    let rounds = *rounds;
    let mut rows = Vec::new();
    let v4 = Family::<u32>::new("IPv4", &world.ranges_v4);
    let v6 = Family::<u128>::new("IPv6", &world.ranges_v6);
    v4.measure(&world.classes, rounds, [25.0, 15.0], &mut rows)?;
    v6.measure(&world.classes, rounds, [10.0, 1.0], &mut rows)?;
    rows.extend(growth(world, rounds)?);
    Ok(rows)
}

/// What differs between the families.
trait Kind: Address {
    type Bytes: Pod;
    const TRIE: &'static str;
    const PROGRAMS: [&'static str; 2];
    fn bytes(self) -> Self::Bytes;
    fn index(ranges: &Ranges<Self>) -> anyhow::Result<Index>;
}

impl Kind for u32 {
    type Bytes = [u8; 4];
    const TRIE: &'static str = "TRIE_V4";
    const PROGRAMS: [&'static str; 2] = ["lookup_index_v4", "lookup_trie_v4"];

    fn bytes(self) -> [u8; 4] {
        self.to_be_bytes()
    }

    fn index(ranges: &Ranges<Self>) -> anyhow::Result<Index> {
        Ok(Index::of_v4(ranges)?)
    }
}

impl Kind for u128 {
    type Bytes = [u8; 16];
    const TRIE: &'static str = "TRIE_V6";
    const PROGRAMS: [&'static str; 2] = ["lookup_index_v6", "lookup_trie_v6"];

    fn bytes(self) -> [u8; 16] {
        self.to_be_bytes()
    }

    fn index(ranges: &Ranges<Self>) -> anyhow::Result<Index> {
        Ok(Index::of_v6(ranges)?)
    }
}

struct Family<'a, A> {
    name: &'static str,
    world: &'a Ranges<A>,
}

impl<'a, A: Kind> Family<'a, A> {
    fn new(name: &'static str, world: &'a Ranges<A>) -> Self {
        Self { name, world }
    }

    fn measure(
        &self,
        classes: &ClassTable,
        rounds: usize,
        [drawn_aim, uniform_aim]: [f64; 2],
        rows: &mut Vec<Row>,
    ) -> anyhow::Result<()> {
        let seven = listed(self.world, |class| SEVEN.contains(&classes.name(class)));
        for (table, ranges, drawn_aim) in [
            ("world table", self.world, drawn_aim),
            ("7 countries", &seven, 15.0),
        ] {
            let every = prefixes(ranges);
            let mut engines = [
                Engine::index(INDEX, ranges)?,
                Engine::trie(EVERY, &every)?,
                Engine::trie(ORTC, &lpm_prefixes(ranges))?,
            ];
            for (drawn, aim) in [
                (Drawn::FromPrefixes, Some(drawn_aim)),
                (Drawn::Uniform, (table == "world table").then_some(uniform_aim)),
                (Drawn::OneHot, None),
            ] {
                let name = format!("{}, {table}, {}", self.name, drawn.name());
                let contest = compete(&name, &mut engines, &batches(&every, drawn), rounds)?;
                for row in contest.rows(INDEX)? {
                    let is_aimed_at = row.against.as_ref().is_some_and(|other| other.name == EVERY);
                    rows.push(match aim.filter(|_| is_aimed_at) {
                        Some(aim) => row.aiming(Aim::RatioAtLeast(aim)),
                        None => row,
                    });
                }
            }
        }
        Ok(())
    }
}

/// How the cost of a look-up grows with the table: prefixes of the world table, then the same split further and further,
/// each half in a class of its own.
fn growth(world: &Location, rounds: usize) -> anyhow::Result<Vec<Row>> {
    const SMALL: &str = "10k prefixes";
    let every = prefixes(&world.ranges_v4);
    let mut tables = Vec::new();
    for (name, n) in [
        ("1k prefixes", 1_000),
        (SMALL, 10_000),
        ("100k prefixes", 100_000),
        ("1M prefixes", 1_000_000),
        ("10M prefixes", 10_000_000),
    ] {
        tables.push((name, of_size(&every, n)));
    }
    let mut contest = Contest::new(Group::Lookup, "IPv4, addresses drawn from prefixes", Unit::Ns);
    let mut engines = Vec::new();
    for (name, table) in &tables {
        engines.push((
            Engine::index(name, &ranges_of(table))?,
            batches(table, Drawn::FromPrefixes),
        ));
    }
    for (engine, batches) in &mut engines {
        engine.ask(batches)?;
    }
    for _ in 0..rounds {
        for (engine, _) in &mut engines {
            let (ns, _) = engine.run()?;
            contest.add(&engine.name, ns);
        }
    }
    let largest = contest.rows("10M prefixes")?;
    Ok(largest
        .into_iter()
        .map(|row| match &row.against {
            Some(other) if other.name == SMALL => row.aiming(Aim::RatioAtLeast(1.0 / 2.5)),
            _ => row,
        })
        .collect())
}

/// All engines in turn on the same addresses.
fn compete(name: &str, engines: &mut [Engine], batches: &[Batch], rounds: usize) -> anyhow::Result<Contest> {
    let mut contest = Contest::new(Group::Lookup, name, Unit::Ns);
    for engine in engines.iter_mut() {
        engine.ask(batches)?;
    }
    for _ in 0..rounds {
        let mut sums = Vec::new();
        for engine in engines.iter_mut() {
            let (ns, sum) = engine.run()?;
            contest.add(&engine.name, ns);
            sums.push(sum);
        }
        ensure!(
            sums.iter().all(|sum| *sum == sums[0]),
            "{name}: the engines do not find the same classes: {sums:?}"
        );
    }
    Ok(contest)
}

/// A loaded program with its tables.
struct Engine {
    name: String,
    ebpf: Ebpf,
    program: &'static str,
    frame: Vec<u8>,
}

impl Engine {
    fn index<A: Kind>(name: &str, ranges: &Ranges<A>) -> anyhow::Result<Self> {
        let index = A::index(ranges)?;
        let mut engine = Self::load(name, A::PROGRAMS[0], "PAGES", index.pages().len())?;
        let mut pages: Array<_, Page> = engine.map("PAGES")?.try_into()?;
        for (idx, page) in (0..).zip(index.pages()) {
            pages.set(idx, *page, 0)?;
        }
        Ok(engine)
    }

    fn trie<A: Kind>(name: &str, prefixes: &[Prefix<A>]) -> anyhow::Result<Self> {
        ensure!(prefixes.len() <= MAX_TRIE, "{} prefixes", prefixes.len());
        let mut engine = Self::load(name, A::PROGRAMS[1], A::TRIE, prefixes.len())?;
        let mut trie: LpmTrie<_, A::Bytes, ClassValue> = engine.map(A::TRIE)?.try_into()?;
        for prefix in prefixes {
            let key = Key::new(prefix.prefix_len.into(), prefix.addr.bytes());
            let value = ClassValue {
                class: prefix.class,
                reserved: 0,
            };
            trie.insert(&key, value, 0)?;
        }
        Ok(engine)
    }

    fn load(name: &str, program: &'static str, map: &str, size: usize) -> anyhow::Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .map_max_entries(map, u32::try_from(size)?.max(1))
            .load(PEERS)
            .context("cannot load the peers")?;
        let loaded: &mut Xdp = ebpf
            .program_mut(program)
            .with_context(|| format!("there is no {program}"))?
            .try_into()?;
        loaded
            .load()
            .with_context(|| format!("the verifier refused {program}"))?;
        let source: IpAddr = "192.0.2.1".parse()?;
        Ok(Self {
            name: name.to_owned(),
            ebpf,
            program,
            frame: udp_frame(source, 443, b"test"),
        })
    }

    fn map(&mut self, name: &str) -> anyhow::Result<&mut Map> {
        self.ebpf
            .map_mut(name)
            .with_context(|| format!("there is no map {name}"))
    }

    fn ask(&mut self, batches: &[Batch]) -> anyhow::Result<()> {
        let mut map: Array<_, Batch> = self.map("BATCHES")?.try_into()?;
        for (idx, batch) in (0..).zip(batches) {
            map.set(idx, *batch, 0)?;
        }
        Ok(())
    }

    /// Nanoseconds of a look-up, and what the last run found.
    fn run(&mut self) -> anyhow::Result<(f64, u32)> {
        let mut next: Array<_, u32> = self.map("NEXT_BATCH")?.try_into()?;
        next.set(0, 0, 0)?;
        let program: &Xdp = self
            .ebpf
            .program(self.program)
            .context("the program is loaded")?
            .try_into()?;
        // Once to bring the tables into the caches as far as they fit.
        run_frame(program, &self.frame, RUNS)?;
        // The kernel's own figure: what others do on this CPU in between is not in it.
        let (sum, run_ns) = run_frame(program, &self.frame, RUNS)?;
        let ns = run_ns as f64 / N_LOOKUPS as f64;
        ensure!(sum != u32::MAX, "{}: a look-up came to no end", self.name);
        Ok((ns, sum))
    }
}

/// Where addresses come from.
#[derive(Clone, Copy)]
enum Drawn {
    FromPrefixes,
    Uniform,
    OneHot,
}

impl Drawn {
    const fn name(self) -> &'static str {
        match self {
            Self::FromPrefixes => "addresses drawn from prefixes",
            Self::Uniform => "uniform addresses",
            Self::OneHot => "one hot prefix",
        }
    }
}

fn batches<A: Kind>(prefixes: &[Prefix<A>], drawn: Drawn) -> Vec<Batch> {
    let mut rng = Rng::new(20_260_601);
    let anywhere = |rng: &mut Rng| rng.next_u128() >> (128 - u32::from(A::BITS));
    let hot = rng.below(prefixes.len());
    let mut address = || {
        let prefix = match drawn {
            Drawn::Uniform => None,
            Drawn::FromPrefixes => prefixes.get(rng.below(prefixes.len())),
            Drawn::OneHot => prefixes.get(hot),
        };
        match prefix {
            Some(prefix) => {
                let hosts = A::FIRST.last_of(prefix.prefix_len).to_number();
                prefix.addr.to_number() | anywhere(&mut rng) & hosts
            }
            None => anywhere(&mut rng),
        }
    };
    (0..N_BATCHES)
        .map(|_| {
            let mut batch = [0; 2 * N_LOOKUPS];
            for halves in batch.as_chunks_mut::<2>().0 {
                let address = address();
                *halves = [(address >> 64) as u64, address as u64];
            }
            batch
        })
        .collect()
}

/// The runs with all classes but some unknown.
fn listed<A: Kind>(ranges: &Ranges<A>, is_listed: impl Fn(u16) -> bool) -> Ranges<A> {
    let mut listed = Ranges::default();
    for (start, class) in ranges.iter() {
        listed.push(start, if is_listed(class) { class } else { class::UNKNOWN });
    }
    listed
}

/// The prefixes that a trie gets without any thought: each known run as the fewest prefixes that cover it.
fn prefixes<A: Kind>(ranges: &Ranges<A>) -> Vec<Prefix<A>> {
    let mut prefixes = Vec::new();
    for idx in 0..ranges.len() {
        let Some((first, last, class)) = ranges.run(idx) else {
            break;
        };
        if class == class::UNKNOWN {
            continue;
        }
        let mut next = Some(first);
        while let Some(addr) = next.filter(|addr| *addr <= last) {
            let is_inside = |len: &u8| {
                let end = addr.last_of(*len);
                end <= last && addr.to_number() & A::FIRST.last_of(*len).to_number() == 0
            };
            let prefix_len = (0..=A::BITS).find(is_inside).unwrap_or(A::BITS);
            prefixes.push(Prefix {
                addr,
                prefix_len,
                class,
            });
            next = addr.last_of(prefix_len).next();
        }
    }
    prefixes
}

/// So many prefixes, in the order of their addresses: some of the given ones, or these split in halves again and again, of
/// which one gets a class of its own. City-grade databases do that down to /24, and in some places to /32.
fn of_size(every: &[Prefix<u32>], n: usize) -> Vec<Prefix<u32>> {
    let mut rng = Rng::new(20_260_602);
    let mut table = every.to_vec();
    rng.shuffle(&mut table);
    table.truncate(n);
    let mut to_split = VecDeque::from(table);
    let mut table = Vec::new();
    while table.len() + to_split.len() < n
        && let Some(prefix) = to_split.pop_front()
    {
        let deepest = if prefix.addr >> 8 & 15 == 0 { 32 } else { 24 };
        if prefix.prefix_len >= deepest {
            table.push(prefix);
            continue;
        }
        let left = Prefix {
            prefix_len: prefix.prefix_len + 1,
            ..prefix
        };
        let right = Prefix {
            addr: prefix.addr.with_bit(prefix.prefix_len),
            class: rng.below(u16::MAX.into()) as u16,
            ..left
        };
        to_split.extend([left, right]);
    }
    table.extend(to_split);
    table.sort_unstable();
    table
}

/// The runs of disjoint prefixes in the order of their addresses.
fn ranges_of(table: &[Prefix<u32>]) -> Ranges<u32> {
    let mut ranges = Ranges::default();
    let mut next = Some(0);
    for prefix in table {
        if let Some(gap) = next.filter(|next| *next < prefix.addr) {
            ranges.push(gap, class::UNKNOWN);
        }
        ranges.push(prefix.addr, prefix.class);
        next = prefix.addr.last_of(prefix.prefix_len).next();
    }
    if let Some(rest) = next {
        ranges.push(rest, class::UNKNOWN);
    }
    ranges
}
