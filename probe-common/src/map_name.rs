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

/// All maps that live in the pin directory itself.
pub const SHARED: [&str; 7] = [
    STATE,
    SLOTS,
    FAILSAFE_V4,
    FAILSAFE_V6,
    RUNTIME_V4,
    RUNTIME_V6,
    ENTRY_COUNTERS,
];

/// All maps of a generation.
pub const GENERATION: [&str; 8] = [
    LOCATION_V4,
    LOCATION_V6,
    MATRIX,
    STAGES,
    OVERRIDES_V4,
    OVERRIDES_V6,
    COUNTERS,
    META,
];

/// Programs, by the name of their function.
pub mod program {
    /// Attached to interfaces; reads the state word and tail-calls a slot.
    pub const ENTRY: &str = "cordon_entry";
    /// Judges packets by one generation; lives in a slot.
    pub const GENERATION: &str = "cordon_gen";
    /// Judges samples by the same generation without side effects; run by BPF_PROG_TEST_RUN only.
    pub const SAMPLE: &str = "cordon_sample";
}

/// Read-only constants that the loader sets before loading.
pub mod global {
    /// `u32`: classes of the location tables; the stride of the matrix.
    pub const N_CLASSES: &str = "N_CLASSES";
    /// `u32`: 1 if the policy's override tries hold a deny, so that they are asked for every packet.
    pub const HAS_DENIES: &str = "HAS_DENIES";
    /// `u32`: 1 if the policy's override tries hold anything.
    pub const HAS_OVERRIDES: &str = "HAS_OVERRIDES";
    /// `u32`: 1 if any cell is timed.
    pub const HAS_STAGES: &str = "HAS_STAGES";
    /// `u32`: what the entry program does when a slot cannot be called: 0 drop, 1 pass.
    pub const NO_GENERATION_PASS: &str = "NO_GENERATION_PASS";
}
