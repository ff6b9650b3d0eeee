//! What a reason means for the packet, as labels. Each reason has one action and one fate, so these labels make no more
//! series.

use probe_common::{Action, Fate, Reason, Verdict};

/// The action that the reason stands for.
pub fn action(reason: Reason, no_generation_pass: bool) -> Action {
    match reason {
        Reason::PolicyPass
        | Reason::Failsafe
        | Reason::Exempt
        | Reason::Reply
        | Reason::IcmpError
        | Reason::TunnelUninspected
        | Reason::NotIp
        | Reason::Arp
        | Reason::LinkLocal
        | Reason::NeighbourDiscovery
        | Reason::Dhcp
        | Reason::HaltedFailsafe
        | Reason::NoGenerationFailsafe
        | Reason::Mpls
        | Reason::Llc
        | Reason::Snap
        | Reason::VlanNotJudged
        | Reason::HaltedIcmpError
        | Reason::HaltedReply => Action::Pass,
        Reason::PolicyCount => Action::Count,
        Reason::PolicyMark => Action::Mark,
        Reason::WithinLimit | Reason::OverLimit => Action::Limit,
        Reason::PolicyRedirect | Reason::RedirectGone | Reason::RedirectTooLong | Reason::RedirectLoop => {
            Action::Redirect
        }
        Reason::DrainPass | Reason::PolicyDrain => Action::Drain,
        Reason::PolicyReject | Reason::RejectSilent => Action::Reject,
        Reason::NoGeneration if no_generation_pass => Action::Pass,
        Reason::PolicyDrop
        | Reason::Deny
        | Reason::IcmpErrorCapped
        | Reason::TunnelInner
        | Reason::EgressDrop
        | Reason::DeepVlan
        | Reason::Truncated
        | Reason::Malformed
        | Reason::Halted
        | Reason::NoGeneration
        | Reason::Martian => Action::Drop,
    }
}

/// What became of the packet.
pub fn fate(reason: Reason, no_generation_pass: bool) -> &'static str {
    let verdict = Verdict::without_class(action(reason, no_generation_pass), reason);
    match verdict.fate() {
        Fate::Passed => "passed",
        Fate::Dropped => "dropped",
        Fate::Answered => "answered",
        Fate::Redirected => "redirected",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_actions_and_fates_agree() {
        for reason in Reason::ALL.iter().copied() {
            for passes in [false, true] {
                match action(reason, passes) {
                    Action::Pass | Action::Count | Action::Mark => assert_eq!(fate(reason, passes), "passed"),
                    Action::Drop => assert_eq!(fate(reason, passes), "dropped", "{}", reason.name()),
                    Action::Limit | Action::Redirect | Action::Drain | Action::Reject => {}
                }
            }
        }
        assert_eq!(fate(Reason::NoGeneration, true), "passed");
        assert_eq!(fate(Reason::PolicyReject, false), "answered");
        assert_eq!(fate(Reason::DrainPass, false), "passed");
    }
}
