//! What the side-effect-free sample program takes and returns.

use crate::{Action, Decision, Reason, shared::shared, verdict::Verdict};

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
        /// Index of the interface that the frame is judged as coming from; 0: none that is known.
        pub ifindex: u32,
    }
}

/// The sample program's return value: what is decided about the sample, in one `u32`. A decision is carried out
/// in production only, so a limit says `within_limit`, a redirect `policy_redirect`, a reject `policy_reject` here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct SampleVerdict(pub u32);

impl SampleVerdict {
    /// Packs a verdict, and of the decision what is not in it: action in bits 0-2, reason in 3-8, 9 whether it holds for
    /// both directions, tier in 10-15, class in 16-31.
    #[inline(always)]
    pub const fn pack(verdict: Verdict, decision: Decision) -> Self {
        Self(
            verdict.action as u32
                | (verdict.reason as u32) << 3
                | (decision.is_both() as u32) << 9
                | (decision.tier() as u32 & 0x3f) << 10
                | (verdict.class as u32) << 16,
        )
    }

    /// Unpacks a verdict and the decision, which has the verdict's action; `None` if the bits name no action or reason.
    pub const fn unpack(self) -> Option<(Verdict, Decision)> {
        let action = Action::from_code((self.0 & 7) as u8);
        let reason = Reason::from_code((self.0 >> 3 & 0x3f) as u8);
        let (Some(action), Some(reason)) = (action, reason) else {
            return None;
        };
        let decision = Decision::with_tier(action, (self.0 >> 10 & 0x3f) as u8);
        let verdict = Verdict {
            action,
            reason,
            class: (self.0 >> 16) as u16,
        };
        Some(if self.0 >> 9 & 1 == 1 {
            (verdict, decision.both())
        } else {
            (verdict, decision)
        })
    }
}

const _: () = assert!(
    Reason::ALL.len() <= 64,
    "a sample's verdict has six bits for the reason"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_comes_back_whole() {
        for reason in Reason::ALL {
            let verdict = Verdict {
                action: Action::Reject,
                reason: *reason,
                class: 65_535,
            };
            let decision = Decision::with_tier(Action::Reject, 63);
            for decision in [decision, decision.both()] {
                let packed = SampleVerdict::pack(verdict, decision);
                assert_eq!(packed.unpack(), Some((verdict, decision)));
            }
        }
        assert_eq!(SampleVerdict(u32::MAX).unpack(), None);
    }
}
