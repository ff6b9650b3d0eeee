//! The IPv6 index.

use probe_common::index::{
    BLOCK_WORDS, N_ROOTS, ROOT_BITS,
    v6::{LINE_VALUES, MAX_STEPS, Window, line, node},
};

use super::{TooLarge, arena::Arena};
use crate::geo::{address::Address as _, ranges::Ranges};

/// Bits of each half of an address.
const HALF: u8 = 64;
/// Bits of the window that a line looks at.
const LINE_BITS: u8 = 32;
/// Ways out of a line.
const LINE_WAYS: usize = LINE_VALUES + 1;
/// Bits of the smallest node: it fills a block.
const MIN_NODE_BITS: u8 = 4;
/// Bits of the largest node.
const MAX_NODE_BITS: u8 = 16;
/// How many more places than parts a node has, as a power of two: fewer parts in each place, more memory.
const NODE_SPREAD: u32 = 2;
/// Runs for which a node may be as large as it can be.
const MANY: usize = 4096;
/// A node that leaves more than this part of the runs in one place is no better than a line.
const WORST_SHARE: usize = 4;

/// Where a look-up goes on.
#[derive(Clone, Copy)]
enum Way {
    Class(u16),
    /// A line or node, and how many steps follow at most, its own included.
    Line {
        base: u32,
        steps: usize,
    },
    Node {
        base: u32,
        bits: u8,
        steps: usize,
    },
}

impl Way {
    fn word(self, window: Window) -> u32 {
        match self {
            Self::Class(class) => class.into(),
            Self::Line { base, .. } => line(base, window),
            Self::Node { base, bits, .. } => node(base, bits, window),
        }
    }

    fn steps(self) -> usize {
        match self {
            Self::Class(_) => 0,
            Self::Line { steps, .. } | Self::Node { steps, .. } => steps,
        }
    }
}

/// A part of a prefix by what a line can see of it: it begins where the window's first 32 bits have this value.
#[derive(Clone, Copy)]
struct Part {
    value: u32,
    way: Way,
    window: Window,
}

struct Builder<'a> {
    starts: &'a [u128],
    classes: &'a [u16],
    arena: Arena,
}

pub(super) fn build(ranges: &Ranges<u128>) -> Result<Vec<u32>, TooLarge> {
    let (starts, classes) = ranges.whole_space();
    let mut builder = Builder {
        starts: &starts,
        classes: &classes,
        arena: Arena::new(N_ROOTS),
    };
    let mut idx = 0;
    for root in 0..N_ROOTS {
        let first = (root as u128) << (128 - ROOT_BITS);
        let last = first.last_of(ROOT_BITS);
        idx = builder.run_at(idx, first);
        let end = builder.run_at(idx, last);
        let way = builder.prefix(first, ROOT_BITS, idx, end)?;
        if way.steps() > MAX_STEPS {
            return Err(TooLarge::Steps);
        }
        builder.arena.set(root, way.word(Window::Same));
        idx = end;
    }
    Ok(builder.arena.into_words())
}

impl Builder<'_> {
    /// The run that an address is in, which is run `from` or a later one.
    fn run_at(&self, from: usize, address: u128) -> usize {
        // Most are near: look further and further away.
        let mut width = 1;
        while self
            .starts
            .get(from + width)
            .is_some_and(|start| *start <= address)
        {
            width *= 2;
        }
        let near = &self.starts[from + 1..(from + width).min(self.starts.len()).max(from + 1)];
        from + near.partition_point(|start| *start <= address)
    }

    /// The way into a prefix, whose addresses are in the runs from `begin` to `end`.
    fn prefix(&mut self, first: u128, prefix_len: u8, begin: usize, end: usize) -> Result<Way, TooLarge> {
        if begin == end {
            return Ok(Way::Class(self.classes[begin]));
        }
        let half_end = if prefix_len < HALF { HALF } else { 2 * HALF };
        if let Some(bits) = self.node_bits(first, prefix_len, half_end, begin, end) {
            return self.node(first, prefix_len, half_end, bits, begin, end);
        }
        let parts = self.parts(first, prefix_len, half_end, begin, end)?;
        match parts.as_slice() {
            // Deeper than a line can see, and nothing else: an empty line's one way.
            [_] | [] => self.line(&parts),
            parts => self.search(parts),
        }
    }

    /// How many bits the node for a prefix should take; `None`: lines are better.
    fn node_bits(&self, first: u128, prefix_len: u8, half_end: u8, begin: usize, end: usize) -> Option<u8> {
        let n_runs = end - begin + 1;
        if n_runs <= LINE_WAYS {
            return None;
        }
        let room = MAX_NODE_BITS.min(half_end - prefix_len);
        let usual = ((n_runs.ilog2() + NODE_SPREAD) as u8).clamp(MIN_NODE_BITS, MAX_NODE_BITS);
        // The most boundaries in one place.
        let most = |bits: u8| {
            let shift = 128 - prefix_len - bits;
            let (mut most, mut n, mut place) = (0, 0, None);
            for start in &self.starts[begin + 1..=end] {
                let its_place = (*start ^ first) >> shift;
                n = if place == Some(its_place) { n + 1 } else { 1 };
                place = Some(its_place);
                most = most.max(n);
            }
            most
        };
        let is_even = |bits: &u8| most(*bits) * WORST_SHARE <= n_runs.max(LINE_WAYS * WORST_SHARE);
        let even = (usual.min(room)..=room.min(usual + 3)).find(is_even);
        // Where many lie close together, a tree of lines would be deeper than what a large node skips.
        let bits = even.or((n_runs > MANY).then_some(room))?;
        (bits >= MIN_NODE_BITS).then_some(bits)
    }

    fn node(
        &mut self,
        first: u128,
        prefix_len: u8,
        half_end: u8,
        bits: u8,
        begin: usize,
        end: usize,
    ) -> Result<Way, TooLarge> {
        let child_len = prefix_len + bits;
        let window = if child_len == half_end {
            Window::LowHalf
        } else {
            Window::Same
        };
        let mut words = Vec::with_capacity(1 << bits);
        let mut steps = 0;
        let mut idx = begin;
        for place in 0..1u128 << bits {
            let first = first | place << (128 - child_len);
            idx = self.run_at(idx, first);
            let last = self.run_at(idx, first.last_of(child_len)).min(end);
            let way = self.prefix(first, child_len, idx, last)?;
            steps = steps.max(way.steps());
            words.push(way.word(window));
            idx = last;
        }
        let base = self.arena.place(&words)? / BLOCK_WORDS as u32;
        Ok(Way::Node {
            base,
            bits,
            steps: steps + 1,
        })
    }

    /// What a line sees of a prefix: where its runs begin, and one part for each value of the window with boundaries that
    /// lie deeper.
    fn parts(
        &mut self,
        first: u128,
        prefix_len: u8,
        half_end: u8,
        begin: usize,
        end: usize,
    ) -> Result<Vec<Part>, TooLarge> {
        let seen_len = half_end.min(prefix_len + LINE_BITS);
        let deeper = if seen_len == half_end {
            Window::LowHalf
        } else {
            Window::Skips32
        };
        let value_of = |address: u128| ((address << prefix_len) >> (128 - LINE_BITS)) as u32;
        let whole = |value: u32, class: u16| Part {
            value,
            way: Way::Class(class),
            window: Window::Same,
        };
        let mut parts = vec![whole(0, self.classes[begin])];
        let mut idx = begin + 1;
        while idx <= end {
            let start = self.starts[idx];
            let seen = start & !(u128::MAX.checked_shr(seen_len.into()).unwrap_or(0));
            let last = seen.last_of(seen_len);
            // The run that the last address with this value is in.
            let after = self.run_at(idx, last);
            let is_whole = start == seen && after == idx;
            if is_whole {
                push(&mut parts, whole(value_of(start), self.classes[idx]));
            } else {
                let begin = if start == seen { idx } else { idx - 1 };
                let way = self.prefix(seen, seen_len, begin, after)?;
                let value = value_of(seen);
                push(
                    &mut parts,
                    Part {
                        value,
                        way,
                        window: deeper,
                    },
                );
                // Not where the next run begins there, nor behind the prefix.
                let next = last.next().filter(|next| {
                    *next <= first.last_of(prefix_len) && self.starts.get(after + 1) != Some(next)
                });
                if let Some(next) = next {
                    push(&mut parts, whole(value_of(next), self.classes[after]));
                }
            }
            idx = after + 1;
        }
        Ok(parts)
    }

    /// The way into parts of which a line, or a tree of lines, finds the one that a window is in.
    fn search(&mut self, parts: &[Part]) -> Result<Way, TooLarge> {
        if parts.len() <= LINE_WAYS {
            return self.line(parts);
        }
        let share = parts.len().div_ceil(LINE_WAYS);
        let shares = parts.chunks(share).map(|share| match share {
            [part] => Ok(*part),
            share => Ok(Part {
                value: share[0].value,
                way: self.search(share)?,
                window: Window::Same,
            }),
        });
        let shares: Vec<Part> = shares.collect::<Result<_, _>>()?;
        self.line(&shares)
    }

    fn line(&mut self, parts: &[Part]) -> Result<Way, TooLarge> {
        let mut words = [0; BLOCK_WORDS];
        // Ways that no value leads to are those of the last part: it also has the values behind the last one.
        for idx in 0..LINE_WAYS {
            let Some(part) = parts.get(idx).or(parts.last()) else {
                break;
            };
            words[LINE_WAYS + idx] = part.way.word(part.window);
            if idx > 0 {
                words[idx] = parts.get(idx).map_or(u32::MAX, |part| part.value);
            }
        }
        let base = self.arena.place(&words)? / BLOCK_WORDS as u32;
        let steps = parts.iter().map(|part| part.way.steps()).max().unwrap_or(0);
        Ok(Way::Line {
            base,
            steps: steps + 1,
        })
    }
}

/// Appends a part; one that begins where the part before it does takes its place.
fn push(parts: &mut Vec<Part>, part: Part) {
    if parts.last().is_some_and(|before| before.value == part.value) {
        parts.pop();
    }
    parts.push(part);
}
