//! Explain: what the policy says about an address, and what the kernel does.

use std::net::IpAddr;

use ipnet::IpNet;
use probe_common::{Action, Reason, Verdict};

use super::Engine;
use crate::{
    compile::{Image, Query},
    daemon::{
        Refusal,
        api::{ExplainQuery, Explained, Lifted, VerdictNames},
        fixed::{explanation, fixed_verdict},
    },
    instant::Instant,
};

impl Engine {
    pub(super) fn explain(&self, asked: &ExplainQuery) -> Result<Explained, Refusal> {
        let Some(in_force) = &self.in_force else {
            return Err(Refusal::conflict(
                "no policy that the daemon knows is in force: see `cordon status`",
            ));
        };
        let address = asked.ip;
        let heading = asked.heading();
        if let Some(contradiction) = heading.contradiction(address) {
            return Err(Refusal::with_status(400, contradiction));
        }
        let image = &in_force.image;
        let failsafe = self.failsafe_prefixes();
        let now = Instant::now();
        let (exemptions, runtime) = self.exemptions_of(image.judged_source(address), now);
        let query = Query {
            heading,
            address,
            now,
            failsafe: &failsafe,
            runtime: &runtime,
        };
        let state = self.dataplane.state().map_err(Refusal::failed)?;
        let live = self
            .dataplane
            .judge_packet(address, &query.heading, now)
            .map_err(Refusal::failed)?;
        let fixed = fixed_verdict(address, &image.frame).or_else(|| own_address(live.0));
        let judged = [address, image.judged_source(address)];
        let expected = match (fixed, state.halted) {
            (Some((verdict, _)), _) => (verdict, 0),
            (None, Some(_)) => in_halt(image.decide(&query), &judged, &failsafe),
            (None, None) => image.decide(&query),
        };
        Ok(Explained {
            explanation: match fixed {
                Some((verdict, why)) => explanation(address, verdict, why),
                None => serde_json::to_value(image.explain(&query)).map_err(Refusal::failed)?,
            },
            exemptions,
            expected: names(image, expected),
            live: names(image, live),
            same: expected == live,
            lifted: self.lifted_orders(image, &query, expected.0.class),
        })
    }

    /// Lifted orders that have something to say about a packet.
    fn lifted_orders(&self, image: &Image, query: &Query<'_>, class: u16) -> Vec<Lifted> {
        let row = image.scopes.row_of(&query.heading, query.address).unwrap_or(0);
        let rows = image.scopes.possible_rows(row);
        let mut lifts = self.lifts();
        lifts.retain(|lift| {
            let order = image.orders.iter().find(|order| order.id == lift.order);
            order.is_some_and(|order| {
                rows.iter()
                    .any(|row| order.decision(*row, class, query.now).is_some())
            })
        });
        lifts
    }
}

/// A martian that the address itself does not show to be one: only the kernel's table knows this host's addresses.
fn own_address(live: Verdict) -> Option<(Verdict, &'static str)> {
    (live.reason == Reason::Martian).then_some((
        live,
        "always dropped: an address of this host itself cannot come by the wire (host file: martians)",
    ))
}

/// What a halt makes of a verdict: control traffic is judged before the halt is looked at. `judged` are the source
/// and the address inside it.
pub(super) fn in_halt(decided: (Verdict, u8), judged: &[IpAddr], failsafe: &[IpNet]) -> (Verdict, u8) {
    let is_failsafe = |address| failsafe.iter().any(|prefix| prefix.contains(address));
    if !decided.0.reason.has_class() {
        decided
    } else if judged.iter().any(is_failsafe) {
        (Verdict::without_class(Action::Pass, Reason::HaltedFailsafe), 0)
    } else {
        (Verdict::without_class(Action::Drop, Reason::Halted), 0)
    }
}

pub(super) fn names(image: &Image, (verdict, tier): (Verdict, u8)) -> VerdictNames {
    VerdictNames {
        action: verdict.action.name().to_owned(),
        reason: verdict.reason.name().to_owned(),
        class: verdict
            .reason
            .has_class()
            .then(|| image.location.classes.name(verdict.class).to_owned()),
        tier: image.tier(verdict, tier).map(|tier| tier.name),
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
        let judge = |verdict, address: &str| {
            let judged = [address.parse().unwrap(), address.parse().unwrap()];
            in_halt((verdict, 0), &judged, &failsafe).0.reason
        };
        assert_eq!(judge(passes, "203.0.113.1"), Reason::Halted);
        assert_eq!(judge(passes, "198.51.100.1"), Reason::HaltedFailsafe);
        assert_eq!(judge(link_local, "fe80::1"), Reason::LinkLocal);
    }
}
