//! Maps and constants of the egress object: what it shares with the generations, and what it needs to tell a
//! client's socket from a server's.

use aya_ebpf::{
    Global,
    bindings::{BPF_ANY, BPF_F_MMAPABLE},
    btf_maps::{Array, LruHashMap, PerCpuArray, ProgramArray},
    macros::btf_map,
};
use probe_common::{
    Flow, FlowKey, FlowPorts, State,
    limits::{FLOW_ENTRIES, N_SLOTS},
};
use probe_ebpf::packet::index;

/// Shared: state word and its neighbours.
#[btf_map]
pub static STATE: Array<State, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Shared: connections that this host opened. Size by the loader.
#[btf_map]
pub static FLOWS: LruHashMap<FlowKey, Flow, { FLOW_ENTRIES as usize }> = LruHashMap::new();

/// Shared: local ports that a connection was noted with.
#[btf_map]
pub static FLOW_PORTS: Array<FlowPorts, 1> = Array::new();

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

/// A connection that was seen within this time is not written again: most packets only read.
const REFRESH_NS: u64 = 1_000_000_000;

/// Notes that a connection of this host's was seen.
#[inline(always)]
pub fn note(key: &FlowKey, now_ns: u64) {
    if let Some(flow) = FLOWS.get_ptr_mut(key) {
        // SAFETY: the value is one aligned word that stays mapped while the program runs; another CPU may store it
        // at the same time, or the kernel give it to another flow, and each of these stores a time that was now.
        unsafe {
            let seen_ns = &raw mut (*flow).seen_ns;
            if now_ns.wrapping_sub(seen_ns.read_volatile()) > REFRESH_NS {
                seen_ns.write_volatile(now_ns);
            }
        }
        return;
    }
    // The port first: an answer must not find a connection whose port says that there is none.
    if let Some(ports) = FLOW_PORTS.get_ptr_mut(0) {
        let port = index(u16::from_be_bytes(key.local_port));
        // SAFETY: the value stays mapped while the program runs and has an element for each port; every store is of
        // the same byte.
        unsafe { ports.cast::<u8>().add(port).write_volatile(1) };
    }
    // Fails only if no entry can be had at once: then the next packet of the connection tries again.
    let _ = FLOWS.insert(key, Flow { seen_ns: now_ns }, u64::from(BPF_ANY));
}

/// Counts frames that got lost in a redirect.
#[inline(always)]
pub fn count_lost(n_frames: u32) {
    if n_frames != 0
        && let Some(count) = REDIRECT_ERRORS.get_ptr_mut(0)
    {
        // SAFETY: the pointer is to this CPU's own copy of a map value. The tracepoints of redirects fire in softirq
        // context, so there is no second writer on this CPU.
        unsafe { *count += u64::from(n_frames) };
    }
}
