//! Words of an index while it is built.

use std::collections::HashMap;

use probe_common::index::{BLOCK_WORDS, MAX_PAGES, PAGE_BLOCKS};

use super::TooLarge;

const MAX_WORDS: usize = MAX_PAGES as usize * PAGE_BLOCKS * BLOCK_WORDS;

/// Words, of which equal pieces are kept once.
pub(super) struct Arena {
    words: Vec<u32>,
    /// Position of a piece by its fingerprint: pieces that share one are kept twice.
    pieces: HashMap<u64, u32>,
}

impl Arena {
    /// Starts with so many words that are filled in later.
    pub(super) fn new(n_words: usize) -> Self {
        Self {
            words: vec![0; n_words],
            pieces: HashMap::new(),
        }
    }

    /// The position of a piece, which is put in if it is not there. Its length is a power of two; if it fits a block it
    /// lies in one, else it begins with one.
    pub(super) fn place(&mut self, piece: &[u32]) -> Result<u32, TooLarge> {
        let fingerprint = fingerprint(piece);
        if let Some(known) = self.pieces.get(&fingerprint) {
            let start = *known as usize;
            if self.words.get(start..start + piece.len()) == Some(piece) {
                return Ok(*known);
            }
        }
        let start = self.words.len().next_multiple_of(piece.len().min(BLOCK_WORDS));
        if start + piece.len() > MAX_WORDS {
            return Err(TooLarge::Pages);
        }
        self.words.resize(start, 0);
        self.words.extend_from_slice(piece);
        self.pieces.insert(fingerprint, start as u32);
        Ok(start as u32)
    }

    /// Fills in one of the first words.
    pub(super) fn set(&mut self, idx: usize, word: u32) {
        self.words[idx] = word;
    }

    pub(super) fn into_words(self) -> Vec<u32> {
        self.words
    }
}

/// A hash that need not withstand anybody: what shares one is compared.
fn fingerprint(piece: &[u32]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    piece.iter().fold(piece.len() as u64, |hash, word| {
        (hash ^ u64::from(*word)).wrapping_mul(ODD).rotate_left(27)
    })
}
