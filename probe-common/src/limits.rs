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

/// Most entries of each run-time override trie.
pub const MAX_RUNTIME_OVERRIDES: u32 = 65_536;

/// Most prefixes of one location trie (reliability goal R12).
pub const MAX_PREFIXES: u32 = 4_000_000;
