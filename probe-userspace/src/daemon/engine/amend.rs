//! Amendments: the policies in force are compiled again as amended, and take the place of what is in force by one
//! store. While a policy waits for confirmation, so does the one that the kernel may revert to.

use std::sync::Arc;

use super::{Engine, InForce, start::millis, status::instant_text};
use crate::{
    audit::{Actor, Event},
    compile::Image,
    daemon::{
        Refusal,
        amendments::{StoredAmendments, StoredLift, StoredServiceHalt},
        api::{Lifted, ServiceHalted},
        build,
        problems::Topic,
    },
    dataplane::{Previous, Staged},
    exemption::KnownLifts,
    geo::Location,
    instant::Instant,
    policy::{Amendments, Policy, halted_service},
};

/// The policies in force as amended; not in force yet.
pub(super) struct Amended {
    next: StoredAmendments,
    compile_ms: u64,
    active: InForce,
    fallback: Fallback,
}

/// What the kernel may revert to.
enum Fallback {
    /// Nothing: no policy waits for confirmation.
    None,
    /// It is not known what, so it cannot be amended.
    Unknown,
    /// This.
    Amended(InForce),
}

/// What may fail before a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It opens: it must be stored first.
    Opens,
    /// It closes: a disk that takes no more must not stop it.
    Closes,
}

impl Amended {
    /// The image that is to be in force.
    pub fn image(&self) -> &Image {
        &self.active.image
    }
}

impl Engine {
    /// Compiles the policies in force with other amendments.
    pub(super) fn amended(&self, mut next: StoredAmendments) -> Result<Amended, Refusal> {
        let started = std::time::Instant::now();
        let now = Instant::now();
        next.changed_s = Some(now.0);
        next.forget_ended(now);
        let Some(active) = &self.in_force else {
            return Err(unknown_policy());
        };
        let fallback = match (&self.fallback, self.is_waiting()?) {
            (_, false) => Fallback::None,
            (None, true) => Fallback::Unknown,
            (Some(fallback), true) => Fallback::Amended(self.amend(fallback, &next, now)?),
        };
        Ok(Amended {
            active: self.amend(active, &next, now)?,
            fallback,
            next,
            compile_ms: millis(started.elapsed()),
        })
    }

    /// The same policy and location with amendments.
    fn amend(&self, in_force: &InForce, next: &StoredAmendments, now: Instant) -> Result<InForce, Refusal> {
        let lifts = self.exemptions.lifts_for(&in_force.policy);
        let image = self.compile_again(in_force, &next.to_amendments(), now, &lifts);
        let image = image.map_err(|refusal| Refusal {
            error: format!(
                "nothing was changed: {} this way. A change that does not end by itself (without --for) needs one \
                 change less",
                refusal.error
            ),
            ..refusal
        })?;
        Ok(InForce {
            image: Arc::new(image),
            amendments: next.clone(),
            ..in_force.clone()
        })
    }

    /// Compiles what is in force for the same location, with other amendments or lifts.
    pub(super) fn compile_again(
        &self,
        in_force: &InForce,
        amendments: &Amendments,
        as_of: Instant,
        lifts: &KnownLifts,
    ) -> Result<Image, Refusal> {
        let location = &in_force.image.location;
        let frame = &self.settings.host.frame;
        let policy = Policy::clone(&in_force.policy);
        build::compile_amended(policy, in_force.text(), location, as_of, frame, amendments, lifts)
    }

    /// Publishes the policies as amended. The state file comes first: a daemon that dies in between does what it says.
    pub(super) fn exchange_for(&mut self, amended: Amended, change: Change) -> Result<(), Refusal> {
        let before = std::mem::replace(&mut self.host_state.amendments, amended.next.clone());
        let stored = self.store.set_host_state(&self.host_state);
        if let (Err(error), Change::Opens) = (&stored, change) {
            let refusal = Refusal::failed(format!("cannot store what would be changed: {error:#}"));
            self.host_state.amendments = before;
            return Err(refusal);
        }
        self.problems.note(
            Topic::StoredState,
            "what was changed is in force, but a restart would forget it",
            stored,
        );
        if let Err(refusal) = self.exchange(amended) {
            self.host_state.amendments = before;
            self.save_host_state();
            return Err(refusal);
        }
        self.problems.clear(&Topic::Amendments);
        Ok(())
    }

    fn exchange(&mut self, amended: Amended) -> Result<(), Refusal> {
        let Amended {
            active,
            fallback,
            compile_ms,
            ..
        } = amended;
        let staged = self.stage(&active)?;
        let (previous, fallback) = match fallback {
            Fallback::None => (Previous::None, None),
            Fallback::Unknown => (Previous::Keep, None),
            Fallback::Amended(fallback) => {
                let other = self
                    .stage(&fallback)
                    .inspect_err(|_| self.dataplane.discard(&staged))?;
                (Previous::Other(Box::new(other)), Some(fallback))
            }
        };
        // The deadline may have passed meanwhile.
        self.settle();
        let (active, staged, previous, fallback) = match (previous, fallback, self.is_waiting()?) {
            (Previous::Other(other), Some(fallback), false) => {
                self.dataplane.discard(&staged);
                (fallback, *other, Previous::None, None)
            }
            (Previous::Keep, _, false) => {
                self.dataplane.discard(&staged);
                return Err(Refusal::conflict(
                    "the policy that waited was reverted meanwhile: see `cordon status`, then try again",
                ));
            }
            (previous, fallback, _) => (active, staged, previous, fallback),
        };
        if matches!(previous, Previous::Keep) {
            let text = "it is not known what the kernel reverts to: if the policy that waits is not confirmed, lifts and \
                        halts of services end with it";
            self.problems.set(Topic::Confirm, text);
        }
        let other = match &previous {
            Previous::Other(staged) => Some(staged.number()),
            Previous::Keep | Previous::None => None,
        };
        let published = self
            .dataplane
            .exchange(staged, previous)
            .map_err(Refusal::failed)?;
        self.note_published(&published, compile_ms);
        self.record_published(&active, published.number);
        if let (Some(fallback), Some(number)) = (&fallback, other) {
            self.record_published(fallback, number);
        }
        tracing::info!(
            policy = active.image.policy_name,
            generation = published.number,
            "amended"
        );
        self.in_force = Some(active);
        self.fallback = fallback;
        Ok(())
    }

    fn stage(&mut self, in_force: &InForce) -> Result<Staged, Refusal> {
        let staged = self.dataplane.stage(&in_force.image).map_err(Refusal::failed)?;
        self.dataplane.verify(staged).map_err(Refusal::failed)
    }

    /// The image of a policy that is about to be applied, with the lifts and halts of services that are in force.
    pub(super) fn with_amendments(
        &self,
        policy: &Policy,
        text: &str,
        location: &Arc<Location>,
        now: Instant,
        lifts: &KnownLifts,
    ) -> Result<Option<Image>, Refusal> {
        let amendments = self.host_state.amendments.to_amendments();
        if amendments.is_empty() {
            return Ok(None);
        }
        let frame = &self.settings.host.frame;
        let image = build::compile_amended(policy.clone(), text, location, now, frame, &amendments, lifts);
        let image = image.map_err(|refusal| Refusal {
            // By itself it compiles.
            status: 409,
            error: format!(
                "{}: with what is lifted and halted now; end that with `cordon unlift --all` or `cordon resume`",
                refusal.error
            ),
            ..refusal
        })?;
        Ok(Some(image))
    }

    /// What becomes of the lifts and halts of services under a policy.
    pub(super) fn tell_amendments(&self, image: &Image, now: Instant) -> Vec<String> {
        let amendments = &self.host_state.amendments;
        let until = |until_s: Option<u32>| {
            until_s.map_or_else(String::new, |until_s| format!(" until {}", Instant(until_s)))
        };
        let lifts = amendments.live_lifts(now).map(|lift| {
            let (order, until) = (&lift.order, until(lift.until_s));
            if image.orders.iter().any(|known| known.id == *order) {
                format!("order {order} stays lifted{until}: {}", lift.reason)
            } else {
                format!("the lift of order {order} is dropped: the policy has no such order")
            }
        });
        let halts = amendments.live_halts(now).map(|halt| {
            let name = &halt.service.name;
            format!(
                "service {name} stays halted{}: {}",
                until(halt.until_s),
                halt.reason
            )
        });
        lifts.chain(halts).collect()
    }

    /// The policy in force is there for good: forgets what had ended when it was compiled, and lifts of orders that it
    /// does not have.
    pub(super) fn settle_amendments(&mut self) {
        let Some(in_force) = &self.in_force else {
            return;
        };
        if self.problems.has(&Topic::UnreadableState) {
            let result = self.store.settle_unreadable_state();
            self.problems
                .note(Topic::UnreadableState, "what is in force is known again", result);
        }
        let mut next = self.host_state.amendments.clone();
        let now = Instant::now();
        next.forget_ended(in_force.as_of(&next, now));
        let orders = own_orders(&in_force.image);
        let dropped = next.forget_unknown(&orders, now);
        for lift in dropped {
            tracing::info!(order = lift.order, "the lift is dropped: there is no such order");
            let event = Event::Unlift {
                order: Some(lift.order),
                ended: false,
            };
            self.record(&Actor::Daemon, &event);
        }
        // What is dropped makes no difference to its image.
        if let Some(in_force) = &mut self.in_force {
            in_force.amendments.clone_from(&next);
        }
        if next != self.host_state.amendments {
            self.host_state.amendments = next;
            self.save_host_state();
        }
    }

    /// What the kernel has ended by itself is recorded once. It stays stored until the next publish.
    pub(super) fn note_ended_amendments(&mut self) {
        let now = Instant::now();
        let is_ended = |until_s: Option<u32>| until_s.is_some_and(|until_s| until_s <= now.0);
        let mut events = Vec::new();
        for lift in &mut self.host_state.amendments.lifts {
            if is_ended(lift.until_s) && !lift.is_over {
                lift.is_over = true;
                events.push(Event::Unlift {
                    order: Some(lift.order.clone()),
                    ended: true,
                });
            }
        }
        for halt in &mut self.host_state.amendments.halts {
            if is_ended(halt.until_s) && !halt.is_over {
                halt.is_over = true;
                events.push(Event::Resume {
                    service: Some(halt.service.name.clone()),
                    ended: true,
                });
            }
        }
        if events.is_empty() {
            return;
        }
        for event in events {
            self.record(&Actor::Daemon, &event);
        }
        self.save_host_state();
    }

    pub(super) fn is_waiting(&self) -> Result<bool, Refusal> {
        let state = self.dataplane.state().map_err(Refusal::failed)?;
        Ok(state.confirm_left_s.is_some())
    }

    pub(super) fn lifts(&self) -> Vec<Lifted> {
        let lifts = self.host_state.amendments.live_lifts(Instant::now());
        lifts.map(lifted).collect()
    }

    pub(super) fn halted_services(&self) -> Vec<ServiceHalted> {
        let halts = self.host_state.amendments.live_halts(Instant::now());
        halts.map(service_halted).collect()
    }
}

impl InForce {
    /// The text of the policy.
    pub(super) fn text(&self) -> &str {
        match &self.source {
            Some(source) => &source.text,
            None => build::PASS_EVERYTHING,
        }
    }

    /// The instant that its image is compiled as of.
    pub(super) fn as_of(&self, amendments: &StoredAmendments, now: Instant) -> Instant {
        let accepted = self.source.as_ref().and_then(|source| source.accepted);
        amendments.as_of(accepted.unwrap_or(now), now)
    }
}

pub(super) fn unknown_policy() -> Refusal {
    Refusal::conflict(
        "the daemon does not know the policy in force, so it cannot amend it: see `cordon status`; `cordon halt` \
         without a service drops the world all the same",
    )
}

/// Ids of the policy's own orders.
pub(super) fn own_orders(image: &Image) -> Vec<String> {
    let ids = image.orders.iter().map(|order| &order.id);
    ids.filter(|id| halted_service(id).is_none()).cloned().collect()
}

pub(super) fn lifted(lift: &StoredLift) -> Lifted {
    Lifted {
        order: lift.order.clone(),
        until: lift.until_s.map(|until_s| instant_text(Instant(until_s))),
        reason: lift.reason.clone(),
    }
}

pub(super) fn service_halted(halt: &StoredServiceHalt) -> ServiceHalted {
    ServiceHalted {
        service: halt.service.name.clone(),
        until: halt.until_s.map(|until_s| instant_text(Instant(until_s))),
        reason: halt.reason.clone(),
    }
}
