//! Locate: the decision on an address for the layer above, by the compiled policy alone. Cheap: no packet is run.

use probe_common::{Action, Reason, Verdict};

use super::{
    Engine,
    explain::{in_halt, names},
    status::instant_text,
};
use crate::{
    compile::{Heading, Query},
    daemon::{
        Refusal,
        api::{LocateQuery, Located, LocatedOrder},
        fixed::fixed_verdict,
    },
    instant::Instant,
};

impl Engine {
    pub(super) fn locate(&self, asked: &LocateQuery) -> Result<Located, Refusal> {
        let Some(in_force) = &self.in_force else {
            return Err(Refusal::conflict(
                "no policy that the daemon knows is in force: see `cordon status`",
            ));
        };
        let image = &in_force.image;
        let state = self.dataplane.state().map_err(Refusal::failed)?;
        let failsafe = self.failsafe_prefixes();
        let now = Instant::now();
        let (exemptions, runtime) = self.exemptions_of(image.judged_source(asked.ip), now);
        let query = Query {
            heading: Heading::default(),
            address: asked.ip,
            now,
            failsafe: &failsafe,
            runtime: &runtime,
        };
        let halted = state.halted.is_some();
        let mut located = Located {
            ip: asked.ip,
            class: None,
            decision: String::new(),
            tier: None,
            reason: String::new(),
            until: None,
            orders: Vec::new(),
            exemption: None,
            failsafe: None,
            halted,
            policy: image.policy_name.clone(),
            generation: state.active.map_or(0, |active| active.number),
        };
        let is_own = image.frame.martians_drop
            && self
                .network
                .links
                .iter()
                .any(|link| link.addresses.contains(&asked.ip));
        let martian = Verdict::without_class(Action::Drop, Reason::Martian);
        let fixed = fixed_verdict(asked.ip, &image.frame).map(|(verdict, _)| verdict);
        let decided = match fixed.or(is_own.then_some(martian)) {
            Some(verdict) => (verdict, 0),
            None => {
                let explanation = image.explain(&query);
                located.class = Some(explanation.class);
                located.until = explanation.changes_at.map(instant_text);
                let at_run_time = exemptions
                    .first()
                    .map(|found| format!("{} {}: {}", found.prefix, found.reference, found.reason));
                located.exemption = explanation.override_.or(at_run_time);
                located.failsafe = explanation.failsafe.map(|prefix| prefix.to_string());
                located.orders = explanation
                    .orders
                    .into_iter()
                    .map(|(id, _, action)| LocatedOrder {
                        id,
                        action: action.to_owned(),
                    })
                    .collect();
                let judged = [asked.ip, image.judged_source(asked.ip)];
                match state.halted {
                    None => image.decide(&query),
                    Some(until) => {
                        located.until = until.map(instant_text);
                        in_halt(image.decide(&query), &judged, &failsafe)
                    }
                }
            }
        };
        let names = names(image, decided);
        located.decision = names.action;
        located.reason = names.reason;
        located.tier = names.tier;
        Ok(located)
    }
}
