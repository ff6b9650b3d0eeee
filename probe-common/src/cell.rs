//! Cells of the verdict matrix.

use crate::{Action, limits::MAX_STAGES, shared::shared};

/// One cell of the verdict matrix, packed in a `u32`.
///
/// Bit 31 clear: the low byte is the [`Action`]. Bit 31 set: the low 16 bits are an index into the `STAGES` map,
/// because the action depends on the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Cell(pub u32);

const TIMED: u32 = 1 << 31;

impl Cell {
    /// A cell whose action does not change.
    pub const fn fixed(action: Action) -> Self {
        Self(action as u32)
    }

    /// A cell whose action is found in `STAGES[stages_idx]`.
    pub const fn timed(stages_idx: u16) -> Self {
        Self(TIMED | stages_idx as u32)
    }

    /// The index into `STAGES`, if the cell is timed.
    pub const fn stages_idx(self) -> Option<u32> {
        if self.0 & TIMED == 0 {
            None
        } else {
            Some(self.0 & 0xffff)
        }
    }

    /// The action code of a cell that is not timed.
    pub const fn fixed_action(self) -> u8 {
        (self.0 & 0xff) as u8
    }
}

shared! {
    /// The stages of a timed cell: up to four with an end, then the final one.
    pub struct Stages[24] {
        /// End of each stage (exclusive), Unix time in seconds, ascending. Unused stages are 0 and come first
        /// or last: the program takes the first stage whose end lies after now.
        pub until_s: [u32; MAX_STAGES],
        /// Action code of each stage; the last one is final.
        pub action: [u8; MAX_STAGES + 1],
        /// Zero.
        pub reserved: [u8; 3],
    }
}

impl Stages {
    /// The action code at an instant (Unix time in seconds).
    #[inline(always)]
    pub const fn action_at(&self, now_s: u32) -> u8 {
        let mut idx = 0;
        while idx < MAX_STAGES {
            if now_s < self.until_s[idx] {
                return self.action[idx];
            }
            idx += 1;
        }
        self.action[MAX_STAGES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_is_exclusive_and_unused_stages_are_skipped() {
        let stages = Stages {
            until_s: [100, 200, 0, 0],
            action: [1, 2, 9, 9, 3],
            reserved: [0; 3],
        };
        assert_eq!(stages.action_at(99), 1);
        assert_eq!(stages.action_at(100), 2, "at its `until` a stage is over");
        assert_eq!(stages.action_at(199), 2);
        assert_eq!(stages.action_at(200), 3);
    }

    #[test]
    fn cells_keep_what_they_were_made_of() {
        assert_eq!(Cell::fixed(Action::Drop).stages_idx(), None);
        assert_eq!(Cell::fixed(Action::Drop).fixed_action(), Action::Drop as u8);
        assert_eq!(Cell::timed(65_535).stages_idx(), Some(65_535));
    }
}
