//! Checksums over parts of the frame.

use core::hint::black_box;

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use probe_common::checksum::{checksum, words};
use probe_ebpf::packet::{load, store};

const WORD_LEN: usize = 4;
/// The most that is summed up at once: a quote.
pub const SUM_MAX: usize = 96;

/// Sum of the words of a part of the frame, whose length is a multiple of four up to [`SUM_MAX`].
#[inline(always)]
pub fn sum(ctx: &XdpContext, offset: usize, len: usize) -> Option<u32> {
    match cordon_sum(ctx.ctx, offset as u64, len as u64) {
        CUT_OFF => None,
        sum => Some(sum as u32),
    }
}

const CUT_OFF: u64 = u64::MAX;

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_sum(ctx: *mut xdp_md, offset: u64, len: u64) -> u64 {
    let ctx = &XdpContext::new(ctx);
    let mut sum = 0;
    for idx in 0..SUM_MAX / WORD_LEN {
        let at = idx * WORD_LEN;
        if at as u64 >= len {
            break;
        }
        let Some(bytes) = load::<WORD_LEN>(ctx, offset as usize + at) else {
            return CUT_OFF;
        };
        sum += words(&bytes);
    }
    u64::from(sum)
}

/// Writes zeros. Not from a constant: the compiler takes any constant of the same bytes for it, and the loader changes
/// those that are a generation's.
#[inline(always)]
pub fn write_zeros<const N: usize>(ctx: &XdpContext, offset: usize) -> bool {
    let mut idx = 0;
    while idx < N {
        if !store(ctx, offset + idx, &[black_box(0)]) {
            return false;
        }
        idx += 1;
    }
    true
}

/// Writes the checksum of everything that was added up.
#[inline(always)]
pub fn write_checksum(ctx: &XdpContext, offset: usize, sum: u32) -> Option<()> {
    store(ctx, offset, &checksum(sum)).then_some(())
}
