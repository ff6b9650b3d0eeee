//! Overrides: prefixes that take another profile of the matrix, by the policy or at run time.

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

/// Changes ahead that a run-time override tells the kernel.
pub const RUNTIME_STAGES: usize = 4;

/// What a run-time override stands for, as a *lift key*. Run-time overrides outlive generations, and each generation
/// has profiles of its own: a table in it leads from keys to its profiles. The first three are those of [`profile`].
pub mod lift_key {
    use super::profile;

    /// Nothing is lifted.
    pub const NONE: u8 = profile::ALL_ORDERS;
    /// An explicit deny.
    pub const DENY: u8 = profile::DENY;
    /// Everything is lifted but rules marked `no_exemptions`.
    pub const ALL: u8 = profile::LIFT_ALL;
    /// First key that the daemon gives to a lift it has met.
    pub const FIRST_MET: u8 = profile::FIRST_OWN;
    /// Keys that there are.
    pub const N: usize = 256;
}

shared! {
    /// Value of the run-time override tries: what is lifted, stage by stage. It covers what shorter prefixes lift too,
    /// so the longest match says it all. Alignment four, as [`OverrideValue`].
    pub struct RuntimeValue[20] {
        /// End of each stage (exclusive), Unix time in seconds, ascending; 0: unused. After the last one nothing is
        /// lifted.
        pub until_s: [u32; RUNTIME_STAGES],
        /// Lift key of each stage.
        pub key: [u8; RUNTIME_STAGES],
    }
}

impl RuntimeValue {
    /// The lift key at an instant (Unix time in seconds).
    #[inline(always)]
    pub const fn key_at(&self, now_s: u32) -> u8 {
        let mut idx = 0;
        while idx < RUNTIME_STAGES {
            if now_s < self.until_s[idx] {
                return self.key[idx];
            }
            idx += 1;
        }
        lift_key::NONE
    }
}

const _: () = assert!(align_of::<RuntimeValue>() <= 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_time_override_goes_through_its_stages_and_lifts_nothing_afterwards() {
        let value = RuntimeValue {
            until_s: [100, 200, 0, 0],
            key: [7, 5, 9, 9],
        };
        assert_eq!(
            [0, 99, 100, 199, 200, u32::MAX].map(|now_s| value.key_at(now_s)),
            [7, 7, 5, 5, 0, 0]
        );
        assert_eq!(RuntimeValue::default().key_at(0), lift_key::NONE);
    }
}
