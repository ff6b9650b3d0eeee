//! Runs of addresses to the tables of the `index` engine ([`probe_common::index`]). Pure.
//!
//! IPv4 is a multibit trie of at most three levels: 16 bits, up to 8, up to 8, as many as a node's runs need. IPv6 is a
//! trie whose nodes take as many bits as they have runs for, with lines of eight runs to search at its ends. Both hold
//! all depths, so no look-up is left to a trie behind them; equal parts are kept once.

mod arena;
#[cfg(test)]
mod tests;
mod v4;
mod v6;

use probe_common::index::{BLOCK_WORDS, Block, MAX_PAGES, PAGE_BLOCKS, Page};

use super::ranges::Ranges;

const MAX_MIB: usize = (MAX_PAGES as usize * size_of::<Page>()) >> 20;

/// The tables would be larger, or a look-up longer, than the index allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// More pages than a table may have.
    #[error("it takes more than the {MAX_MIB} MiB that an index may have")]
    Pages,
    /// More steps than a look-up may have.
    #[error("a look-up takes more than {} steps", probe_common::index::v6::MAX_STEPS)]
    Steps,
}

/// The tables of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Whole pages.
    blocks: Vec<Block>,
}

impl Index {
    /// The index of these runs.
    pub fn of_v4(ranges: &Ranges<u32>) -> Result<Self, TooLarge> {
        v4::build(ranges).map(|words| Self::of(&words))
    }

    /// The index of these runs.
    pub fn of_v6(ranges: &Ranges<u128>) -> Result<Self, TooLarge> {
        v6::build(ranges).map(|words| Self::of(&words))
    }

    fn of(words: &[u32]) -> Self {
        let (whole, rest) = words.as_chunks::<BLOCK_WORDS>();
        let n_blocks = words.len().div_ceil(BLOCK_WORDS).next_multiple_of(PAGE_BLOCKS);
        let mut blocks = Vec::with_capacity(n_blocks);
        blocks.extend(whole.iter().map(|words| Block { words: *words }));
        blocks.resize(n_blocks, Block::default());
        if !rest.is_empty() {
            blocks[whole.len()].words[..rest.len()].copy_from_slice(rest);
        }
        Self { blocks }
    }

    /// The blocks, of which the last pages' may be empty.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The elements of the map.
    pub fn pages(&self) -> &[Page] {
        self.blocks.as_chunks::<PAGE_BLOCKS>().0
    }
}
