//! Maps and constants of the egress object: what it shares with the generations, and what it needs to tell a
//! client's socket from a server's.

use aya_ebpf::{
    Global,
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, LruHashMap, PerCpuArray, ProgramArray},
    macros::btf_map,
};
use probe_common::{
    Flow, FlowKey, State,
    limits::{FLOW_ENTRIES, N_SLOTS},
};

/// Shared: state word and its neighbours.
#[btf_map]
pub static STATE: Array<State, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Shared: connections that this host opened. Size by the loader.
#[btf_map]
pub static FLOWS: LruHashMap<FlowKey, Flow, { FLOW_ENTRIES as usize }> = LruHashMap::new();

/// Shared: the egress programs of the generations that have one.
#[btf_map]
pub static EGRESS_SLOTS: ProgramArray<{ N_SLOTS as usize }> = ProgramArray::new();

/// Shared: frames that got lost in a redirect.
#[btf_map]
pub static REDIRECT_ERRORS: PerCpuArray<u64, 1> = PerCpuArray::new();

/// The kernel's id of the map `REDIRECT`.
#[unsafe(no_mangle)]
pub static REDIRECT_ID: Global<u32> = Global::new(0);

/// First local port that the kernel gives to a socket which asked for none.
#[unsafe(no_mangle)]
pub static EPHEMERAL_FIRST: Global<u32> = Global::new(1);

/// Last of these ports; below the first one: there are none.
#[unsafe(no_mangle)]
pub static EPHEMERAL_LAST: Global<u32> = Global::new(0);

/// Offset of the byte of `struct sock` that says whether the port was asked for; 0: unknown.
#[unsafe(no_mangle)]
pub static USERLOCKS_OFFSET: Global<u32> = Global::new(0);

/// The bit of that byte.
#[unsafe(no_mangle)]
pub static USERLOCKS_BIT: Global<u32> = Global::new(0);
