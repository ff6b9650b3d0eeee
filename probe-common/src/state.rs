//! The state that all generations share: which one judges, whether the host is halted, what time it is.

use crate::{limits::NO_SLOT, shared::shared};

shared! {
    /// The one element of the `STATE` map. The daemon maps it and stores each field as one aligned word; the
    /// programs read each field once per packet.
    pub struct State[64] {
        /// See [`StateWord`].
        pub word: u64,
        /// Wall-clock time minus boot time, nanoseconds: Unix time is `bpf_ktime_get_boot_ns() + wall_offset_ns`.
        pub wall_offset_ns: u64,
        /// 0: normal. Otherwise halted until this Unix time in seconds (exclusive);
        /// [`crate::FOREVER`] means until resumed.
        pub halted_until_s: u64,
        /// The run-time override tries: number of denies in the low 32 bits, of all entries in the high ones. No denies
        /// lets the program skip the tries for packets that would pass, no entries for all.
        pub n_runtime: u64,
        /// Bit `b` of these 256 is set if this host has an address whose last byte is `b`: only then `OWN_V4` and
        /// `OWN_V6` are asked whether a source is one of this host's own addresses.
        pub own_filter: [u64; 4],
    }
}

/// The word that publishing stores: active slot, previous slot, confirm deadline. One store flips both
/// families and all interfaces at once.
///
/// Bits 0-7 active slot, 8-15 previous slot, 16-31 zero, 32-63 deadline: boot time in seconds after which the
/// entry program takes the previous slot; 0 when the active generation is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateWord {
    /// Slot of the generation in force.
    pub active: u8,
    /// Slot of the last confirmed generation before it, or [`NO_SLOT`].
    pub previous: u8,
    /// Boot time in seconds; 0 when confirmed.
    pub deadline_s: u32,
}

impl StateWord {
    /// Nothing published.
    pub const EMPTY: Self = Self {
        active: NO_SLOT,
        previous: NO_SLOT,
        deadline_s: 0,
    };

    /// The word as stored.
    pub const fn pack(self) -> u64 {
        self.active as u64 | (self.previous as u64) << 8 | (self.deadline_s as u64) << 32
    }

    /// The parts of a stored word.
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self {
            active: word as u8,
            previous: (word >> 8) as u8,
            deadline_s: (word >> 32) as u32,
        }
    }

    /// Whether the confirm deadline has passed, so that the previous slot is the one in force.
    #[inline(always)]
    pub const fn is_reverted(self, boot_ns: u64) -> bool {
        self.deadline_s != 0 && boot_ns >= self.deadline_s as u64 * 1_000_000_000
    }

    /// The slot that judges packets at a boot time in nanoseconds.
    #[inline(always)]
    pub const fn effective(self, boot_ns: u64) -> u8 {
        if self.is_reverted(boot_ns) {
            self.previous
        } else {
            self.active
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_round_trips_and_reverts_at_its_deadline() {
        let word = StateWord {
            active: 2,
            previous: 1,
            deadline_s: 4_000_000_000,
        };
        assert_eq!(StateWord::unpack(word.pack()), word);
        assert_eq!(StateWord::unpack(StateWord::EMPTY.pack()), StateWord::EMPTY);
        let word = StateWord {
            active: 2,
            previous: 1,
            deadline_s: 10,
        };
        assert_eq!(word.effective(9_999_999_999), 2);
        assert_eq!(word.effective(10_000_000_000), 1);
        assert_eq!(
            StateWord {
                deadline_s: 0,
                ..word
            }
            .effective(u64::MAX),
            2,
            "confirmed never reverts"
        );
    }
}
