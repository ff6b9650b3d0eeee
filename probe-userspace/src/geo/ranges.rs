//! The oracle's table: sorted starts of runs of addresses of one class.

use std::borrow::Cow;

use probe_common::class;

use super::address::Address;

/// Runs of addresses of one class: run `i` goes from `starts[i]` to just before `starts[i + 1]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges<A> {
    starts: Vec<A>,
    classes: Vec<u16>,
}

impl<A: Address> Ranges<A> {
    /// Appends a run; runs come in ascending order, and one of the class of the run before it is merged.
    pub fn push(&mut self, start: A, class: u16) {
        if self.classes.last() != Some(&class) {
            self.starts.push(start);
            self.classes.push(class);
        }
    }

    /// The class of an address; unknown before the first run.
    pub fn class_of(&self, address: A) -> u16 {
        match self.starts.partition_point(|start| *start <= address) {
            0 => class::UNKNOWN,
            after => self.classes[after - 1],
        }
    }

    /// First and last address of the run around an address.
    pub fn run_of(&self, address: A) -> (A, A) {
        let after = self.starts.partition_point(|start| *start <= address);
        let first = after.checked_sub(1).map_or(A::FIRST, |idx| self.starts[idx]);
        (first, self.last_before(after))
    }

    /// Runs as (start, class).
    pub fn iter(&self) -> impl Iterator<Item = (A, u16)> {
        self.starts.iter().copied().zip(self.classes.iter().copied())
    }

    /// Run `idx` as (first, last, class).
    pub fn run(&self, idx: usize) -> Option<(A, A, u16)> {
        Some((
            *self.starts.get(idx)?,
            self.last_before(idx + 1),
            self.classes[idx],
        ))
    }

    /// Starts and classes of the runs, with one for the addresses before the first.
    pub(super) fn whole_space(&self) -> (Cow<'_, [A]>, Cow<'_, [u16]>) {
        match self.starts.first() {
            Some(first) if *first == A::FIRST => (Cow::from(&self.starts), Cow::from(&self.classes)),
            _ => (
                [A::FIRST].iter().chain(&self.starts).copied().collect(),
                [class::UNKNOWN].iter().chain(&self.classes).copied().collect(),
            ),
        }
    }

    /// Number of runs.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is no run.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Gives the addresses from `first` to `last` a class, whatever they had before.
    pub(super) fn overlay(&mut self, first: A, last: A, class: u16) {
        let resumed = last.next().map(|after| (after, self.class_of(after)));
        let old = std::mem::take(self);
        let mut pending = Some(class);
        for (start, old_class) in old.iter() {
            if start >= first
                && let Some(class) = pending.take()
            {
                self.push(first, class);
                if let Some((after, class)) = resumed {
                    self.push(after, class);
                }
            }
            if start < first || start > last {
                self.push(start, old_class);
            }
        }
        if let Some(class) = pending {
            self.push(first, class);
            if let Some((after, class)) = resumed {
                self.push(after, class);
            }
        }
    }

    /// Replaces each class by `new_class(class)` and merges runs that became equal.
    pub(super) fn map_classes(&mut self, new_class: impl Fn(u16) -> u16) {
        let old = std::mem::take(self);
        for (start, class) in old.iter() {
            self.push(start, new_class(class));
        }
        self.starts.shrink_to_fit();
        self.classes.shrink_to_fit();
    }

    fn last_before(&self, idx: usize) -> A {
        self.starts
            .get(idx)
            .and_then(|start| start.previous())
            .unwrap_or(A::LAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(runs: &[(u32, u16)]) -> Ranges<u32> {
        let mut ranges = Ranges::default();
        for (start, class) in runs {
            ranges.push(*start, *class);
        }
        ranges
    }

    #[test]
    fn runs_are_found_at_their_ends() {
        let ranges = ranges(&[(10, 2), (20, 3), (30, 0)]);
        assert_eq!(ranges.class_of(9), class::UNKNOWN);
        assert_eq!(ranges.class_of(10), 2);
        assert_eq!(ranges.class_of(19), 2);
        assert_eq!(ranges.class_of(20), 3);
        assert_eq!(ranges.run_of(25), (20, 29));
        assert_eq!(ranges.run_of(5), (0, 9));
        assert_eq!(ranges.run_of(u32::MAX), (30, u32::MAX));
        assert_eq!(ranges.run(1), Some((20, 29, 3)));
        assert_eq!(ranges.run(3), None);
    }

    /// Every overlay over a small table, compared address by address.
    #[test]
    fn overlay_replaces_exactly_its_addresses() {
        let table = ranges(&[(0, 0), (4, 2), (8, 3), (10, 1), (12, 0)]);
        for first in 0..16u32 {
            for last in first..16 {
                let mut overlaid = table.clone();
                overlaid.overlay(first, last, 1);
                for address in 0..20 {
                    let expected = if (first..=last).contains(&address) {
                        1
                    } else {
                        table.class_of(address)
                    };
                    assert_eq!(
                        overlaid.class_of(address),
                        expected,
                        "{first}..={last} at {address}"
                    );
                }
                assert!(
                    overlaid.iter().is_sorted_by(|a, b| a.0 < b.0 && a.1 != b.1),
                    "sorted and merged"
                );
            }
        }
        let mut whole = table.clone();
        whole.overlay(0, u32::MAX, 9);
        assert_eq!(whole, ranges(&[(0, 9)]));
        let mut empty: Ranges<u32> = Ranges::default();
        empty.overlay(5, 6, 1);
        assert_eq!(empty, ranges(&[(5, 1), (7, 0)]));
    }
}
