//! The IPv4 index.

use probe_common::index::{
    N_ROOTS,
    v4::{DEEPER, link},
};

use super::{TooLarge, arena::Arena};
use crate::geo::{address::Address as _, ranges::Ranges};

/// Runs, read in ascending order.
struct Runs<'a> {
    starts: &'a [u32],
    classes: &'a [u16],
    /// The run that was read last.
    idx: usize,
}

/// What a prefix is.
enum Part {
    /// Of one class.
    Whole(u16),
    /// Of several; a table of so many bits below the prefix tells them apart.
    Split(u8),
}

impl Runs<'_> {
    /// What the prefix of this length at `first` is; it begins at or after the one asked for last.
    fn part(&mut self, first: u32, prefix_len: u8) -> Part {
        while self.starts.get(self.idx + 1).is_some_and(|start| *start <= first) {
            self.idx += 1;
        }
        let last = first.last_of(prefix_len);
        let inside = self.starts[self.idx + 1..]
            .iter()
            .take_while(|start| **start <= last);
        // The deepest boundary inside: the one with the fewest zero bits at its end.
        match inside.map(|start| 32 - start.trailing_zeros() as u8).max() {
            None => Part::Whole(self.classes[self.idx]),
            Some(depth) => Part::Split(depth - prefix_len),
        }
    }
}

pub(super) fn build(ranges: &Ranges<u32>) -> Result<Vec<u32>, TooLarge> {
    let (starts, classes) = ranges.whole_space();
    let n_classes = classes.iter().max().map_or(1, |class| usize::from(*class) + 1);
    let mut runs = Runs {
        starts: &starts,
        classes: &classes,
        idx: 0,
    };
    // Behind the roots a word for each class: what the roots of undivided /16s lead to.
    let mut arena = Arena::new(N_ROOTS + n_classes);
    for class in 0..n_classes {
        arena.set(N_ROOTS + class, class as u32);
    }
    let mut node = Vec::with_capacity(256);
    let mut pairs = Vec::with_capacity(128);
    for idx in 0..N_ROOTS {
        let first = (idx as u32) << 16;
        let root = match runs.part(first, 16) {
            Part::Whole(class) => link((N_ROOTS + usize::from(class)) as u32, 0),
            Part::Split(bits) => {
                let bits = bits.min(8);
                node.clear();
                for place in 0..1u32 << bits {
                    let first = first | place << (16 - bits);
                    node.push(second(&mut runs, &mut arena, &mut pairs, first, 16 + bits)?);
                }
                link(arena.place(&node)?, bits)
            }
        };
        arena.set(idx, root);
    }
    Ok(arena.into_words())
}

/// A word of the second level.
fn second(
    runs: &mut Runs<'_>,
    arena: &mut Arena,
    pairs: &mut Vec<u32>,
    first: u32,
    prefix_len: u8,
) -> Result<u32, TooLarge> {
    let bits = match runs.part(first, prefix_len) {
        Part::Whole(class) => return Ok(u32::from(class)),
        Part::Split(bits) => bits,
    };
    pairs.clear();
    let mut class_at = |place: u32| {
        // No boundary lies deeper.
        match runs.part(first | place << (8 - bits), prefix_len + bits) {
            Part::Whole(class) => u32::from(class),
            Part::Split(_) => unreachable!("a part deeper than the deepest boundary"),
        }
    };
    for pair in 0..1u32 << (bits - 1) {
        let left = class_at(2 * pair);
        pairs.push(left | class_at(2 * pair + 1) << 16);
    }
    Ok(DEEPER | link(arena.place(pairs)?, bits))
}
