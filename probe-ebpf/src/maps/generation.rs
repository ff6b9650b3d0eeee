//! Maps and constants of a generation. Sizes marked "by the loader" are set for each generation; the run-time
//! overrides are shared by all of them.

use aya_ebpf::{
    Global,
    btf_maps::{Array, LpmTrie, PerCpuArray},
    macros::btf_map,
};
use probe_common::{
    Cell, ClassValue, Counter, GenerationMeta, Nat64, OverrideValue, Stages,
    limits::{MAX_NAT64, MAX_RUNTIME_OVERRIDES},
};

const BY_THE_LOADER: usize = 1;

/// Shared: overrides made at run time.
#[btf_map]
pub static RUNTIME_V4: LpmTrie<[u8; 4], OverrideValue, { MAX_RUNTIME_OVERRIDES as usize }> = LpmTrie::new();

/// Shared: overrides made at run time.
#[btf_map]
pub static RUNTIME_V6: LpmTrie<[u8; 16], OverrideValue, { MAX_RUNTIME_OVERRIDES as usize }> = LpmTrie::new();

/// IPv4 prefix to class. Size by the loader.
#[btf_map]
pub static LOCATION_V4: LpmTrie<[u8; 4], ClassValue, BY_THE_LOADER> = LpmTrie::new();

/// IPv6 prefix to class. Size by the loader.
#[btf_map]
pub static LOCATION_V6: LpmTrie<[u8; 16], ClassValue, BY_THE_LOADER> = LpmTrie::new();

/// The verdict matrix: packed [`Cell`]s. Size by the loader.
#[btf_map]
pub static MATRIX: Array<u32, BY_THE_LOADER> = Array::new();

/// What timed cells point into. Size by the loader.
#[btf_map]
pub static STAGES: Array<Stages, BY_THE_LOADER> = Array::new();

/// The policy's overrides. Size by the loader.
#[btf_map]
pub static OVERRIDES_V4: LpmTrie<[u8; 4], OverrideValue, BY_THE_LOADER> = LpmTrie::new();

/// The policy's overrides. Size by the loader.
#[btf_map]
pub static OVERRIDES_V6: LpmTrie<[u8; 16], OverrideValue, BY_THE_LOADER> = LpmTrie::new();

/// Counters of this generation. Size by the loader.
#[btf_map]
pub static COUNTERS: PerCpuArray<Counter, BY_THE_LOADER> = PerCpuArray::new();

/// What the generation is, for a later process.
#[btf_map]
pub static META: Array<GenerationMeta, 1> = Array::new();

/// Classes of the location tables; the stride of the matrix.
#[unsafe(no_mangle)]
pub static N_CLASSES: Global<u32> = Global::new(1);

/// Whether the policy's override tries hold a deny.
#[unsafe(no_mangle)]
pub static HAS_DENIES: Global<u32> = Global::new(0);

/// Whether the policy's override tries hold anything.
#[unsafe(no_mangle)]
pub static HAS_OVERRIDES: Global<u32> = Global::new(0);

/// Whether any cell is timed.
#[unsafe(no_mangle)]
pub static HAS_STAGES: Global<u32> = Global::new(0);

/// Whether sources that cannot come by the wire drop.
#[unsafe(no_mangle)]
pub static MARTIANS: Global<u32> = Global::new(0);

/// How many NAT64 prefixes are configured.
#[unsafe(no_mangle)]
pub static N_NAT64: Global<u32> = Global::new(0);

/// Those prefixes: the parts of a [`probe_common::Nat64Prefixes`].
#[unsafe(no_mangle)]
pub static NAT64_PREFIXES: [Global<Nat64>; MAX_NAT64] = [const {
    Global::new(Nat64 {
        prefix: [0; 16],
        len: 0,
    })
}; MAX_NAT64];

/// A cell of the matrix; `None` outside it.
#[inline(always)]
pub fn cell(profile: u8, class: u16) -> Option<Cell> {
    let idx = u32::from(profile) * N_CLASSES.load() + u32::from(class);
    MATRIX.get(idx).map(|cell| Cell(*cell))
}
