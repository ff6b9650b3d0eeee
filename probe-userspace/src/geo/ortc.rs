//! The smallest prefix table for a run table.
//!
//! Optimal Routing Table Constructor: Draves, King, Venkatachary, Zill, "Constructing optimal IP routing tables",
//! INFOCOM 1999. Every node of the binary trie over the runs gets the set of classes with which its subtree needs
//! the fewest entries: bottom up, the intersection of its children's sets, or their union where that is empty.
//! Then, top down, a node whose inherited class is not in its set gets an entry. "No entry" at the root means
//! class unknown, and unknown is a class like any other below it, so a hole inside a country is an entry too.
//!
//! The trie is never built as such: its leaves are read off the runs, and only inner nodes are kept.

use std::ops::Range;

use probe_common::class;

use super::{address::Address, location::Prefix, ranges::Ranges};

/// Candidates kept for a node. Any subset of the optimal set gives a correct table, only a larger one; the limit
/// bounds time and memory for tables with tens of thousands of classes.
const MAX_CANDIDATES: usize = 128;

/// A subtree: an inner node by its index, or a leaf by its class.
#[derive(Clone, Copy)]
enum Subtree {
    Inner(u32),
    Leaf(u16),
}

struct Inner {
    left: Subtree,
    right: Subtree,
    /// Where its candidates start in `Trie::candidates`.
    start: usize,
    n_candidates: u16,
}

struct Trie {
    inner: Vec<Inner>,
    /// Candidates of all inner nodes, sorted within each. Before them stands every class at its own index, so that
    /// the one candidate of a leaf is found like those of an inner node.
    candidates: Vec<u16>,
}

/// The prefixes, in the order of their addresses, shorter ones first, that give each address the class it has in
/// `ranges`, when an address that no prefix covers is of class unknown.
pub fn prefixes<A: Address>(ranges: &Ranges<A>) -> Vec<Prefix<A>> {
    let gap_before_first = ranges.run(0).is_none_or(|(first, _, _)| first != A::FIRST);
    let runs: Vec<(A, u16)> = gap_before_first
        .then_some((A::FIRST, class::UNKNOWN))
        .into_iter()
        .chain(ranges.iter())
        .collect();
    let mut trie = Trie {
        inner: Vec::with_capacity(runs.len()),
        candidates: (0..=u16::MAX).collect(),
    };
    let root = trie.build(&mut runs.as_slice(), A::FIRST, 0);
    let mut table = Vec::new();
    trie.emit(root, A::FIRST, 0, class::UNKNOWN, &mut table);
    table
}

impl Trie {
    /// Builds the subtree of a prefix. `runs` starts with a run at or before `addr`, and moves on with the
    /// addresses.
    fn build<A: Address>(&mut self, runs: &mut &[(A, u16)], addr: A, prefix_len: u8) -> Subtree {
        while runs.len() > 1 && runs[1].0 <= addr {
            *runs = &runs[1..];
        }
        if runs.len() < 2 || runs[1].0 > addr.last_of(prefix_len) {
            return Subtree::Leaf(runs[0].1);
        }
        let left = self.build(runs, addr, prefix_len + 1);
        let right = self.build(runs, addr.with_bit(prefix_len), prefix_len + 1);
        let start = self.candidates.len();
        self.combine(self.candidates_of(left), self.candidates_of(right));
        self.inner.push(Inner {
            left,
            right,
            start,
            n_candidates: (self.candidates.len() - start) as u16,
        });
        Subtree::Inner(self.inner.len() as u32 - 1)
    }

    /// Where the candidates of a subtree stand.
    fn candidates_of(&self, subtree: Subtree) -> Range<usize> {
        match subtree {
            Subtree::Leaf(class) => usize::from(class)..usize::from(class) + 1,
            Subtree::Inner(idx) => {
                let inner = &self.inner[idx as usize];
                inner.start..inner.start + usize::from(inner.n_candidates)
            }
        }
    }

    /// Appends the intersection of two candidate sets, or their union if it is empty: merges of sorted stretches.
    fn combine(&mut self, left: Range<usize>, right: Range<usize>) {
        let start = self.candidates.len();
        let (mut i, mut j) = (left.start, right.start);
        while i < left.end && j < right.end {
            let (a, b) = (self.candidates[i], self.candidates[j]);
            if a == b {
                self.candidates.push(a);
            }
            i += usize::from(a <= b);
            j += usize::from(b <= a);
        }
        if self.candidates.len() > start {
            return;
        }
        let (mut i, mut j) = (left.start, right.start);
        while (i < left.end || j < right.end) && self.candidates.len() - start < MAX_CANDIDATES {
            let from_left = j == right.end || i < left.end && self.candidates[i] < self.candidates[j];
            let taken = if from_left { &mut i } else { &mut j };
            self.candidates.push(self.candidates[*taken]);
            *taken += 1;
        }
    }

    /// Appends the entries of a subtree whose addresses would have the class `inherited` without them.
    fn emit<A: Address>(
        &self,
        subtree: Subtree,
        addr: A,
        prefix_len: u8,
        inherited: u16,
        table: &mut Vec<Prefix<A>>,
    ) {
        let candidates = &self.candidates[self.candidates_of(subtree)];
        let chosen = match candidates.binary_search(&inherited) {
            Ok(_) => inherited,
            Err(_) => candidates[0],
        };
        if chosen != inherited {
            table.push(Prefix {
                addr,
                prefix_len,
                class: chosen,
            });
        }
        if let Subtree::Inner(idx) = subtree {
            let inner = &self.inner[idx as usize];
            self.emit(inner.left, addr, prefix_len + 1, chosen, table);
            self.emit(
                inner.right,
                addr.with_bit(prefix_len),
                prefix_len + 1,
                chosen,
                table,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longest match by looking at every entry.
    fn class_by_prefixes<A: Address>(table: &[Prefix<A>], address: A) -> u16 {
        table
            .iter()
            .filter(|prefix| prefix.addr <= address && address <= prefix.addr.last_of(prefix.prefix_len))
            .max_by_key(|prefix| prefix.prefix_len)
            .map_or(class::UNKNOWN, |prefix| prefix.class)
    }

    fn table(runs: &[(u32, u16)]) -> Vec<Prefix<u32>> {
        let mut ranges = Ranges::default();
        for (start, class) in runs {
            ranges.push(*start, *class);
        }
        prefixes(&ranges)
    }

    #[test]
    fn nothing_known_needs_no_entry_and_one_class_needs_one() {
        assert_eq!(table(&[]), []);
        assert_eq!(table(&[(0, class::UNKNOWN)]), []);
        let whole = Prefix {
            addr: 0,
            prefix_len: 0,
            class: 5,
        };
        assert_eq!(table(&[(0, 5)]), [whole]);
    }

    #[test]
    fn a_hole_is_cheaper_as_an_exception() {
        let table = table(&[
            (0x0a00_0000, 2),
            (0x0a01_0000, 0),
            (0x0a01_0100, 2),
            (0x0b00_0000, 0),
        ]);
        assert_eq!(
            table.len(),
            2,
            "10/8 and the unknown 10.1.0.0/24 inside: {table:?}"
        );
    }

    /// All tables of four classes over the last eight addresses of the family, against the fewest entries that
    /// any table can have (dynamic programming over inherited classes), and address by address.
    #[test]
    fn small_tables_are_exact_and_minimal() {
        const N_CLASSES: u16 = 3;
        fn fewest(classes: &[u16], inherited: u16) -> usize {
            if let [class] = classes {
                return usize::from(*class != inherited);
            }
            let (left, right) = classes.split_at(classes.len() / 2);
            (0..N_CLASSES)
                .map(|chosen| usize::from(chosen != inherited) + fewest(left, chosen) + fewest(right, chosen))
                .min()
                .unwrap()
        }
        let base = u32::MAX - 7;
        for code in 0..u32::from(N_CLASSES).pow(8) {
            let classes: Vec<u16> = (0..8)
                .map(|idx| (code / u32::from(N_CLASSES).pow(idx) % u32::from(N_CLASSES)) as u16)
                .collect();
            let mut ranges = Ranges::default();
            ranges.push(0, class::UNKNOWN);
            for (address, class) in (base..=u32::MAX).zip(&classes) {
                ranges.push(address, *class);
            }
            let table = prefixes(&ranges);
            for (address, class) in (base..=u32::MAX).zip(&classes) {
                assert_eq!(
                    class_by_prefixes(&table, address),
                    *class,
                    "{classes:?} at {address:#x}"
                );
            }
            assert_eq!(class_by_prefixes(&table, base - 1), class::UNKNOWN, "{classes:?}");
            assert_eq!(table.len(), fewest(&classes, class::UNKNOWN), "{classes:?}");
        }
    }

    /// More classes than candidates are kept for a node.
    #[test]
    fn many_classes_stay_exact() {
        let mut ranges = Ranges::default();
        for idx in 0..4096u128 {
            ranges.push(idx << 100, (idx * 7919 % 1021) as u16);
        }
        let table = prefixes(&ranges);
        for idx in 0..4096u128 {
            let expected = (idx * 7919 % 1021) as u16;
            assert_eq!(class_by_prefixes(&table, idx << 100), expected);
            assert_eq!(class_by_prefixes(&table, (idx << 100).last_of(28)), expected);
        }
    }
}
