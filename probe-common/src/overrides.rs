//! Overrides: prefixes that take another row of the matrix.

use crate::shared::shared;

/// `until_s` of an override that has no end.
pub const FOREVER: u32 = u32::MAX;

/// Profiles with a fixed meaning in every generation. The policy's own follow from [`profile::FIRST_OWN`].
pub mod profile {
    /// All orders hold: every address without an override.
    pub const ALL_ORDERS: u8 = 0;
    /// Every cell drops: an explicit deny.
    pub const DENY: u8 = 1;
    /// Every order and every default is lifted; only rules marked `no_exemptions` hold.
    pub const LIFT_ALL: u8 = 2;
    /// First profile that a policy defines itself.
    pub const FIRST_OWN: u8 = 3;
}

shared! {
    /// Value of the override tries. Alignment four, so that it may stand behind a four-byte key.
    pub struct OverrideValue[8] {
        /// End (exclusive), Unix time in seconds; [`FOREVER`] for none.
        pub until_s: u32,
        /// Row of the matrix that the prefix takes.
        pub profile: u8,
        /// Length in bits of this entry's own prefix: an expired entry makes the program look up again with
        /// one bit less.
        pub prefix_len: u8,
        /// Zero.
        pub flags: u16,
    }
}

impl OverrideValue {
    /// Whether the entry holds at an instant (Unix time in seconds).
    pub const fn is_live(&self, now_s: u32) -> bool {
        self.until_s == FOREVER || now_s < self.until_s
    }
}

const _: () = assert!(align_of::<OverrideValue>() <= 4);
