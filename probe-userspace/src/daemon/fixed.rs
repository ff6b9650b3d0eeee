//! Sources that no policy is asked about: the program in the kernel answers them as it reads the frame.

use std::net::IpAddr;

use probe_common::{Action, Reason, Verdict};
use serde_json::json;

/// The verdict on such a source, and why; `None`: the policy decides.
pub fn fixed_verdict(address: IpAddr) -> Option<(Verdict, &'static str)> {
    let link_local = Verdict::without_class(Action::Pass, Reason::LinkLocal);
    match address {
        IpAddr::V4(address) if address.is_link_local() => {
            Some((link_local, "always passes: link-local source"))
        }
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            Some((link_local, "always passes: link-local source"))
        }
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => Some((
            Verdict::without_class(Action::Drop, Reason::Malformed),
            "always dropped: an IPv4-mapped source is never on a wire",
        )),
        _ => None,
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
    fn link_local_passes_mapped_drops_and_the_rest_is_for_the_policy() {
        let judge = |address: &str| {
            let (verdict, _) = fixed_verdict(address.parse().unwrap())?;
            Some((verdict.action, verdict.reason))
        };
        for address in ["169.254.0.1", "fe80::1", "febf::1"] {
            assert_eq!(
                judge(address),
                Some((Action::Pass, Reason::LinkLocal)),
                "{address}"
            );
        }
        assert_eq!(judge("::ffff:192.0.2.1"), Some((Action::Drop, Reason::Malformed)));
        for address in [
            "169.253.0.1",
            "192.0.2.1",
            "fec0::1",
            "::192.0.2.1",
            "2001:db8::1",
        ] {
            assert_eq!(judge(address), None, "{address}");
        }
    }
}
