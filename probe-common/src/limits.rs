//! Limits that both sides must agree on.

/// Slots of the program array. A slot that the state word names is never overwritten; with four there is slack
/// for readers that are still inside an older program.
pub const N_SLOTS: u32 = 4;

/// "No slot" in the state word: nothing was published, or there is no previous generation.
pub const NO_SLOT: u8 = 0xff;

/// VLAN tags that the parser reads; one more is dropped as [`crate::Reason::DeepVlan`].
pub const VLAN_MAX_DEPTH: usize = 4;

/// Look-ups that may find expired overrides before the program gives up: an expired /24 must not hide a live
/// /16. The compiler refuses overrides nested deeper than this.
pub const OVERRIDE_MAX_LEVELS: usize = 4;

/// Timed stages of a cell, before the final one.
pub const MAX_STAGES: usize = 4;

/// Profiles of a generation (rows of the matrix per scope).
pub const MAX_PROFILES: usize = 64;

/// Most failsafe prefixes of a family.
pub const MAX_FAILSAFE: u32 = 1024;

/// Size of a failsafe trie: new prefixes are added before old ones are removed, so both sets must fit.
pub const FAILSAFE_ENTRIES: u32 = 2 * MAX_FAILSAFE;

/// Most run-time overrides of a family.
pub const MAX_RUNTIME_OVERRIDES: u32 = 65_536;

/// Size of a run-time override trie: new prefixes are added before old ones are removed, so both sets must fit.
pub const RUNTIME_ENTRIES: u32 = 2 * MAX_RUNTIME_OVERRIDES;

/// Most prefixes of one location trie (reliability goal R12).
pub const MAX_PREFIXES: u32 = 4_000_000;

/// Most tiers of a policy; index 0 stands for none.
pub const MAX_TIERS: usize = 63;

/// Most services of a policy: one bit each, and the highest bit is taken.
pub const MAX_SERVICES: usize = 32;

/// Most rows of the matrix besides the one for packets of no service.
pub const MAX_ROWS: usize = 255;

/// Most NAT64 prefixes besides the well-known one.
pub const MAX_NAT64: usize = 4;

/// Most addresses of this host, of each family, that the martian check knows.
pub const MAX_OWN: u32 = 4096;

/// Size of each table of own addresses: new ones are added before old ones are removed, so both sets must fit.
pub const OWN_ENTRIES: u32 = 2 * MAX_OWN;

/// Most servers whose answers pass in a halt.
pub const MAX_ENDPOINTS: u32 = 256;

/// Size of `ENDPOINTS`: new ones are added before old ones are removed, so both sets must fit.
pub const ENDPOINT_ENTRIES: u32 = 2 * MAX_ENDPOINTS;

/// Most interfaces known by name, and most redirect targets.
pub const MAX_INTERFACES: u32 = 4096;

/// Size of `INTERFACES` and `TARGETS`: new ones are added before old ones are removed.
pub const INTERFACE_ENTRIES: u32 = 2 * MAX_INTERFACES;

/// Size of `VLANS`: the VLANs judged on interfaces of which only some are, and one mark for each such interface. New
/// ones are added before old ones are removed, so both sets must fit.
pub const VLAN_ENTRIES: u32 = 16_384;

/// Most ethertypes counted one by one; further ones are counted together under type 0.
pub const MAX_ETHERTYPES: u32 = 256;

/// Default size of `FLOWS`: about 4 MiB.
pub const FLOW_ENTRIES: u32 = 32_768;

/// Default size of `BUCKETS`: about 4 MiB.
pub const BUCKET_ENTRIES: u32 = 32_768;

/// Default size of `EVENTS` in bytes.
pub const EVENT_RING_BYTES: u32 = 1 << 20;
