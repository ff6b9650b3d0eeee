//! Maps and constants of the entry program alone.

use aya_ebpf::{
    Global,
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{HashMap, PerCpuArray, ProgramArray},
    macros::btf_map,
};
use probe_common::{
    Counter, Reason,
    limits::{N_SLOTS, VLAN_ENTRIES},
};

use crate::shared_maps::Present;

/// Shared: the programs of the generations.
#[btf_map]
pub static SLOTS: ProgramArray<{ N_SLOTS as usize }> = ProgramArray::new();

/// Shared: what the entry program answered itself. No packet has a class there.
#[btf_map]
pub static ENTRY_COUNTERS: PerCpuArray<Counter, { Reason::N_WITHOUT_CLASS as usize }> = PerCpuArray::new();

/// What the entry program does if no generation can be called.
#[unsafe(no_mangle)]
pub static NO_GENERATION_PASS: Global<u32> = Global::new(0);

/// Shared: the VLANs judged on interfaces of which only some are, see [`probe_common::scope::vlan_key`].
#[btf_map]
pub static VLANS: HashMap<u64, Present, { VLAN_ENTRIES as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Whether there is any such interface.
#[unsafe(no_mangle)]
pub static VLAN_FILTER: Global<u32> = Global::new(0);
