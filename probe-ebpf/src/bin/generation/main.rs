//! The programs of a generation: the one that judges packets, and its sibling that judges samples.
#![no_std]
#![no_main]
#![expect(
    missing_docs,
    reason = "the `xdp` macro makes an undocumented function beside the documented one"
)]

use core::hint::black_box;

use aya_ebpf::{macros::xdp, programs::XdpContext};
use probe_common::{Action, Reason, SampleHeader, SampleVerdict, Verdict, halves};
use probe_ebpf::{
    packet::{adjust_head, read},
    parse::{Address, Facts, FrameOptions, parse},
    record::record,
};

#[path = "../../maps/generation.rs"]
mod generation_maps;
mod judge;
#[path = "../../maps/own.rs"]
mod own_maps;
#[path = "../../maps/shared.rs"]
mod shared_maps;

use generation_maps::{COUNTERS, MARTIANS, META, N_NAT64, NAT64_PREFIXES};
use judge::{Env, judge};
use own_maps::is_own_source;
use shared_maps::count_not_ip;

#[inline(always)]
fn options() -> FrameOptions {
    FrameOptions {
        martians: MARTIANS.load() != 0,
        nat64: Some((N_NAT64.load(), &NAT64_PREFIXES)),
    }
}

/// The same facts, their source in two words: the compiler keeps sixteen bytes one by one, and moves undefined ones
/// about, which the verifier refuses.
#[inline(always)]
fn settled(facts: Facts) -> Facts {
    let Address::V6(source) = facts.source else {
        return facts;
    };
    let [high, low] = black_box(<[u64; 2]>::from(halves(&source))).map(u64::to_ne_bytes);
    let mut source = [0; 16];
    source[..8].copy_from_slice(&high);
    source[8..].copy_from_slice(&low);
    Facts {
        source: Address::V6(source),
        ..facts
    }
}

/// Judges a packet from an interface. Lives in a slot of the program array; the entry program calls it.
#[xdp(frags)]
pub fn cordon_gen(ctx: XdpContext) -> u32 {
    let verdict = match parse(&ctx, &options()) {
        Ok(facts) => {
            let facts = settled(facts);
            if MARTIANS.load() != 0 && is_own_source(&ctx, &facts) {
                Verdict::without_class(Action::Drop, Reason::Martian)
            } else {
                judge(&ctx, &facts, &mut Env::live())
            }
        }
        Err(answer) => {
            count_not_ip(&ctx, &answer);
            answer.verdict
        }
    };
    #[cfg(feature = "log")]
    aya_log_ebpf::trace!(&ctx, "{} {}", verdict.action.name(), verdict.reason.name());
    record(&ctx, &COUNTERS, verdict)
}

/// Judges a sample: a [`SampleHeader`] and a frame. Counts nothing and changes nothing; the return value is a
/// [`SampleVerdict`]. Run through BPF_PROG_TEST_RUN only, never attached.
#[xdp(frags)]
pub fn cordon_sample(ctx: XdpContext) -> u32 {
    const HEADER_LEN: usize = size_of::<SampleHeader>();
    // Named so that the map is part of the object; the daemon writes and reads it.
    if META.get(0).is_none() {
        return u32::MAX;
    }
    let Some(header) = read::<HEADER_LEN>(&ctx, 0) else {
        return u32::MAX;
    };
    // What remains is a frame like any other.
    if !adjust_head(&ctx, HEADER_LEN as i32) {
        return u32::MAX;
    }
    let word = |idx: usize| {
        u32::from_ne_bytes([
            header[idx * 4],
            header[idx * 4 + 1],
            header[idx * 4 + 2],
            header[idx * 4 + 3],
        ])
    };
    let verdict: Verdict = match parse(&ctx, &options()) {
        Ok(facts) => judge(
            &ctx,
            &settled(facts),
            &mut Env::of_sample(word(0), word(1), word(2) != 0),
        ),
        Err(answer) => answer.verdict,
    };
    SampleVerdict::pack(verdict, 0).0
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
