//! Look-ups in a row: what one costs, for each engine of the location tables. Run by BPF_PROG_TEST_RUN only.
//!
//! Each run takes the next batch of addresses and adds up their classes, so that nothing is left out; the sum is the
//! return value, by which the bench sees that the engines agree.

use aya_ebpf::{
    btf_maps::{Array, LpmTrie, lpm_trie::Key},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use probe_common::{
    ClassValue,
    index::{self, BLOCK_WORDS, Block, Page, block_in_page, page_of},
};

/// Look-ups of a run.
const N_LOOKUPS: usize = 64;
/// Batches that runs take in turn.
const N_BATCHES: u32 = 1 << 14;
/// Returned if a map has not what it should.
const FAILED: u32 = u32::MAX;

/// Addresses as two numbers each; of IPv4 only the second counts.
type Batch = [u64; 2 * N_LOOKUPS];

#[btf_map]
static BATCHES: Array<Batch, { N_BATCHES as usize }> = Array::new();

#[btf_map]
static NEXT_BATCH: Array<u32, 1> = Array::new();

/// Size by the loader, like those below.
#[btf_map]
static TRIE_V4: LpmTrie<[u8; 4], ClassValue, 1> = LpmTrie::new();

#[btf_map]
static TRIE_V6: LpmTrie<[u8; 16], ClassValue, 1> = LpmTrie::new();

#[btf_map]
static PAGES: Array<Page, 1> = Array::new();

/// The loop and the addresses alone.
#[xdp]
pub fn lookup_none(_ctx: XdpContext) -> u32 {
    sum(|[high, low]| Some((high ^ low) as u16))
}

#[xdp]
pub fn lookup_trie_v4(_ctx: XdpContext) -> u32 {
    sum(|[_, low]| {
        let found = TRIE_V4.get(&Key::new(32, (low as u32).to_be_bytes()));
        Some(found.map_or(0, |value| value.class))
    })
}

#[xdp]
pub fn lookup_trie_v6(_ctx: XdpContext) -> u32 {
    sum(|[high, low]| {
        let mut address = [0; 16];
        address[..8].copy_from_slice(&high.to_be_bytes());
        address[8..].copy_from_slice(&low.to_be_bytes());
        let found = TRIE_V6.get(&Key::new(128, address));
        Some(found.map_or(0, |value| value.class))
    })
}

#[xdp]
pub fn lookup_index_v4(_ctx: XdpContext) -> u32 {
    sum(|[_, low]| {
        index::v4::class(low as u32, |idx| {
            let block = idx / BLOCK_WORDS as u32;
            let page = PAGES.get(page_of(block))?;
            Some(page[block_in_page(block)].words[idx as usize % BLOCK_WORDS])
        })
    })
}

#[xdp]
pub fn lookup_index_v6(_ctx: XdpContext) -> u32 {
    sum(|[high, low]| Some(class_v6(high, low) as u16))
}

/// As in a generation: a function of its own.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn class_v6(high: u64, low: u64) -> u32 {
    index::v6::class(high, low, block).unwrap_or(0).into()
}

#[inline(always)]
fn block(block: u32) -> Option<&'static Block> {
    let page = PAGES.get(page_of(block))?;
    Some(&page[block_in_page(block)])
}

#[inline(always)]
fn sum(class: impl Fn([u64; 2]) -> Option<u16>) -> u32 {
    let Some(next) = NEXT_BATCH.get_ptr_mut(0) else {
        return FAILED;
    };
    // SAFETY: an aligned value of a map that nothing but this program writes, and one run follows the other.
    let idx = unsafe {
        *next = (*next).wrapping_add(1);
        *next & (N_BATCHES - 1)
    };
    let Some(batch) = BATCHES.get(idx) else {
        return FAILED;
    };
    let mut sum = 0u32;
    for idx in 0..N_LOOKUPS {
        match class([batch[2 * idx], batch[2 * idx + 1]]) {
            Some(class) => sum = sum.wrapping_add(class.into()),
            None => return FAILED,
        }
    }
    sum
}
