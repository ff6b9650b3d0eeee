//! What the ring buffer carries.

use crate::shared::shared;

shared! {
    /// A sampled verdict.
    pub struct Event[64] {
        /// Boot time in nanoseconds.
        pub boot_ns: u64,
        /// Generation that judged.
        pub generation: u32,
        /// Index of the interface it came by.
        pub ifindex: u32,
        /// Length of the frame in bytes (L2).
        pub bytes: u32,
        /// Source, network order; IPv4 in the first four bytes. Bits behind `source_len` are zero.
        pub source: [u8; 16],
        /// Source port, host byte order; 0: unknown, or the protocol has none.
        pub source_port: u16,
        /// Destination port, host byte order; 0: unknown, or the protocol has none.
        pub destination_port: u16,
        /// Class of the source.
        pub class: u16,
        /// Outermost VLAN, 0: none.
        pub vlan: u16,
        /// Code of the [`crate::Action`] taken.
        pub action: u8,
        /// Code of the [`crate::Reason`].
        pub reason: u8,
        /// 4 or 6; 0 for what is not IP.
        pub family: u8,
        /// Leading bits of `source` that are told; 0: none.
        pub source_len: u8,
        /// IP protocol number behind the fixed header or the extension headers; 255: unknown.
        pub protocol: u8,
        /// Zero.
        pub reserved: [u8; 15],
    }
}

/// Indexes into `EVENT_COUNTERS`: per-CPU `u64`.
pub mod event_counter {
    /// Events written.
    pub const WRITTEN: u32 = 0;
    /// Events lost because the ring was full.
    pub const LOST: u32 = 1;
    /// Events suppressed by the rate cap.
    pub const CAPPED: u32 = 2;
    /// Number of them.
    pub const N: u32 = 3;
}
