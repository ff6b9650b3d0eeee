//! Where an address is: its class, by the engine that the generation was loaded with. The other one's code is not in the
//! loaded program.

use aya_ebpf::btf_maps::lpm_trie::Key;
use probe_common::{
    class,
    index::{self, BLOCK_WORDS, Block, block_in_page, page_of},
};
use probe_ebpf::parse::Address;

use crate::generation_maps::{INDEX_V4, INDEX_V6, INDEXED, LOCATION_V4, LOCATION_V6};

/// The class of an address; unknown where no table says anything.
#[inline(always)]
pub fn class_of(address: Address) -> u16 {
    let class = match (address.is_v4(), INDEXED.load()) {
        (true, indexed) if indexed & index::OF_V4 != 0 => {
            index::v4::class(u32::from_be_bytes(address.v4()), word_v4)
        }
        (true, _) => {
            let found = LOCATION_V4.get(&Key::new(32, address.v4()));
            found.map(|value| value.class)
        }
        (false, indexed) if indexed & index::OF_V6 != 0 => {
            let [high, low] = address.halves();
            return cordon_class_v6(high, low) as u16;
        }
        (false, _) => {
            let found = LOCATION_V6.get(&Key::new(128, address.v6()));
            found.map(|value| value.class)
        }
    };
    class.unwrap_or(class::UNKNOWN)
}

/// A function of its own for the verifier, which goes through every step of a look-up.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_class_v6(high: u64, low: u64) -> u32 {
    let class = index::v6::class(u64::from_be(high), u64::from_be(low), block_v6);
    class.unwrap_or(class::UNKNOWN).into()
}

#[inline(always)]
fn word_v4(idx: u32) -> Option<u32> {
    let block = idx / BLOCK_WORDS as u32;
    let page = INDEX_V4.get(page_of(block))?;
    Some(page[block_in_page(block)].words[idx as usize % BLOCK_WORDS])
}

#[inline(always)]
fn block_v6(block: u32) -> Option<&'static Block> {
    let page = INDEX_V6.get(page_of(block))?;
    Some(&page[block_in_page(block)])
}
