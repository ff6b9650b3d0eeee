//! Shared maps that actions, replies and events need; they live in the pin directory and outlast generations.
//! Their sizes are set by the loader.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, DevMapHash, HashMap, LruHashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use probe_common::{
    Bucket, BucketKey, EndpointKey, Flow, FlowKey, FlowPorts, Target, cap, event_counter,
    limits::{
        BUCKET_ENTRIES, ENDPOINT_ENTRIES, EVENT_RING_BYTES, FLOW_ENTRIES, INTERFACE_ENTRIES, MAX_INTERFACES,
    },
};
use probe_ebpf::packet::index;

const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;

/// Shared: interface index to the key of its name.
#[btf_map]
pub static INTERFACES: HashMap<u32, u32, { INTERFACE_ENTRIES as usize }, NO_PREALLOC> = HashMap::new();

/// Shared: servers whose answers pass in a halt; what stands there says all by being there.
#[btf_map]
pub static ENDPOINTS: HashMap<EndpointKey, u32, { ENDPOINT_ENTRIES as usize }, NO_PREALLOC> = HashMap::new();

/// Shared: connections that this host opened.
#[btf_map]
pub static FLOWS: LruHashMap<FlowKey, Flow, { FLOW_ENTRIES as usize }> = LruHashMap::new();

/// Shared: local ports that such a connection was noted with.
#[btf_map]
pub static FLOW_PORTS: Array<FlowPorts, 1> = Array::new();

/// Shared: how far each source or class has used up its rate.
#[btf_map]
pub static BUCKETS: LruHashMap<BucketKey, Bucket, { BUCKET_ENTRIES as usize }> = LruHashMap::new();

/// Shared: theoretical arrival times of what is capped per CPU.
#[btf_map]
pub static CAPS: PerCpuArray<u64, { cap::N as usize }> = PerCpuArray::new();

/// Shared: sampled verdicts ([`probe_common::Event`]). A ring buffer has no values, and libbpf refuses one that names a type.
#[btf_map]
pub static EVENTS: RingBuf<(), { EVENT_RING_BYTES as usize }> = RingBuf::new();

/// Shared: what became of events.
#[btf_map]
pub static EVENT_COUNTERS: PerCpuArray<u64, { event_counter::N as usize }> = PerCpuArray::new();

/// Shared: the devices that redirects go to, as the kernel wants them.
#[btf_map]
pub static REDIRECT: DevMapHash<{ MAX_INTERFACES as usize }> = DevMapHash::new();

/// Shared: the same devices, as this program must know them.
#[btf_map]
pub static TARGETS: HashMap<u32, Target, { INTERFACE_ENTRIES as usize }, NO_PREALLOC> = HashMap::new();

/// Whether a connection of this host's may have this local port.
#[inline(always)]
pub fn may_have_flow(local_port: u16) -> bool {
    match FLOW_PORTS.get_ptr(0) {
        // SAFETY: the value stays mapped while the program runs and has an element for each port. Volatile, because
        // the egress program stores it meanwhile.
        Some(ports) => unsafe { ports.cast::<u8>().add(index(local_port)).read_volatile() != 0 },
        None => false,
    }
}
