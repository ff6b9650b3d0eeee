//! Bounds on run-time exemptions.

use probe_common::limits::MAX_RUNTIME_OVERRIDES;

/// Most exemptions of a host, each reference of a prefix counted.
pub const MAX_EXEMPTIONS: usize = 50_000;
/// Longest reference and approver, in characters.
pub const MAX_NAME_CHARS: usize = 128;
/// Longest reason, in characters.
pub const MAX_REASON_CHARS: usize = 1024;
/// Most orders that an exemption names.
pub const MAX_ORDERS: usize = 64;
/// Most services that an exemption names.
pub const MAX_SERVICES: usize = 32;
/// Largest file of exemptions, in bytes.
pub const MAX_FILE_BYTES: usize = 64 << 20;
/// Shorter IPv4 prefixes must be asked for: `wide`.
pub const MIN_PREFIX_LEN_V4: u8 = 24;
/// Shorter IPv6 prefixes must be asked for: `wide`.
pub const MIN_PREFIX_LEN_V6: u8 = 48;

const _: () = assert!(MAX_EXEMPTIONS <= MAX_RUNTIME_OVERRIDES as usize);
