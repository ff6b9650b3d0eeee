//! What watchers of events need from the engine: the ring, and the names of what its numbers stand for.

use std::{collections::BTreeMap, sync::Arc};

use super::{Engine, InForce};
use crate::{
    daemon::{
        events::{GenerationNames, Naming},
        problems::Topic,
    },
    dataplane::EventRing,
};

impl Engine {
    /// The event ring, if it can be opened.
    pub(super) fn open_events(&mut self) -> Option<EventRing> {
        let ring = self.dataplane.open_events();
        self.problems
            .note(Topic::Events, "cannot open the event ring", ring)
    }

    /// Whether the policy in force reports any verdicts.
    pub(super) fn is_reporting(&self) -> bool {
        let in_force = self.in_force.as_ref();
        in_force.is_some_and(|in_force| in_force.image.events.is_some())
    }

    /// Tells what names stand for, if that has changed.
    pub(super) fn tell_watchers(&mut self) {
        let Ok(state) = self.dataplane.state() else {
            return;
        };
        let known = Arc::clone(&self.naming.borrow());
        let links = &self.network.links;
        let interfaces: BTreeMap<u32, String> = links
            .iter()
            .map(|link| (link.ifindex, link.name.clone()))
            .collect();
        let policy = self
            .in_force
            .as_ref()
            .filter(|in_force| !in_force.is_baseline)
            .map(|in_force| in_force.image.policy_name.clone());
        let is_reporting = self.is_reporting();
        let generations = [
            (&state.previous, self.fallback.as_ref()),
            (&state.active, self.in_force.as_ref()),
        ];
        let unknown: Vec<(u32, &InForce)> = generations
            .into_iter()
            .filter_map(|(info, in_force)| Some((info.as_ref()?.number, in_force?)))
            .filter(|(number, _)| !known.knows(*number))
            .collect();
        if unknown.is_empty()
            && known.interfaces == interfaces
            && known.policy == policy
            && known.is_reporting == is_reporting
        {
            return;
        }
        let mut naming = Naming::clone(&known);
        for (number, in_force) in unknown {
            naming.add(number, Arc::new(GenerationNames::new(&in_force.image.location)));
        }
        naming.interfaces = interfaces;
        naming.policy = policy;
        naming.is_reporting = is_reporting;
        self.naming.send_replace(Arc::new(naming));
    }
}
