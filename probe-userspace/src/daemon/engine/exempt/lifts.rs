//! Generations and what they know of lifts.
//!
//! A run-time override carries the number of a lift, and a generation was compiled with the numbers that were known then.
//! A lift that was never met before makes the policy in force be compiled again: the same text, as of the same instant.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    super::{amend::own_orders, apply::is_active},
    Engine,
    keep::Exemptions,
};
use crate::{
    audit::{Actor, Event},
    compile::Image,
    daemon::{Refusal, engine::start::millis, problems::Topic},
    exemption::{Exemption, Fault, Keys, KnownLifts, Lift, Plan},
    instant::Instant,
    policy::Policy,
};

/// Most names that a fix lists.
const MAX_NAMES_TOLD: usize = 20;

impl Exemptions {
    /// What a policy is to be compiled with: every lift met, and its own orders one by one.
    pub(in crate::daemon::engine) fn lifts_for(&self, policy: &Policy) -> KnownLifts {
        let mut keys = self.keys.clone();
        keys.offer(policy.orders.iter().map(|order| order.id.value.as_str()));
        KnownLifts {
            keys,
            needed: self.needed.clone(),
        }
    }
}

impl Engine {
    /// The numbers of the lifts of a plan, as far as they have any.
    pub(super) fn numbers(&self, plan: &Plan) -> BTreeSet<u8> {
        let numbers = plan.needed().filter_map(|lift| self.exemptions.keys.number(lift));
        numbers.collect()
    }

    /// Whether what judges packets knows a number. Without a policy there is nothing to know.
    pub(super) fn is_known(&self, number: u8) -> bool {
        match &self.in_force {
            Some(in_force) if !in_force.is_baseline => in_force.image.runtime_known.contains(&number),
            _ => true,
        }
    }

    /// The number that the kernel is told for a lift, and whether it stands for all of it.
    pub(super) fn told_key(&self, lift: &Lift) -> (u8, bool) {
        let keys = &self.exemptions.keys;
        match keys.number(lift) {
            Some(number) if self.is_known(number) => (number, true),
            _ => (keys.best_within(lift, |number| self.is_known(number)), false),
        }
    }

    /// Makes the generation in force know every lift of a plan: compiles and publishes the policy again if it must.
    pub(super) fn know(&mut self, plan: &Plan, actor: &Actor) -> Result<Option<u32>, Refusal> {
        let mut keys = self.exemptions.keys.clone();
        let mut needed = BTreeSet::new();
        for lift in plan.needed() {
            let number = keys.meet(lift).map_err(|full| {
                Refusal::conflict(format!(
                    "{full}: lift the same orders for the same services as others, or remove exemptions and reboot"
                ))
            })?;
            needed.insert(number);
        }
        let is_new = keys != self.exemptions.keys;
        let unknown = needed.iter().find(|number| !self.is_known(**number)).copied();
        if !is_new && unknown.is_none() {
            return Ok(None);
        }
        let state = self.dataplane.state().map_err(Refusal::failed)?;
        let is_policy_known = self
            .in_force
            .as_ref()
            .is_some_and(|in_force| !in_force.is_baseline);
        if state.confirm_left_s.is_some() {
            let lift = keys
                .iter()
                .find(|(number, _)| Some(*number) == unknown)
                .map(|(_, lift)| lift);
            return Err(Refusal::conflict(format!(
                "no generation knows this combination yet ({}), and while a policy waits for confirmation none is made: \
                 run `cordon confirm` or wait for the revert, then try again",
                lift.map_or_else(String::new, ToString::to_string)
            )));
        }
        if !is_policy_known && state.active.is_some() && self.in_force.is_none() {
            return Err(Refusal::conflict(
                "the daemon does not know the policy in force, so it cannot make it know this combination: see \
                 `cordon status`, apply the policy again, then try again",
            ));
        }
        // The numbers come first: a generation must not outlive what they stand for.
        let lifts = KnownLifts { keys, needed };
        let image = match unknown.filter(|_| is_policy_known) {
            Some(_) => Some(self.compile_in_force(&lifts)?),
            None => None,
        };
        self.keep_lifts(lifts.keys)?;
        let Some(image) = image else {
            return Ok(None);
        };
        self.publish_again(Arc::new(image), actor).map(Some)
    }

    /// The policy in force, as it was accepted and amended, with these lifts.
    fn compile_in_force(&self, lifts: &KnownLifts) -> Result<Image, Refusal> {
        let Some(in_force) = &self.in_force else {
            return Err(Refusal::conflict(
                "the daemon does not know the policy in force: apply the policy again, then try again",
            ));
        };
        let stored = &self.host_state.amendments;
        let as_of = in_force.as_of(stored, Instant::now());
        self.compile_again(in_force, &stored.to_amendments(), as_of, lifts)
    }

    fn publish_again(&mut self, image: Arc<Image>, actor: &Actor) -> Result<u32, Refusal> {
        let started = std::time::Instant::now();
        let state = self.dataplane.state().map_err(Refusal::failed)?;
        if let Some(active) = state.active.as_ref().filter(|_| is_active(&state, &image)) {
            // The combination comes to nothing, or to what another one comes to.
            let number = active.number;
            self.now_in_force(image);
            return Ok(number);
        }
        let event = Event::Publish {
            policy: image.policy_name.clone(),
            sha256: image.policy_sha256.clone(),
            generation: self.dataplane.next_number(),
            revision: None,
            confirm_s: None,
            lockouts: Vec::new(),
            break_glass: None,
        };
        self.record_first(actor, &event)?;
        let published = self.dataplane.publish(&image, None).map_err(Refusal::failed)?;
        self.note_published(&published, millis(started.elapsed()));
        tracing::info!(
            policy = image.policy_name,
            generation = published.number,
            "published again, with one more combination of what exemptions lift"
        );
        self.now_in_force(image);
        Ok(published.number)
    }

    fn now_in_force(&mut self, image: Arc<Image>) {
        if let Some(in_force) = &mut self.in_force {
            in_force.image = image;
        }
    }

    /// Stores numbers, before anything is published that goes by them.
    pub(in crate::daemon::engine) fn keep_lifts(&mut self, keys: Keys) -> Result<(), Refusal> {
        if keys == self.exemptions.keys {
            return Ok(());
        }
        self.store.set_lift_keys(&keys).map_err(Refusal::failed)?;
        self.exemptions.keys = keys;
        Ok(())
    }

    /// An image was compiled with numbers for its own orders: they are kept.
    pub(in crate::daemon::engine) fn keep_lifts_of(&mut self, image: &Image) {
        let mut keys = self.exemptions.keys.clone();
        keys.offer(own_orders(image).iter().map(String::as_str));
        if let Err(refusal) = self.keep_lifts(keys) {
            let text = format!("cannot store the numbers of lifts: {refusal}");
            self.problems.set(Topic::StoredExemptions, text);
        }
    }

    /// Orders and services that the policy in force does not have.
    pub(super) fn unknown_names(&self, exemption: &Exemption) -> Vec<Fault> {
        let image = self.in_force.as_ref().map(|in_force| &in_force.image);
        let orders: Vec<&str> = image.map_or_else(Vec::new, |image| {
            image.orders.iter().map(|order| order.id.as_str()).collect()
        });
        let services: Vec<&str> = image.map_or_else(Vec::new, |image| {
            image.scopes.services.iter().map(String::as_str).collect()
        });
        let mut faults = Vec::new();
        for (field, what, named, known) in [
            ("orders", "order", &exemption.orders, &orders),
            ("services", "service", &exemption.services, &services),
        ] {
            for name in named
                .iter()
                .flatten()
                .filter(|name| !known.contains(&name.as_str()))
            {
                faults.push(Fault {
                    field,
                    value: name.clone(),
                    message: format!("the policy in force has no {what} of this name"),
                    fix: match known.as_slice() {
                        [] => format!("leave `{field}` out: it has none"),
                        known => format!(
                            "name one of {}",
                            known[..known.len().min(MAX_NAMES_TOLD)].join(", ")
                        ),
                    },
                });
            }
        }
        faults
    }
}
