//! The location index: the second engine of the location tables, and how an address is looked up in it.
//!
//! A table is a row of 32-bit words, kept in [`Block`]s of 16 words and [`Page`]s of 256 blocks: a page is one element
//! of an array map. Word `i` is word `i % 16` of block `i / 16`. The first [`N_ROOTS`] words are the roots, one for each
//! value of an address's first 16 bits; what they lead to lies behind them.
//!
//! The code below is what the kernel program runs and what the builder's tests run: both give it a way to read a word
//! or a block. It reads nothing that the table does not hold, whatever the table says: a place that is not there
//! gives `None`.

/// Words of a block: one cache line.
pub const BLOCK_WORDS: usize = 16;

crate::shared::shared! {
    /// A block.
    pub struct Block[64] {
        /// Its words, host byte order.
        pub words: [u32; BLOCK_WORDS],
    }
}

/// Blocks of a page.
pub const PAGE_BLOCKS: usize = 256;
/// An element of the map: 16 KiB.
pub type Page = [Block; PAGE_BLOCKS];

/// Bit of [`crate::GenerationMeta::indexed`]: IPv4 addresses are looked up in an index, not in a trie.
pub const OF_V4: u32 = 1;
/// The same for IPv6.
pub const OF_V6: u32 = 2;

/// Words that the first 16 bits of an address lead to.
pub const N_ROOTS: usize = 1 << 16;
/// Bits of an address that the roots take.
pub const ROOT_BITS: u8 = 16;

/// Most pages of a family's table: 256 MiB.
pub const MAX_PAGES: u32 = 1 << 14;

/// The page of a block.
#[inline(always)]
pub const fn page_of(block: u32) -> u32 {
    block / PAGE_BLOCKS as u32
}

/// The place of a block in its page.
#[inline(always)]
pub const fn block_in_page(block: u32) -> usize {
    block as usize % PAGE_BLOCKS
}

/// IPv4: 16, 8 and 8 bits, of which a node has as many as it needs.
pub mod v4 {
    /// Set in a word of the second level that leads to the third.
    pub const DEEPER: u32 = 1 << 31;
    /// Bits of the position of a node's first word.
    pub const BASE_BITS: u32 = 27;
    const BASE: u32 = (1 << BASE_BITS) - 1;

    /// A root, or a word of the second level that leads to the third but for [`DEEPER`]: `bits` (0 to 8) of the address
    /// count in the node whose first word is word `base`.
    pub const fn link(base: u32, bits: u8) -> u32 {
        (8 - bits as u32) << BASE_BITS | base
    }

    /// The class of an address. Every root leads to a node of the second level, if only of one word: so most look-ups
    /// go the same way, and the processor need not guess. Words of the third level hold two classes each.
    #[inline(always)]
    pub fn class(address: u32, word: impl Fn(u32) -> Option<u32>) -> Option<u16> {
        let root = word(address >> 16)?;
        let second = word((root & BASE) + ((address & 0xffff) >> ((root >> BASE_BITS & 0xf) + 8)))?;
        if second & DEEPER == 0 {
            return Some(second as u16);
        }
        let place = (address & 0xff) >> (second >> BASE_BITS & 0xf);
        let pair = word((second & BASE) + (place >> 1))?;
        Some((pair >> ((place & 1) * 16)) as u16)
    }
}

/// IPv6: nodes that take some bits, and lines that are searched.
///
/// A look-up has a window: the bits of the address's first or last half that no node has taken yet, left-justified. A
/// **node** takes 4 to 16 bits and has a word for each value of them. A **line** is one block: word 0 is unused, words
/// 1 to 7 are values of the window's first 32 bits in ascending order, and the words from 8 on lead on, word `8 + n` if
/// `n` of the values are at most the window's. Lines that lead to lines with the same window are a B-tree.
pub mod v6 {
    use super::Block;

    /// Values of a line.
    pub const LINE_VALUES: usize = 7;
    /// Nodes and lines that a look-up goes through, at most.
    pub const MAX_STEPS: usize = 32;

    /// Bits of the position of a node's or line's first block.
    pub const BASE_BITS: u32 = 24;
    const BASE: u32 = (1 << BASE_BITS) - 1;
    /// Not set: the word is a class.
    const LEADS_ON: u32 = 1 << 31;
    const IS_LINE: u32 = 1 << 30;
    const SKIPS_32: u32 = 1 << 29;
    const TO_LOW_HALF: u32 = 1 << 28;

    /// What becomes of the window before a node or line is asked.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Window {
        /// It stays.
        Same,
        /// The 32 bits that a line has looked at are taken.
        Skips32,
        /// The address's last half follows.
        LowHalf,
    }

    impl Window {
        const fn bits(self) -> u32 {
            match self {
                Self::Same => 0,
                Self::Skips32 => SKIPS_32,
                Self::LowHalf => TO_LOW_HALF,
            }
        }
    }

    /// A word that leads to the line at block `base`.
    pub const fn line(base: u32, window: Window) -> u32 {
        LEADS_ON | IS_LINE | window.bits() | base
    }

    /// A word that leads to the node of `bits` (4 to 16) at block `base`.
    pub const fn node(base: u32, bits: u8, window: Window) -> u32 {
        LEADS_ON | window.bits() | (bits as u32 - 1) << BASE_BITS | base
    }

    /// The class of an address, by its two halves.
    #[inline(always)]
    pub fn class<'a>(high: u64, low: u64, block: impl Fn(u32) -> Option<&'a Block>) -> Option<u16> {
        let root = (high >> 48) as u32;
        let mut word = block(root / 16)?.words[root as usize % 16];
        let mut window = high << 16;
        for _ in 0..=MAX_STEPS {
            if word & LEADS_ON == 0 {
                return Some(word as u16);
            }
            if word & TO_LOW_HALF != 0 {
                window = low;
            }
            window <<= (word & SKIPS_32) >> 24;
            let base = word & BASE;
            if word & IS_LINE != 0 {
                word = step(block(base)?, window);
            } else {
                let bits = (word >> BASE_BITS & 0xf) + 1;
                let place = (window >> (64 - bits)) as u32;
                word = block(base + (place >> 4))?.words[place as usize & 0xf];
                window <<= bits;
            }
        }
        None
    }

    /// Where a line leads. Seven subtractions instead of three comparisons: nothing to guess for the processor.
    #[inline(always)]
    fn step(line: &Block, window: u64) -> u32 {
        let wanted = window >> 32;
        let mut n = 0;
        let mut idx = 1;
        while idx <= LINE_VALUES {
            // The sign bit: 1 where the value is at most the window's.
            n += (line.words[idx] as u64).wrapping_sub(wanted + 1) >> 63;
            idx += 1;
        }
        line.words[8 + (n & 7) as usize]
    }
}
