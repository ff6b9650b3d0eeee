//! Maps and constants of the entry program alone.

use aya_ebpf::{
    Global,
    btf_maps::{PerCpuArray, ProgramArray},
    macros::btf_map,
};
use probe_common::{Counter, Reason, limits::N_SLOTS};

/// Shared: the programs of the generations.
#[btf_map]
pub static SLOTS: ProgramArray<{ N_SLOTS as usize }> = ProgramArray::new();

/// Shared: what the entry program answered itself. No packet has a class there.
#[btf_map]
pub static ENTRY_COUNTERS: PerCpuArray<Counter, { Reason::N_WITHOUT_CLASS as usize }> = PerCpuArray::new();

/// What the entry program does if no generation can be called.
#[unsafe(no_mangle)]
pub static NO_GENERATION_PASS: Global<u32> = Global::new(0);
