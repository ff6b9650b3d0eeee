//! Layouts, names and limits that the kernel side and the user side of cordon share.
//!
//! **Byte order.** Packet fields and LPM-trie keys are byte arrays in network order, as on the wire. Every
//! integer field of a shared struct is in the byte order of the host: kernel and daemon run on the same machine.
//!
//! **Layout rules.** Shared structs hold integers and byte arrays only, have no padding (asserted at compile
//! time) and a fixed size (asserted too). An enum crosses as `u8`. A value stored under an IPv4 LPM-trie key has
//! an alignment of at most four (`kernel/bpf/lpm_trie.c` keeps the value right behind the key).
#![no_std]

mod cell;
pub mod checksum;
mod counter;
mod dscp;
mod endpoint;
mod event;
mod flow;
mod frame;
pub mod index;
pub mod l4;
pub mod limits;
pub mod map_name;
mod overrides;
mod sample;
pub mod scope;
mod shared;
mod state;
mod tier;
mod verdict;

pub use cell::{Cell, Decision, Stages};
pub use counter::{Counter, counter_at, counter_index, n_counters};
pub use dscp::{with_dscp_v4, with_dscp_v6};
pub use endpoint::EndpointKey;
pub use event::{Event, event_counter, leading_bits_v4, leading_bits_v6};
pub use flow::{Flow, FlowKey, FlowPorts, IDLE_OTHER_NS, IDLE_TCP_NS, mapped};
pub use frame::{
    Embedded, Nat64, Nat64Prefixes, embedded, embedded_by_standard, embedded_v4, halves, is_global_v4,
};
pub use overrides::{FOREVER, OverrideValue, RUNTIME_STAGES, RuntimeValue, lift_key, profile};
pub use sample::{SampleHeader, SampleVerdict};
pub use scope::ServiceSet;
pub use state::{State, StateWord};
pub use tier::{
    BYTE_COST_SHIFT, Bucket, BucketKey, Target, Tier, arrival_of_rate, cap, gcra, limit_per, name_key,
};
pub use verdict::{Action, Fate, Reason, Verdict, class};

/// Version of everything pinned: layouts, map names, meaning of values. A process that finds pins of another
/// version must not touch them; the pin path carries it as `v1`.
pub const ABI_VERSION: u32 = 1;

/// Value of the location LPM tries: the class of a prefix.
#[doc(alias = "BPF_MAP_TYPE_LPM_TRIE")]
pub type ClassValue = location::ClassValue;

mod location {
    crate::shared::shared! {
        /// The class that a location prefix maps to.
        pub struct ClassValue[4] {
            /// Row of the class table, host byte order.
            pub class: u16,
            /// Zero.
            pub reserved: u16,
        }
    }
}

shared::shared! {
    /// What a generation's `META` map holds: enough for a later process to recognise what is loaded.
    pub struct GenerationMeta[88] {
        /// [`ABI_VERSION`] of the writer.
        pub abi_version: u32,
        /// Generation number, counted up from 1 by each publish.
        pub number: u32,
        /// When it was published, Unix time in seconds.
        pub published_s: u64,
        /// SHA-256 of the compiled image (matrix, stages, overrides and the location digest).
        pub image_digest: [u8; 32],
        /// SHA-256 of the location tables.
        pub location_digest: [u8; 32],
        /// What it needs besides its own maps, see [`need`].
        pub needs: u32,
        /// The families whose location is in an index, see [`index::OF_V4`].
        pub indexed: u32,
    }
}

/// Bits of [`GenerationMeta::needs`].
pub mod need {
    /// The egress program on every interface: answers to this host's own connections pass.
    pub const REPLIES: u32 = 1;
    /// The egress program on every interface: some decisions hold for leaving packets too.
    pub const BOTH: u32 = 2;
    /// The program that counts what redirects lose.
    pub const REDIRECTS: u32 = 4;
}
