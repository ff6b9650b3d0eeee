//! Cells of the verdict matrix.

use crate::{
    Action,
    limits::{MAX_STAGES, MAX_TIERS},
    shared::shared,
};

/// What a policy wants done: an action, the tier that carries its parameters, and the direction.
///
/// Bits 0-2 the [`Action`], bit 7 [`Decision::is_both`], bits 8-15 an index into the `TIERS` map; 0: no tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Decision(pub u16);

const BOTH: u16 = 1 << 7;

impl Decision {
    /// Hands the packet to the stack.
    pub const PASS: Self = Self::new(Action::Pass);
    /// Drops it silently.
    pub const DROP: Self = Self::new(Action::Drop);

    /// A decision without parameters.
    pub const fn new(action: Action) -> Self {
        Self(action as u16)
    }

    /// A decision with the parameters of a tier.
    pub const fn with_tier(action: Action, tier: u8) -> Self {
        Self(action as u16 | (tier as u16) << 8)
    }

    /// The same for both directions: what leaves for that place is dropped too, and replies do not pass.
    pub const fn both(self) -> Self {
        Self(self.0 | BOTH)
    }

    /// Whether it holds for both directions.
    #[inline(always)]
    pub const fn is_both(self) -> bool {
        self.0 & BOTH != 0
    }

    /// Code of the action: always one of [`Action`]'s, since all eight codes are taken.
    #[inline(always)]
    pub const fn action_code(self) -> u8 {
        (self.0 & 7) as u8
    }

    /// The action.
    pub const fn action(self) -> Action {
        match Action::from_code(self.action_code()) {
            Some(action) => action,
            None => Action::Drop,
        }
    }

    /// Index into `TIERS`; 0: none.
    #[inline(always)]
    pub const fn tier(self) -> u8 {
        (self.0 >> 8) as u8
    }
}

const _: () = assert!(
    Action::ALL.len() == 8,
    "an action code takes three bits, all of them used"
);
const _: () = assert!(MAX_TIERS < 64, "a sample's verdict has six bits for the tier");

/// One cell of the verdict matrix, packed in a `u32`.
///
/// Bit 31 clear: the low 16 bits are the [`Decision`]. Bit 31 set: they are an index into the `STAGES` map,
/// because the decision depends on the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Cell(pub u32);

const TIMED: u32 = 1 << 31;

impl Cell {
    /// A cell whose decision does not change.
    pub const fn fixed(decision: Decision) -> Self {
        Self(decision.0 as u32)
    }

    /// A cell whose decision is found in `STAGES[stages_idx]`.
    pub const fn timed(stages_idx: u16) -> Self {
        Self(TIMED | stages_idx as u32)
    }

    /// The index into `STAGES`, if the cell is timed.
    #[inline(always)]
    pub const fn stages_idx(self) -> Option<u32> {
        if self.0 & TIMED == 0 {
            None
        } else {
            Some(self.0 & 0xffff)
        }
    }

    /// The decision of a cell that is not timed.
    #[inline(always)]
    pub const fn fixed_decision(self) -> Decision {
        Decision(self.0 as u16)
    }
}

shared! {
    /// The stages of a timed cell: up to four with an end, then the final one.
    pub struct Stages[28] {
        /// End of each stage (exclusive), Unix time in seconds, ascending. Unused stages are 0 and come first
        /// or last: the program takes the first stage whose end lies after now.
        pub until_s: [u32; MAX_STAGES],
        /// [`Decision`] of each stage; the last one is final.
        pub decision: [u16; MAX_STAGES + 1],
        /// Zero.
        pub reserved: [u8; 2],
    }
}

impl Stages {
    /// The decision at an instant (Unix time in seconds).
    #[inline(always)]
    pub const fn decision_at(&self, now_s: u32) -> Decision {
        let mut idx = 0;
        while idx < MAX_STAGES {
            if now_s < self.until_s[idx] {
                return Decision(self.decision[idx]);
            }
            idx += 1;
        }
        Decision(self.decision[MAX_STAGES])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_is_exclusive_and_unused_stages_are_skipped() {
        let stages = Stages {
            until_s: [100, 200, 0, 0],
            decision: [1, 2, 9, 9, 3],
            reserved: [0; 2],
        };
        assert_eq!(stages.decision_at(99), Decision(1));
        assert_eq!(
            stages.decision_at(100),
            Decision(2),
            "at its `until` a stage is over"
        );
        assert_eq!(stages.decision_at(199), Decision(2));
        assert_eq!(stages.decision_at(200), Decision(3));
    }

    #[test]
    fn decisions_and_cells_keep_what_they_were_made_of() {
        let decision = Decision::with_tier(Action::Redirect, 63).both();
        assert_eq!(decision.action(), Action::Redirect);
        assert_eq!(decision.tier(), 63);
        assert!(decision.is_both() && !Decision::DROP.is_both());
        assert_eq!(Cell::fixed(decision).stages_idx(), None);
        assert_eq!(Cell::fixed(decision).fixed_decision(), decision);
        assert_eq!(Cell::timed(65_535).stages_idx(), Some(65_535));
    }
}
