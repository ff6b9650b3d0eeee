//! Names of maps, programs and constants as they stand in the eBPF objects and in the pin directory.

/// Array of one [`crate::State`], mapped by the daemon. Shared by all generations.
pub const STATE: &str = "STATE";
/// Program array with [`crate::limits::N_SLOTS`] generation programs. Shared.
pub const SLOTS: &str = "SLOTS";
/// LPM trie of IPv4 prefixes that no policy can block. Shared.
pub const FAILSAFE_V4: &str = "FAILSAFE_V4";
/// LPM trie of IPv6 prefixes that no policy can block. Shared.
pub const FAILSAFE_V6: &str = "FAILSAFE_V6";
/// LPM trie of IPv4 run-time overrides. Shared; untouched by publishing.
pub const RUNTIME_V4: &str = "RUNTIME_V4";
/// LPM trie of IPv6 run-time overrides. Shared; untouched by publishing.
pub const RUNTIME_V6: &str = "RUNTIME_V6";
/// Per-CPU counters of the packets that the entry program itself answered. Shared.
pub const ENTRY_COUNTERS: &str = "ENTRY_COUNTERS";

/// LPM trie IPv4 prefix -> class.
pub const LOCATION_V4: &str = "LOCATION_V4";
/// LPM trie IPv6 prefix -> class.
pub const LOCATION_V6: &str = "LOCATION_V6";
/// Array of [`crate::index::Page`]: IPv4 address -> class, in the place of [`LOCATION_V4`].
pub const INDEX_V4: &str = "INDEX_V4";
/// Array of [`crate::index::Page`]: IPv6 address -> class, in the place of [`LOCATION_V6`].
pub const INDEX_V6: &str = "INDEX_V6";
/// Array (profile * n_classes + class) -> [`crate::Cell`].
pub const MATRIX: &str = "MATRIX";
/// Array of [`crate::Stages`] that timed cells point into.
pub const STAGES: &str = "STAGES";
/// LPM trie of the policy's IPv4 overrides.
pub const OVERRIDES_V4: &str = "OVERRIDES_V4";
/// LPM trie of the policy's IPv6 overrides.
pub const OVERRIDES_V6: &str = "OVERRIDES_V6";
/// Per-CPU array of [`crate::Counter`], see [`crate::counter_index`].
pub const COUNTERS: &str = "COUNTERS";
/// Array of one [`crate::GenerationMeta`].
pub const META: &str = "META";

/// Hash of interface index -> [`crate::name_key`] of its name. Shared.
pub const INTERFACES: &str = "INTERFACES";
/// Hash of the VLANs judged on interfaces of which only some are, see [`crate::scope::vlan_key`]. Shared.
pub const VLANS: &str = "VLANS";
/// Hash of the servers whose answers pass in a halt, by [`crate::EndpointKey`]. Shared.
pub const ENDPOINTS: &str = "ENDPOINTS";
/// Hash of this host's IPv4 addresses. Shared.
pub const OWN_V4: &str = "OWN_V4";
/// Hash of this host's IPv6 addresses. Shared.
pub const OWN_V6: &str = "OWN_V6";
/// Per-CPU hash of ethertype -> [`crate::Counter`] of the frames counted as `not_ip`. Shared.
pub const ETHERTYPES: &str = "ETHERTYPES";
/// LRU hash [`crate::FlowKey`] -> [`crate::Flow`]. Shared.
pub const FLOWS: &str = "FLOWS";
/// Array of one [`crate::FlowPorts`]. Shared.
pub const FLOW_PORTS: &str = "FLOW_PORTS";
/// LRU hash [`crate::BucketKey`] -> [`crate::Bucket`]. Shared.
pub const BUCKETS: &str = "BUCKETS";
/// Per-CPU array of theoretical arrival times, see [`crate::cap`]. Shared.
pub const CAPS: &str = "CAPS";
/// Ring buffer of [`crate::Event`]s. Shared.
pub const EVENTS: &str = "EVENTS";
/// Per-CPU array of `u64`, see [`crate::event_counter`]. Shared.
pub const EVENT_COUNTERS: &str = "EVENT_COUNTERS";
/// Device map (hash) [`crate::name_key`] -> interface. Shared.
pub const REDIRECT: &str = "REDIRECT";
/// Hash [`crate::name_key`] -> [`crate::Target`]. Shared.
pub const TARGETS: &str = "TARGETS";
/// Per-CPU array of one `u64`: frames that got lost in a redirect. Shared; see the programs
/// [`program::REDIRECT_ERRORS`] and [`program::REDIRECT_REFUSED`].
pub const REDIRECT_ERRORS: &str = "REDIRECT_ERRORS";
/// Program array with the egress programs of the generations that have one. Shared.
pub const EGRESS_SLOTS: &str = "EGRESS_SLOTS";

/// Array of [`crate::Tier`]; element 0 is unused.
pub const TIERS: &str = "TIERS";
/// See [`crate::scope::dimension::INTERFACE`].
pub const SCOPE_INTERFACE: &str = "SCOPE_INTERFACE";
/// See [`crate::scope::dimension::VLAN`].
pub const SCOPE_VLAN: &str = "SCOPE_VLAN";
/// See [`crate::scope::dimension::DESTINATION`].
pub const SCOPE_V4: &str = "SCOPE_V4";
/// See [`crate::scope::dimension::DESTINATION`].
pub const SCOPE_V6: &str = "SCOPE_V6";
/// See [`crate::scope::dimension::PROTOCOL`].
pub const SCOPE_PROTOCOL: &str = "SCOPE_PROTOCOL";
/// See [`crate::scope::dimension::PROTOCOL`].
pub const SCOPE_PORT: &str = "SCOPE_PORT";
/// Hash of service set (`u64`) -> row of the matrix (`u32`).
pub const SCOPE_ROWS: &str = "SCOPE_ROWS";

/// All maps that live in the pin directory itself.
pub const SHARED: [&str; 23] = [
    STATE,
    SLOTS,
    FAILSAFE_V4,
    FAILSAFE_V6,
    RUNTIME_V4,
    RUNTIME_V6,
    ENTRY_COUNTERS,
    INTERFACES,
    VLANS,
    ENDPOINTS,
    OWN_V4,
    OWN_V6,
    ETHERTYPES,
    FLOWS,
    FLOW_PORTS,
    BUCKETS,
    CAPS,
    EVENTS,
    EVENT_COUNTERS,
    REDIRECT,
    TARGETS,
    REDIRECT_ERRORS,
    EGRESS_SLOTS,
];

/// The maps that lead from an address to its class: generations with one location share them.
pub const LOCATION: [&str; 4] = [LOCATION_V4, LOCATION_V6, INDEX_V4, INDEX_V6];

/// All maps of a generation.
pub const GENERATION: [&str; 18] = [
    LOCATION_V4,
    LOCATION_V6,
    INDEX_V4,
    INDEX_V6,
    MATRIX,
    STAGES,
    OVERRIDES_V4,
    OVERRIDES_V6,
    COUNTERS,
    META,
    TIERS,
    SCOPE_INTERFACE,
    SCOPE_VLAN,
    SCOPE_V4,
    SCOPE_V6,
    SCOPE_PROTOCOL,
    SCOPE_PORT,
    SCOPE_ROWS,
];

/// Programs, by the name of their function.
pub mod program {
    /// Attached to interfaces; reads the state word and tail-calls a slot.
    pub const ENTRY: &str = "cordon_entry";
    /// Judges packets by one generation; lives in a slot.
    pub const GENERATION: &str = "cordon_gen";
    /// Judges samples by the same generation without side effects; run by BPF_PROG_TEST_RUN only.
    pub const SAMPLE: &str = "cordon_sample";
    /// Judges leaving packets by one generation; lives in an egress slot if the policy has `direction = "both"`.
    pub const EGRESS_GENERATION: &str = "cordon_out";
    /// Attached to interfaces' egress: notes the connections that this host opens, then tail-calls a slot.
    pub const EGRESS: &str = "cordon_egress";
    /// On the tracepoint `xdp_devmap_xmit`: counts what devices lost of redirects.
    pub const REDIRECT_ERRORS: &str = "cordon_redirect_errors";
    /// On the tracepoint `xdp_redirect_err`: counts redirects that the kernel refused.
    pub const REDIRECT_REFUSED: &str = "cordon_redirect_refused";
}

/// Read-only constants that the loader sets before loading.
pub mod global {
    /// `u32`: the families whose location is in an index, see [`crate::index::OF_V4`].
    pub const INDEXED: &str = "INDEXED";
    /// `u32`: classes of the location tables; the stride of the matrix.
    pub const N_CLASSES: &str = "N_CLASSES";
    /// `u32`: profiles; a row of services holds this many rows of classes.
    pub const N_PROFILES: &str = "N_PROFILES";
    /// `u32`: 1 if the policy's override tries hold a deny, so that they are asked for every packet.
    pub const HAS_DENIES: &str = "HAS_DENIES";
    /// `u32`: 1 if the policy's override tries hold anything.
    pub const HAS_OVERRIDES: &str = "HAS_OVERRIDES";
    /// `[u8; 256]`: from [`crate::lift_key`] to profile.
    pub const RUNTIME_PROFILES: &str = "RUNTIME_PROFILES";
    /// `u32`: 1 if any cell is timed.
    pub const HAS_STAGES: &str = "HAS_STAGES";
    /// `u32`: one bit (`1 << code`) for each [`crate::Action`] that any cell or stage may come to. Code for an
    /// action that no cell has is compiled out.
    pub const ACTIONS: &str = "ACTIONS";
    /// `u32`: see [`crate::scope::dimension`]; 0: the policy has no services.
    pub const SCOPE_DIMENSIONS: &str = "SCOPE_DIMENSIONS";
    /// `u64`: services that do not ask for an interface.
    pub const SCOPE_ANY_INTERFACE: &str = "SCOPE_ANY_INTERFACE";
    /// `u64`: services that do not ask for a destination.
    pub const SCOPE_ANY_DESTINATION: &str = "SCOPE_ANY_DESTINATION";
    /// `u32`: 1 if answers to this host's own connections pass.
    pub const REPLIES: &str = "REPLIES";
    /// `u32`: one in how many packets that do not plainly pass is reported; 0: none.
    pub const EVENTS_DROPS: &str = "EVENTS_DROPS";
    /// `u32`: one in how many packets that plainly pass is reported; 0: none.
    pub const EVENTS_PASSES: &str = "EVENTS_PASSES";
    /// `u64`: nanoseconds that an event costs; at most 1e9 / this are written per second and CPU.
    pub const EVENT_COST_NS: &str = "EVENT_COST_NS";
    /// `u32`: leading bits of an IPv4 source that an event tells.
    pub const EVENT_BITS_V4: &str = "EVENT_BITS_V4";
    /// `u32`: leading bits of an IPv6 source that an event tells.
    pub const EVENT_BITS_V6: &str = "EVENT_BITS_V6";
    /// `u32`: 1 if ICMP errors that the network needs pass (up to the cap) where the policy would drop them.
    pub const ICMP_ERRORS: &str = "ICMP_ERRORS";
    /// `u32`: 1 if the inner source of a tunnel is judged too.
    pub const INSPECT_INNER: &str = "INSPECT_INNER";
    /// `u32`: 1 if sources that cannot come by the wire drop.
    pub const MARTIANS: &str = "MARTIANS";
    /// `u32`: NAT64 prefixes in use.
    pub const N_NAT64: &str = "N_NAT64";
    /// [`crate::Nat64Prefixes`].
    pub const NAT64_PREFIXES: &str = "NAT64_PREFIXES";
    /// `u32`: what the entry program does when a slot cannot be called: 0 drop, 1 pass.
    pub const NO_GENERATION_PASS: &str = "NO_GENERATION_PASS";
    /// `u32`, entry: 1 if on some interface only some VLANs are judged.
    pub const VLAN_FILTER: &str = "VLAN_FILTER";
    /// `u32`, egress: first and last local port that the kernel gives to a socket which asked for none
    /// (`net.ipv4.ip_local_port_range`).
    pub const EPHEMERAL_FIRST: &str = "EPHEMERAL_FIRST";
    /// `u32`, egress: the kernel's id of the map [`super::REDIRECT`].
    pub const REDIRECT_ID: &str = "REDIRECT_ID";
    /// See [`EPHEMERAL_FIRST`].
    pub const EPHEMERAL_LAST: &str = "EPHEMERAL_LAST";
    /// `u32`, egress: offset in bytes of the byte of `struct sock` that holds `sk_userlocks`; 0: unknown.
    pub const USERLOCKS_OFFSET: &str = "USERLOCKS_OFFSET";
    /// `u32`, egress: the bit of that byte that is `SOCK_BINDPORT_LOCK` (include/net/sock.h).
    pub const USERLOCKS_BIT: &str = "USERLOCKS_BIT";
}
