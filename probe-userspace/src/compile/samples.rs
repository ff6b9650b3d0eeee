//! The addresses for which kernel and oracle are compared before a generation is published.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use probe_common::{Action, Decision, Verdict, profile};

use super::{
    Heading, Image, Override, Query,
    services::{TCP, UDP},
    source::embedded_v4,
};
use crate::{
    geo::{Address, LAN_V4, LAN_V6, Prefix, Ranges, location_of},
    instant::Instant,
};

/// Fewest samples of a publish.
pub const N_SAMPLES: usize = 4096;
/// Most changed location prefixes whose ends are among the samples.
const N_CHANGED: usize = 2048;
/// Runs of each class and family out of which an address is taken.
const N_RUNS_PER_CLASS: usize = 2;
/// Runs of each family whose borders are among the samples.
const N_BORDERS: usize = 256;
/// Classes of each row that fare as in row 0 and are judged in it all the same.
const N_SAME_PER_ROW: usize = 6;
/// The port of what opens connections most.
const HTTPS: u16 = 443;

/// A packet and the verdict that the kernel must give it without failsafe prefixes and run-time overrides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Source address of the packet.
    pub address: IpAddr,
    /// Where it goes.
    pub heading: Heading,
    /// What the oracle says, with the decision: its tier and whether it holds for both directions.
    pub expected: (Verdict, Decision),
}

/// Chooses the samples for publishing `image` after `previous`: every class, every override, the prefixes that
/// changed, borders, and random addresses up to [`N_SAMPLES`]; besides, packets for every row of services and
/// packets that open connections. The same images give the same samples.
pub fn samples(image: &Image, previous: Option<&Image>, now: Instant) -> Vec<Sample> {
    let mut choice = Choice::new(image);
    let location = &image.location;
    for (addr, prefix_len) in LAN_V4 {
        choice.add_around(addr, addr.last_of(prefix_len));
    }
    for (addr, prefix_len) in LAN_V6 {
        choice.add_around(addr, addr.last_of(prefix_len));
    }
    let before: &[Override] = previous.map_or(&[], |previous| &previous.overrides);
    for entry in image.overrides.iter().chain(before) {
        match entry.prefix {
            ipnet::IpNet::V4(prefix) => {
                choice.add_around(u32::from(prefix.network()), prefix.broadcast().into());
            }
            ipnet::IpNet::V6(prefix) => {
                choice.add_around(u128::from(prefix.network()), prefix.broadcast().into());
            }
        }
    }

    let mut changed_prefixes = Reservoir::new(N_CHANGED);
    let before = previous.map(|previous| &previous.location);
    if before.is_none_or(|before| before.digest != location.digest) {
        let (v4, v6) = before.map_or((&[][..], &[][..]), |before| {
            (&before.prefixes_v4, &before.prefixes_v6)
        });
        let mut random = choice.random.clone();
        changed(v4, &location.prefixes_v4, |ends| {
            changed_prefixes.offer(ends, &mut random)
        });
        changed(v6, &location.prefixes_v6, |ends| {
            changed_prefixes.offer(ends, &mut random)
        });
    }
    for (first, last) in changed_prefixes.kept {
        choice.add(first);
        choice.add(last);
    }

    let n_classes = location.classes.len();
    choice.add_runs(&location.ranges_v4, n_classes);
    choice.add_runs(&location.ranges_v6, n_classes);
    choice.fill(image);
    let mut packets: Vec<(IpAddr, Heading)> = choice
        .addresses
        .into_iter()
        .map(|address| (address, Heading::default()))
        .collect();
    let of_class = OfClass::new(image, &packets);
    packets.extend(for_rows(image, &of_class));
    packets.extend(opening(image, &of_class));
    packets
        .into_iter()
        .map(|(address, heading)| {
            let query = Query {
                heading,
                address,
                now,
                failsafe: &[],
                runtime: &[],
            };
            Sample {
                address,
                expected: image.sampled(&query),
                heading: query.heading,
            }
        })
        .collect()
}

/// An address of each family for each class, which no override covers.
struct OfClass {
    v4: Vec<Option<IpAddr>>,
    v6: Vec<Option<IpAddr>>,
}

impl OfClass {
    fn new(image: &Image, packets: &[(IpAddr, Heading)]) -> Self {
        let n_classes = image.location.classes.len();
        let mut of_class = Self {
            v4: vec![None; n_classes],
            v6: vec![None; n_classes],
        };
        for (address, _) in packets {
            let judged = image.judged_source(*address);
            if image.covering(judged).next().is_some() {
                continue;
            }
            let class = usize::from(location_of(&image.location, judged));
            let known = if address.is_ipv4() {
                &mut of_class.v4
            } else {
                &mut of_class.v6
            };
            if let Some(known) = known.get_mut(class) {
                known.get_or_insert(*address);
            }
        }
        of_class
    }

    fn addresses(&self, class: u16, is_v4: bool) -> Option<IpAddr> {
        let known = if is_v4 { &self.v4 } else { &self.v6 };
        known.get(usize::from(class)).copied().flatten()
    }
}

/// For each set of services, packets from every class that fares otherwise than in row 0, and from a few that do not.
fn for_rows(image: &Image, of_class: &OfClass) -> Vec<(IpAddr, Heading)> {
    let mut packets = Vec::new();
    let n_classes = image.location.classes.len() as u16;
    for (set, examples) in &image.scopes.examples {
        let Ok(idx) = image.scopes.rows.binary_search_by_key(set, |(set, _)| *set) else {
            continue;
        };
        let row = image.scopes.rows[idx].1;
        let cell = |row, class| image.matrix.cell(row, profile::ALL_ORDERS, class);
        let differs = |class: &u16| cell(row, *class) != cell(0, *class);
        let others = (0..n_classes)
            .filter(|class| !differs(class))
            .take(N_SAME_PER_ROW);
        for class in (0..n_classes).filter(differs).chain(others) {
            for (is_v4, example) in [(true, &examples.v4), (false, &examples.v6)] {
                if let (Some(heading), Some(address)) = (example, of_class.addresses(class, is_v4)) {
                    packets.push((address, heading.clone()));
                }
            }
        }
    }
    packets
}

/// Where anything drains, packets that open connections, by TCP and by QUIC.
fn opening(image: &Image, of_class: &OfClass) -> Vec<(IpAddr, Heading)> {
    let is_drain = |decision: Decision| decision.action() == Action::Drain;
    let of_stages = image.stages.iter().flat_map(|stages| stages.decision);
    let of_cells = image
        .matrix
        .cells
        .iter()
        .filter(|cell| cell.stages_idx().is_none());
    let drains =
        of_stages.map(Decision).any(is_drain) || of_cells.map(|cell| cell.fixed_decision()).any(is_drain);
    if !drains {
        return Vec::new();
    }
    let mut packets = Vec::new();
    for address in of_class.v4.iter().chain(&of_class.v6).flatten() {
        for (protocol, opens) in [(TCP, true), (TCP, false), (UDP, true)] {
            let heading = Heading {
                protocol: Some(protocol),
                port: Some(HTTPS),
                opens,
                ..Heading::default()
            };
            packets.push((*address, heading));
        }
    }
    packets
}

/// Whether packets from an address are judged by where it is. The others are answered before that (link-local,
/// unspecified, addresses that a host may take for martians), or are no source of a packet of their family (IPv4
/// addresses written as IPv6 ones).
pub fn is_judged_by_place(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !address.is_link_local() && !address.is_loopback() && address != Ipv4Addr::UNSPECIFIED
        }
        IpAddr::V6(address) => {
            let high = u128::from(address) >> 32;
            let is_martian = embedded_v4(address, &[]).is_some_and(|embedded| embedded.is_martian());
            !address.is_unicast_link_local() && high != 0 && high != 0xffff && !is_martian
        }
    }
}

struct Choice {
    addresses: BTreeSet<IpAddr>,
    random: Random,
}

impl Choice {
    fn new(image: &Image) -> Self {
        let mut seed = [0; 8];
        seed.copy_from_slice(&image.digest[..8]);
        Self {
            addresses: BTreeSet::new(),
            random: Random(u64::from_be_bytes(seed)),
        }
    }

    fn add(&mut self, address: IpAddr) {
        if is_judged_by_place(address) {
            self.addresses.insert(address);
        }
    }

    /// Adds both ends of a prefix and what lies beside them.
    fn add_around<A: Address>(&mut self, first: A, last: A) {
        let around = [first.previous(), Some(first), Some(last), last.next()];
        for address in around.into_iter().flatten() {
            self.add(address.to_ip());
        }
    }

    /// Adds addresses out of runs of every class, and the borders of random runs.
    fn add_runs<A: Address>(&mut self, ranges: &Ranges<A>, n_classes: usize) {
        let mut of_class: Vec<Reservoir<usize>> =
            (0..n_classes).map(|_| Reservoir::new(N_RUNS_PER_CLASS)).collect();
        for (idx, (_, class)) in ranges.iter().enumerate() {
            of_class[usize::from(class)].offer(idx, &mut self.random);
        }
        let runs: Vec<usize> = of_class.into_iter().flat_map(|runs| runs.kept).collect();
        for idx in runs {
            let Some((first, last, _)) = ranges.run(idx) else {
                continue;
            };
            let address = self.random.between(first, last);
            self.add(address.to_ip());
        }
        for _ in 0..N_BORDERS.min(ranges.len()) {
            let idx = self.random.below(ranges.len() as u128) as usize;
            if let Some((first, last, _)) = ranges.run(idx) {
                self.add_around(first, last);
            }
        }
    }

    /// Adds random addresses, half of each family, of IPv6 mostly from where the data are.
    fn fill(&mut self, image: &Image) {
        let ranges = &image.location.ranges_v6;
        while self.addresses.len() < N_SAMPLES {
            let number = self.random.next();
            self.add(Ipv4Addr::from(number as u32).into());
            let run = self.random.below(ranges.len().max(1) as u128) as usize;
            let (first, last, _) = ranges.run(run).unwrap_or((0, u128::MAX, 0));
            let address = self.random.between(first, last);
            self.add(Ipv6Addr::from(address).into());
        }
    }
}

/// Calls `on_change` with both ends of each prefix that is in one of two tables only, or differs in its class.
fn changed<A: Address>(
    before: &[Prefix<A>],
    after: &[Prefix<A>],
    mut on_change: impl FnMut((IpAddr, IpAddr)),
) {
    let key = |prefix: &Prefix<A>| (prefix.addr, prefix.prefix_len);
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let next = match (before.peek(), after.peek()) {
            (None, None) => return,
            (Some(old), Some(new)) if old == new => {
                before.next();
                after.next();
                continue;
            }
            (Some(old), Some(new)) if key(old) == key(new) => {
                before.next();
                after.next()
            }
            (Some(old), Some(new)) if key(old) > key(new) => after.next(),
            (None, Some(_)) => after.next(),
            (Some(_), _) => before.next(),
        };
        if let Some(prefix) = next {
            on_change((
                prefix.addr.to_ip(),
                prefix.addr.last_of(prefix.prefix_len).to_ip(),
            ));
        }
    }
}

/// Keeps some of what it is offered, each with the same chance.
struct Reservoir<T> {
    n_kept: usize,
    n_offered: usize,
    kept: Vec<T>,
}

impl<T> Reservoir<T> {
    fn new(n_kept: usize) -> Self {
        Self {
            n_kept,
            n_offered: 0,
            kept: Vec::new(),
        }
    }

    fn offer(&mut self, item: T, random: &mut Random) {
        self.n_offered += 1;
        if self.kept.len() < self.n_kept {
            self.kept.push(item);
            return;
        }
        let idx = random.below(self.n_offered as u128) as usize;
        if let Some(kept) = self.kept.get_mut(idx) {
            *kept = item;
        }
    }
}

/// SplitMix64: small, and the same on every machine. Not for secrets.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `n`, which is not 0.
    fn below(&mut self, n: u128) -> u128 {
        (u128::from(self.next()) << 64 | u128::from(self.next())) % n
    }

    fn between<A: Address>(&mut self, first: A, last: A) -> A {
        let span = last.to_number() - first.to_number();
        let offset = match span.checked_add(1) {
            Some(n) => self.below(n),
            None => u128::from(self.next()) << 64 | u128::from(self.next()),
        };
        A::from_number(first.to_number() + offset)
    }
}
