//! Sources that no policy is asked about: the program in the kernel answers them as it reads the frame.

use std::net::IpAddr;

use probe_common::{Action, Reason, Verdict};
use serde_json::json;

use crate::compile::{FrameSettings, embedded_v4};

/// The verdict on such a source, and why; `None`: the policy decides.
pub fn fixed_verdict(address: IpAddr, frame: &FrameSettings) -> Option<(Verdict, &'static str)> {
    let pass = |reason, why| Some((Verdict::without_class(Action::Pass, reason), why));
    let drop = |reason, why| Some((Verdict::without_class(Action::Drop, reason), why));
    match address {
        IpAddr::V4(address) if address.is_link_local() => {
            pass(Reason::LinkLocal, "always passes: link-local source")
        }
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            pass(Reason::LinkLocal, "always passes: link-local source")
        }
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => drop(
            Reason::Malformed,
            "always dropped: an IPv4-mapped source is never on a wire",
        ),
        address if frame.martians_drop && address.is_loopback() => drop(
            Reason::Martian,
            "always dropped: a loopback source cannot come by the wire (host file: martians)",
        ),
        IpAddr::V6(address) if frame.martians_drop => {
            let embedded = embedded_v4(address, &frame.nat64_prefixes)?;
            if embedded.is_martian() {
                drop(
                    Reason::Martian,
                    "always dropped: the IPv4 address inside is not of the global internet (host file: martians)",
                )
            } else {
                None
            }
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// The explanation of such a verdict, in the form of `compile::Explanation` as far as it applies.
pub fn explanation(address: IpAddr, verdict: Verdict, why: &str) -> serde_json::Value {
    json!({
        "address": address,
        "action": verdict.action.name(),
        "reason": verdict.reason.name(),
        "fixed": why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_policy_is_asked_about_and_the_rest() {
        let mut frame = FrameSettings::default();
        let judge = |address: &str, frame: &FrameSettings| {
            let (verdict, _) = fixed_verdict(address.parse().unwrap(), frame)?;
            Some((verdict.action, verdict.reason))
        };
        for address in ["169.254.0.1", "fe80::1", "febf::1"] {
            assert_eq!(
                judge(address, &frame),
                Some((Action::Pass, Reason::LinkLocal)),
                "{address}"
            );
        }
        assert_eq!(
            judge("::ffff:192.0.2.1", &frame),
            Some((Action::Drop, Reason::Malformed))
        );
        let martians = ["127.0.0.1", "::1", "2002:a00:1::1", "64:ff9b::7f00:1"];
        for address in martians {
            assert_eq!(
                judge(address, &frame),
                Some((Action::Drop, Reason::Martian)),
                "{address}"
            );
        }
        for address in [
            "169.253.0.1",
            "192.0.2.1",
            "fec0::1",
            "::192.0.2.1",
            "2001:db8::1",
            "2002:c000:201::1",
        ] {
            assert_eq!(judge(address, &frame), None, "{address}");
        }
        frame.martians_drop = false;
        for address in martians {
            assert_eq!(judge(address, &frame), None, "{address}");
        }
    }
}
