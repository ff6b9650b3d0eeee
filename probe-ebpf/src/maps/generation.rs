//! Maps and constants of a generation. Sizes marked "by the loader" are set for each generation; the run-time
//! overrides are shared by all of them.

use aya_ebpf::{
    Global,
    btf_maps::{Array, HashMap, LpmTrie, PerCpuArray},
    macros::btf_map,
};
use probe_common::{
    Action, Cell, ClassValue, Counter, GenerationMeta, Nat64, OverrideValue, RuntimeValue, ServiceSet,
    Stages, Tier,
    index::Page,
    lift_key,
    limits::{MAX_NAT64, RUNTIME_ENTRIES},
};

const BY_THE_LOADER: usize = 1;

/// Shared: overrides made at run time.
#[btf_map]
pub static RUNTIME_V4: LpmTrie<[u8; 4], RuntimeValue, { RUNTIME_ENTRIES as usize }> = LpmTrie::new();

/// Shared: overrides made at run time.
#[btf_map]
pub static RUNTIME_V6: LpmTrie<[u8; 16], RuntimeValue, { RUNTIME_ENTRIES as usize }> = LpmTrie::new();

/// IPv4 prefix to class. Size by the loader.
#[btf_map]
pub static LOCATION_V4: LpmTrie<[u8; 4], ClassValue, BY_THE_LOADER> = LpmTrie::new();

/// IPv6 prefix to class. Size by the loader.
#[btf_map]
pub static LOCATION_V6: LpmTrie<[u8; 16], ClassValue, BY_THE_LOADER> = LpmTrie::new();

/// IPv4 address to class: the other engine. Size by the loader.
#[btf_map]
pub static INDEX_V4: Array<Page, BY_THE_LOADER> = Array::new();

/// IPv6 address to class: the other engine. Size by the loader.
#[btf_map]
pub static INDEX_V6: Array<Page, BY_THE_LOADER> = Array::new();

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

/// Parameters of decisions; element 0 is unused. Size by the loader.
#[btf_map]
pub static TIERS: Array<Tier, BY_THE_LOADER> = Array::new();

/// Key of an interface's name to the services that do not rule it out. Size by the loader.
#[btf_map]
pub static SCOPE_INTERFACE: HashMap<u32, ServiceSet, BY_THE_LOADER> = HashMap::new();

/// Outermost VLAN to services. Size by the loader.
#[btf_map]
pub static SCOPE_VLAN: Array<ServiceSet, BY_THE_LOADER> = Array::new();

/// IPv4 destination to services. Size by the loader.
#[btf_map]
pub static SCOPE_V4: LpmTrie<[u8; 4], ServiceSet, BY_THE_LOADER> = LpmTrie::new();

/// IPv6 destination to services. Size by the loader.
#[btf_map]
pub static SCOPE_V6: LpmTrie<[u8; 16], ServiceSet, BY_THE_LOADER> = LpmTrie::new();

/// Protocol to services that do not ask for a port. Size by the loader.
#[btf_map]
pub static SCOPE_PROTOCOL: Array<ServiceSet, BY_THE_LOADER> = Array::new();

/// Destination port to services. Size by the loader.
#[btf_map]
pub static SCOPE_PORT: Array<ServiceSet, BY_THE_LOADER> = Array::new();

/// Set of services to row of the matrix. Size by the loader.
#[btf_map]
pub static SCOPE_ROWS: HashMap<u64, u32, BY_THE_LOADER> = HashMap::new();

/// Counters of this generation. Size by the loader.
#[btf_map]
pub static COUNTERS: PerCpuArray<Counter, BY_THE_LOADER> = PerCpuArray::new();

/// What the generation is, for a later process.
#[btf_map]
pub static META: Array<GenerationMeta, 1> = Array::new();

/// The families whose location is in an index.
#[unsafe(no_mangle)]
pub static INDEXED: Global<u32> = Global::new(0);

/// Classes of the location tables; the stride of the matrix.
#[unsafe(no_mangle)]
pub static N_CLASSES: Global<u32> = Global::new(1);

/// Whether the policy's override tries hold a deny.
#[unsafe(no_mangle)]
pub static HAS_DENIES: Global<u32> = Global::new(0);

/// Whether the policy's override tries hold anything.
#[unsafe(no_mangle)]
pub static HAS_OVERRIDES: Global<u32> = Global::new(0);

/// Profile of each lift key that a run-time override may have.
#[unsafe(no_mangle)]
pub static RUNTIME_PROFILES: [Global<u8>; lift_key::N] = [const { Global::new(0) }; lift_key::N];

/// Whether any cell is timed.
#[unsafe(no_mangle)]
pub static HAS_STAGES: Global<u32> = Global::new(0);

/// Profiles of a row.
#[unsafe(no_mangle)]
pub static N_PROFILES: Global<u32> = Global::new(1);

/// Bit `1 << code` for each action that any cell or stage may come to.
#[unsafe(no_mangle)]
pub static ACTIONS: Global<u32> = Global::new(0xff);

/// Dimensions that the policy's services use; 0: it has none.
#[unsafe(no_mangle)]
pub static SCOPE_DIMENSIONS: Global<u32> = Global::new(0);

/// Services that do not ask for an interface.
#[unsafe(no_mangle)]
pub static SCOPE_ANY_INTERFACE: Global<u64> = Global::new(0);

/// Services that do not ask for a destination.
#[unsafe(no_mangle)]
pub static SCOPE_ANY_DESTINATION: Global<u64> = Global::new(0);

/// Whether answers to this host's own connections pass.
#[unsafe(no_mangle)]
pub static REPLIES: Global<u32> = Global::new(0);

/// One in how many packets that do not plainly pass is reported; 0: none.
#[unsafe(no_mangle)]
pub static EVENTS_DROPS: Global<u32> = Global::new(0);

/// One in how many packets that plainly pass is reported; 0: none.
#[unsafe(no_mangle)]
pub static EVENTS_PASSES: Global<u32> = Global::new(0);

/// What an event costs of each CPU's cap, in nanoseconds.
#[unsafe(no_mangle)]
pub static EVENT_COST_NS: Global<u64> = Global::new(0);

/// Leading bits of an IPv4 source that an event tells.
#[unsafe(no_mangle)]
pub static EVENT_BITS_V4: Global<u32> = Global::new(0);

/// Leading bits of an IPv6 source that an event tells.
#[unsafe(no_mangle)]
pub static EVENT_BITS_V6: Global<u32> = Global::new(0);

/// Whether ICMP errors that the network needs pass where the policy would drop them.
#[unsafe(no_mangle)]
pub static ICMP_ERRORS: Global<u32> = Global::new(0);

/// Whether the inner source of a tunnel is judged too.
#[unsafe(no_mangle)]
pub static INSPECT_INNER: Global<u32> = Global::new(0);

/// Whether sources that cannot come by the wire drop.
#[unsafe(no_mangle)]
pub static MARTIANS: Global<u32> = Global::new(0);

/// Configured NAT64 prefixes.
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
pub fn cell(row: u32, profile: u8, class: u16) -> Option<Cell> {
    // The usual one is the first row of the first profile: there is nothing to multiply then.
    let profiles = match row {
        0 => u32::from(profile),
        _ => row * N_PROFILES.load() + u32::from(profile),
    };
    let idx = match profiles {
        0 => u32::from(class),
        _ => profiles * N_CLASSES.load() + u32::from(class),
    };
    MATRIX.get(idx).map(|cell| Cell(*cell))
}

/// Whether any cell may come to an action. Code behind a `false` is not in the loaded program.
#[inline(always)]
pub fn may(action: Action) -> bool {
    ACTIONS.load() & 1 << (action as u8) != 0
}
