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
/// Most prefixes of a policy, over all its lists.
pub const MAX_LISTED_PREFIXES: usize = 500_000;
/// Most `[[test]]` tables of a policy.
pub const MAX_TESTS: usize = 65_536;
/// Most remarks reported for one file; the rest is counted.
pub const MAX_REMARKS: usize = 500;
