//! The index against `prefix-trie` and against the runs that it was built of.

use std::{collections::BTreeMap, env};

use ipnet::{Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use probe_common::{
    class,
    index::{self, BLOCK_WORDS},
};

use super::{Index, TooLarge};
use crate::geo::{address::Address, ranges::Ranges};

/// Tables of each kind and family, and addresses asked of each. Long counts are those that the project promises.
fn counts() -> (usize, usize) {
    match env::var_os("CORDON_TEST_FULL") {
        Some(_) => (1000, 10_000),
        None => (120, 2_000),
    }
}

/// A fixed sequence: splitmix64 (Steele, Lea, Flood, 2014).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn address<A: Address>(&mut self) -> A {
        let wide = u128::from(self.next()) << 64 | u128::from(self.next());
        A::from_number(wide >> (128 - u32::from(A::BITS)))
    }
}

trait Family: Address {
    type Trie;
    fn trie(prefixes: &BTreeMap<(u8, Self), u16>) -> Self::Trie;
    fn class_by_trie(trie: &Self::Trie, address: Self) -> u16;
    fn index(ranges: &Ranges<Self>) -> Result<Index, TooLarge>;
    fn class_by_index(index: &Index, address: Self) -> Option<u16>;
}

impl Family for u32 {
    type Trie = PrefixMap<Ipv4Net, u16>;

    fn trie(prefixes: &BTreeMap<(u8, Self), u16>) -> Self::Trie {
        let net = |len: u8, addr: u32| Ipv4Net::new(addr.into(), len).unwrap();
        prefixes
            .iter()
            .map(|((len, addr), class)| (net(*len, *addr), *class))
            .collect()
    }

    fn class_by_trie(trie: &Self::Trie, address: Self) -> u16 {
        let address = Ipv4Net::new(address.into(), 32).unwrap();
        trie.get_lpm(&address).map_or(class::UNKNOWN, |(_, class)| *class)
    }

    fn index(ranges: &Ranges<Self>) -> Result<Index, TooLarge> {
        Index::of_v4(ranges)
    }

    fn class_by_index(index: &Index, address: Self) -> Option<u16> {
        index::v4::class(address, |idx| {
            let block = index.blocks().get(idx as usize / BLOCK_WORDS)?;
            Some(block.words[idx as usize % BLOCK_WORDS])
        })
    }
}

impl Family for u128 {
    type Trie = PrefixMap<Ipv6Net, u16>;

    fn trie(prefixes: &BTreeMap<(u8, Self), u16>) -> Self::Trie {
        let net = |len: u8, addr: u128| Ipv6Net::new(addr.into(), len).unwrap();
        prefixes
            .iter()
            .map(|((len, addr), class)| (net(*len, *addr), *class))
            .collect()
    }

    fn class_by_trie(trie: &Self::Trie, address: Self) -> u16 {
        let address = Ipv6Net::new(address.into(), 128).unwrap();
        trie.get_lpm(&address).map_or(class::UNKNOWN, |(_, class)| *class)
    }

    fn index(ranges: &Ranges<Self>) -> Result<Index, TooLarge> {
        Index::of_v6(ranges)
    }

    fn class_by_index(index: &Index, address: Self) -> Option<u16> {
        let block = |idx: u32| index.blocks().get(idx as usize);
        index::v6::class((address >> 64) as u64, address as u64, block)
    }
}

/// Prefixes by length and address: a duplicate has the class it was given last.
type Table<A> = BTreeMap<(u8, A), u16>;

fn first_of<A: Address>(address: A, prefix_len: u8) -> A {
    let hosts = A::FIRST.last_of(prefix_len).to_number();
    A::from_number(address.to_number() & !hosts)
}

fn add<A: Address>(table: &mut Table<A>, address: A, prefix_len: u8, class: u16) {
    table.insert((prefix_len, first_of(address, prefix_len)), class);
}

/// The runs of a table: shorter prefixes first, longer ones over them.
fn ranges<A: Address>(table: &Table<A>) -> Ranges<A> {
    let mut ranges = Ranges::default();
    for ((prefix_len, addr), class) in table {
        ranges.overlay(*addr, addr.last_of(*prefix_len), *class);
    }
    ranges
}

/// Anything, anywhere.
fn scattered<A: Family>(rng: &mut Rng, n: u64, n_classes: u64) -> Table<A> {
    let mut table = Table::new();
    for _ in 0..n {
        let prefix_len = rng.below(u64::from(A::BITS) + 1) as u8;
        add(&mut table, rng.address(), prefix_len, rng.below(n_classes) as u16);
    }
    table
}

/// Nested and neighbouring prefixes in few places, at all depths.
fn clustered<A: Family>(rng: &mut Rng, n: u64, n_classes: u64) -> Table<A> {
    let places: Vec<A> = (0..4).map(|_| rng.address()).collect();
    let mut table = Table::new();
    for _ in 0..n {
        let place = places[rng.below(4) as usize].to_number();
        let kept = rng.below(u64::from(A::BITS)) as u8;
        let other: A = rng.address();
        let hosts = A::FIRST.last_of(kept).to_number();
        let address = A::from_number(place & !hosts | other.to_number() & hosts);
        let prefix_len = kept + rng.below(u64::from(A::BITS - kept) + 1) as u8;
        add(&mut table, address, prefix_len, rng.below(n_classes) as u16);
    }
    table
}

/// A prefix of every length around an address, and both halves of some of them.
fn chain<A: Family>(rng: &mut Rng, n_classes: u64) -> Table<A> {
    let address: A = match rng.below(4) {
        0 => A::FIRST,
        1 => A::LAST,
        _ => rng.address(),
    };
    let mut table = Table::new();
    for prefix_len in 0..=A::BITS {
        add(&mut table, address, prefix_len, rng.below(n_classes) as u16);
        if prefix_len > 0 && rng.below(2) == 0 {
            let sibling = first_of(address, prefix_len).to_number() ^ 1 << (A::BITS - prefix_len);
            add(
                &mut table,
                A::from_number(sibling),
                prefix_len,
                rng.below(n_classes) as u16,
            );
        }
    }
    table
}

/// Both ends of every prefix, their neighbours, and addresses from anywhere and from inside of prefixes.
fn addresses<A: Family>(table: &Table<A>, rng: &mut Rng, n: usize) -> Vec<A> {
    let mut addresses = vec![A::FIRST, A::LAST];
    let prefixes: Vec<_> = table.keys().copied().collect();
    for (prefix_len, first) in &prefixes {
        let last = first.last_of(*prefix_len);
        addresses.extend([*first, last]);
        addresses.extend([first.previous(), last.next()].into_iter().flatten());
    }
    while addresses.len() < n {
        let anywhere: A = rng.address();
        addresses.push(anywhere);
        if let Some((prefix_len, first)) = prefixes.get(rng.below(prefixes.len().max(1) as u64) as usize) {
            let hosts = A::FIRST.last_of(*prefix_len).to_number();
            addresses.push(A::from_number(first.to_number() | anywhere.to_number() & hosts));
        }
    }
    addresses
}

fn compare<A: Family>(what: &str, table: &Table<A>, rng: &mut Rng, n_addresses: usize) {
    let trie = A::trie(table);
    let ranges = ranges(table);
    let index = A::index(&ranges).unwrap_or_else(|error| panic!("{what}: {error}: {table:?}"));
    for address in addresses(table, rng, n_addresses) {
        let expected = A::class_by_trie(&trie, address);
        assert_eq!(ranges.class_of(address), expected, "{what}: runs at {address:x?}");
        let got = A::class_by_index(&index, address);
        assert_eq!(
            got,
            Some(expected),
            "{what}: at {:?} of {table:x?}",
            address.to_ip()
        );
    }
}

fn random_tables<A: Family>(seed: u64) {
    let mut rng = Rng(seed);
    let (n_tables, n_addresses) = counts();
    for idx in 0..n_tables {
        let n = 1 << rng.below(9);
        let n_classes = [2, 3, 250, 65_536][rng.below(4) as usize];
        let (what, table) = match idx % 4 {
            0 => ("scattered", scattered::<A>(&mut rng, n, n_classes)),
            1 | 2 => ("clustered", clustered(&mut rng, n, n_classes)),
            _ => ("chain", chain(&mut rng, n_classes)),
        };
        compare(what, &table, &mut rng, n_addresses);
    }
}

#[test]
fn random_v4_tables_are_exact() {
    random_tables::<u32>(1);
}

#[test]
fn random_v6_tables_are_exact() {
    random_tables::<u128>(2);
}

/// No run, one run of everything, one address at either end.
fn smallest_tables<A: Family>() {
    let mut rng = Rng(3);
    let host = |address: A| Table::from([((A::BITS, address), u16::MAX)]);
    for table in [
        Table::new(),
        Table::from([((0, A::FIRST), 7)]),
        host(A::FIRST),
        host(A::LAST),
    ] {
        compare("smallest", &table, &mut rng, 100);
    }
}

#[test]
fn the_smallest_tables_are_exact() {
    smallest_tables::<u32>();
    smallest_tables::<u128>();
}

/// Every address of a /16 of its own class: all 65,536 classes, at the deepest level.
#[test]
fn all_classes_at_full_depth() {
    let (mut v4, mut v6) = (Ranges::default(), Ranges::default());
    for idx in 0..1u32 << 16 {
        v4.push(0xc633_0000 + idx, idx as u16);
        v6.push(0x2001_0db8u128 << 96 | u128::from(idx), idx as u16);
    }
    let (index_v4, index_v6) = (Index::of_v4(&v4).unwrap(), Index::of_v6(&v6).unwrap());
    for idx in 0..1u32 << 16 {
        assert_eq!(
            u32::class_by_index(&index_v4, 0xc633_0000 + idx),
            Some(idx as u16)
        );
        let address = 0x2001_0db8u128 << 96 | u128::from(idx);
        assert_eq!(u128::class_by_index(&index_v6, address), Some(idx as u16));
    }
}

/// In every /20 three addresses at which another class begins: no two nodes are equal, so none is kept for two.
#[test]
fn a_table_that_does_not_fit_is_refused() {
    let mut ranges = Ranges::default();
    let mut rng = Rng(5);
    for idx in 0..1u32 << 20 {
        for place in [0, 77, 131] {
            ranges.push(idx << 12 | place, rng.next() as u16);
        }
    }
    assert_eq!(Index::of_v4(&ranges), Err(TooLarge::Pages));
}

/// Whatever words a table has, a look-up ends and reads nothing outside.
#[test]
fn a_damaged_table_is_read_to_an_end() {
    let mut rng = Rng(4);
    let words: Vec<u32> = (0..1 << 17).map(|_| rng.next() as u32).collect();
    let index = Index::of(&words);
    for _ in 0..100_000 {
        let (v4, v6): (u32, u128) = (rng.address(), rng.address());
        let _ = u32::class_by_index(&index, v4);
        let _ = u128::class_by_index(&index, v6);
    }
}
