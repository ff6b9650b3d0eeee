//! The policy that passes everything: what a halt stands on where there is no other, and what the first policy of all
//! reverts to.

use std::sync::Arc;

use super::{Engine, InForce};
use crate::{
    daemon::{Refusal, build, problems::Topic},
    exemption::KnownLifts,
    geo::{self, GeoChoice, Location},
    instant::Instant,
    policy::{Amendments, NamedLists},
};

impl Engine {
    pub(super) fn baseline(&mut self, location: &Arc<Location>) -> Option<InForce> {
        let result = self.compile_baseline(location);
        self.problems.note(
            Topic::Policy,
            "cannot compile the policy that passes everything",
            result,
        )
    }

    /// At a start: the host or services are halted, but no policy came into force and nothing is pinned.
    pub(super) fn hold_halts(&mut self) {
        let Ok(state) = self.dataplane.state() else {
            return;
        };
        let is_halted = state.halted.is_some() || self.has_halted_services();
        if is_halted && state.active.is_none() && self.in_force.is_none() {
            self.publish_for_halt();
        }
    }

    /// Publishes what a halt stands on. It fails for no database and no amendment: without it everything passes.
    pub(super) fn publish_for_halt(&mut self) {
        let location = match self.load_location() {
            Ok(location) => Ok(location),
            // A problem by now. The halt asks nothing of the tables.
            Err(_) => geo::load(&GeoChoice::Embedded, self.settings.host.field)
                .map(Arc::new)
                .map_err(Refusal::failed),
        };
        let published = location.and_then(|location| {
            let baseline = self.compile_baseline(&location).or_else(|refusal| {
                self.problems.set(
                    Topic::Amendments,
                    format!("halts of services do not hold: {refusal}"),
                );
                self.compile_amended_baseline(&location, &Amendments::default())
            })?;
            let published = self.dataplane.publish(&baseline.image, None);
            let published = published.map_err(Refusal::failed)?;
            Ok((baseline, published))
        });
        match published {
            Ok((baseline, published)) => {
                self.record_published(&baseline, published.number);
                self.in_force = Some(baseline);
            }
            Err(refusal) => {
                let text = format!("cannot publish what a halt stands on: {refusal}");
                self.problems.set(Topic::Halt, text);
            }
        }
    }

    fn compile_baseline(&self, location: &Arc<Location>) -> Result<InForce, Refusal> {
        self.compile_amended_baseline(location, &self.host_state.amendments.to_amendments())
    }

    fn compile_amended_baseline(
        &self,
        location: &Arc<Location>,
        amendments: &Amendments,
    ) -> Result<InForce, Refusal> {
        let stored = &self.host_state.amendments;
        let (policy, _) = build::parse_policy(build::BASELINE, build::PASS_EVERYTHING, NamedLists::new())?;
        let (image, _) = build::build_accepted(
            policy.clone(),
            build::PASS_EVERYTHING,
            location,
            stored.as_of(Instant(0), Instant::now()),
            &self.settings.host.frame,
            amendments,
            |_| KnownLifts::default(),
        )?;
        Ok(InForce {
            image: Arc::new(image),
            policy: Arc::new(policy),
            source: None,
            is_baseline: true,
            bundle: None,
            need: None,
            amendments: stored.clone(),
        })
    }
}
