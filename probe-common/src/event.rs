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

/// The leading bits of an IPv4 address, the others zero.
#[inline(always)]
pub const fn leading_bits_v4(address: [u8; 4], n_bits: u32) -> [u8; 4] {
    let mask = match u32::MAX.checked_shr(n_bits) {
        Some(rest) => !rest,
        None => u32::MAX,
    };
    (u32::from_be_bytes(address) & mask).to_be_bytes()
}

/// The leading bits of an IPv6 address, the others zero.
#[inline(always)]
pub const fn leading_bits_v6(high: u64, low: u64, n_bits: u32) -> [u64; 2] {
    let mask_high = match u64::MAX.checked_shr(n_bits) {
        Some(rest) => !rest,
        None => u64::MAX,
    };
    let mask_low = match u64::MAX.checked_shr(n_bits.saturating_sub(64)) {
        Some(rest) => !rest,
        None => u64::MAX,
    };
    [high & mask_high, low & mask_low]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_told_is_zero() {
        let address = [203, 0, 113, 255];
        for (n_bits, told) in [
            (0, [0; 4]),
            (1, [128, 0, 0, 0]),
            (24, [203, 0, 113, 0]),
            (31, [203, 0, 113, 254]),
            (32, address),
            (200, address),
        ] {
            assert_eq!(leading_bits_v4(address, n_bits), told, "/{n_bits}");
        }
        let ones = u64::MAX;
        for (n_bits, told) in [
            (0, [0, 0]),
            (48, [!0xffff, 0]),
            (64, [ones, 0]),
            (65, [ones, 1 << 63]),
            (127, [ones, !1]),
            (128, [ones, ones]),
            (200, [ones, ones]),
        ] {
            assert_eq!(leading_bits_v6(ones, ones, n_bits), told, "/{n_bits}");
        }
    }
}
