//! The wall clock, read only when something timed is hit: a reading costs as much as a look-up.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;

/// Nanoseconds since boot, suspended time included (`bpf_ktime_get_boot_ns`, Linux 5.8).
#[inline(always)]
pub fn boot_ns() -> u64 {
    // SAFETY: the helper takes nothing and has no effect.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Unix time in seconds.
#[inline(always)]
pub fn unix_s(wall_offset_ns: u64) -> u32 {
    (boot_ns().wrapping_add(wall_offset_ns) / 1_000_000_000) as u32
}
