//! Bounds on what a file may hold: far above any real policy, low enough that a hostile file costs little.

/// Largest policy or host file, in bytes.
pub const MAX_FILE_BYTES: usize = 8 << 20;
/// Longest text value, in characters.
pub const MAX_TEXT_CHARS: usize = 4096;
/// Longest id or group name, in characters.
pub const MAX_ID_CHARS: usize = 64;
/// Most `[[order]]` tables of a policy.
pub const MAX_ORDERS: usize = 1024;
/// Most `[[order.rule]]` tables of a policy, over all its orders.
pub const MAX_RULES: usize = 4096;
/// Most `[[group]]` tables of a policy.
pub const MAX_GROUPS: usize = 1024;
/// Most prefixes of one family of a policy, over all its lists: as many as a table of the kernel holds.
pub const MAX_LISTED_PREFIXES: usize = probe_common::limits::MAX_PREFIXES as usize;
/// Most `[[allow]]`, `[[deny]]` and `[[exemption]]` tables of a policy, of each.
pub const MAX_ENTRIES: usize = 500_000;
/// Most elements of a list in a `[[service]]`.
pub const MAX_SERVICE_ELEMENTS: usize = 256;
/// Largest `packets_per_s`: a packet then costs 100 ns, and rounding is below one percent.
pub const MAX_PACKETS_PER_S: u64 = 10_000_000;
/// Largest `bytes_per_s`, 800 Gbit/s.
pub const MAX_BYTES_PER_S: u64 = 100_000_000_000;
/// Longest time, in seconds, whose worth of packets or bytes may come at once.
pub const MAX_BURST_S: u64 = 3600;
/// Most `[[test]]` tables of a policy.
pub const MAX_TESTS: usize = 65_536;
/// Most remarks reported for one file; the rest is counted.
pub const MAX_REMARKS: usize = 500;
