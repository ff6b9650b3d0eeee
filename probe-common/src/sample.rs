//! What the side-effect-free sample program takes and returns.

use crate::{shared::shared, verdict::Verdict};

shared! {
    /// Stands before the frame in the input of the sample program: the state that the judgement must assume,
    /// so that a sample's verdict depends on nothing but the generation.
    pub struct SampleHeader[16] {
        /// Now, Unix time in seconds.
        pub now_s: u32,
        /// As [`crate::State::halted_until_s`]; 0 judges as in normal state.
        pub halted_until_s: u32,
        /// 1: run-time overrides and failsafe prefixes are consulted as in production; 0: the generation alone.
        pub with_shared: u32,
        /// Zero.
        pub reserved: u32,
    }
}

/// The sample program's return value: action, reason and class in one `u32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct SampleVerdict(pub u32);

impl SampleVerdict {
    /// Packs a verdict: action in bits 0-7, reason in 8-15, class in 16-31.
    pub const fn pack(verdict: Verdict) -> Self {
        Self(verdict.action as u32 | (verdict.reason as u32) << 8 | (verdict.class as u32) << 16)
    }

    /// Unpacks; `None` if the bytes name no action or reason.
    pub const fn unpack(self) -> Option<Verdict> {
        let [action, reason, class_lo, class_hi] = self.0.to_le_bytes();
        match (crate::Action::from_code(action), crate::Reason::from_code(reason)) {
            (Some(action), Some(reason)) => Some(Verdict {
                action,
                reason,
                class: u16::from_le_bytes([class_lo, class_hi]),
            }),
            _ => None,
        }
    }
}
