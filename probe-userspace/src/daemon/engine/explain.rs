//! Explain: what the policy says about an address, and what the kernel does.

use std::net::IpAddr;

use ipnet::IpNet;
use probe_common::{Action, Reason, Verdict};

use super::Engine;
use crate::{
    compile::{Image, Query},
    daemon::{
        Refusal,
        api::{Explained, VerdictNames},
        fixed::{explanation, fixed_verdict},
    },
    instant::Instant,
};

impl Engine {
    pub(super) fn explain(&self, address: IpAddr) -> Result<Explained, Refusal> {
        let Some(in_force) = &self.in_force else {
            return Err(Refusal::conflict(
                "no policy that the daemon knows is in force: see `cordon status`",
            ));
        };
        let image = &in_force.image;
        let failsafe = self.failsafe_prefixes();
        let now = Instant::now();
        let query = Query {
            heading: crate::compile::Heading::default(),
            address,
            now,
            failsafe: &failsafe,
        };
        let fixed = fixed_verdict(address);
        let state = self.dataplane.state().map_err(Refusal::failed)?;
        let expected = match (fixed, state.halted) {
            (Some((verdict, _)), _) => verdict,
            (None, Some(_)) => in_halt(image.verdict(&query), address, &failsafe),
            (None, None) => image.verdict(&query),
        };
        let live = self.dataplane.judge(address, now).map_err(Refusal::failed)?;
        Ok(Explained {
            explanation: match fixed {
                Some((verdict, why)) => explanation(address, verdict, why),
                None => serde_json::to_value(image.explain(&query)).map_err(Refusal::failed)?,
            },
            expected: names(image, expected),
            live: names(image, live),
            same: expected == live,
        })
    }
}

/// What a halt makes of a verdict: control traffic is judged before the halt is looked at.
fn in_halt(verdict: Verdict, address: IpAddr, failsafe: &[IpNet]) -> Verdict {
    if !verdict.reason.has_class() {
        verdict
    } else if failsafe.iter().any(|prefix| prefix.contains(&address)) {
        Verdict::without_class(Action::Pass, Reason::HaltedFailsafe)
    } else {
        Verdict::without_class(Action::Drop, Reason::Halted)
    }
}

fn names(image: &Image, verdict: Verdict) -> VerdictNames {
    VerdictNames {
        action: verdict.action.name().to_owned(),
        reason: verdict.reason.name().to_owned(),
        class: verdict
            .reason
            .has_class()
            .then(|| image.location.classes.name(verdict.class).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_drops_what_is_not_failsafe_and_leaves_control_traffic() {
        let failsafe: [IpNet; 1] = ["198.51.100.0/24".parse().unwrap()];
        let passes = Verdict {
            action: Action::Pass,
            reason: Reason::PolicyPass,
            class: 2,
        };
        let link_local = Verdict::without_class(Action::Pass, Reason::LinkLocal);
        let judge = |verdict, address: &str| in_halt(verdict, address.parse().unwrap(), &failsafe).reason;
        assert_eq!(judge(passes, "203.0.113.1"), Reason::Halted);
        assert_eq!(judge(passes, "198.51.100.1"), Reason::HaltedFailsafe);
        assert_eq!(judge(link_local, "fe80::1"), Reason::LinkLocal);
    }
}
