//! Tells the metrics how things are.

use std::{collections::BTreeMap, sync::Arc};

use probe_common::FOREVER;

use super::Engine;
use crate::{
    daemon::{api::Status, metrics::Figures},
    instant::Instant,
};

impl Engine {
    /// Tells the state. `busy`: what is about to be done.
    pub(super) fn tell_metrics(&self, busy: Option<&str>) {
        let now = Instant::now();
        let in_force = self.in_force.as_ref();
        let location = in_force.map(|in_force| &in_force.image.location);
        let policy = in_force.filter(|in_force| !in_force.is_baseline);
        let figures = Figures {
            as_of: now,
            status: Status {
                busy: busy.map(str::to_owned),
                ..self.status_without_counters()
            },
            counters: Some(self.dataplane.counter_reader()),
            maps: Some(self.dataplane.fill_reader()),
            problems: self.problems_by_topic(),
            database_built_s: location
                .or(self.location.as_ref())
                .map(|location| location.source.built_s),
            policy_accepted: policy.and_then(|policy| policy.source.as_ref()?.accepted),
            ends: self.ends(now),
            n_configured: self.settings.host.interfaces.len(),
            no_generation_pass: self.settings.host.no_generation_pass,
            publishes: self.publishes.clone(),
        };
        self.figures.send_replace(Arc::new(figures));
    }

    fn problems_by_topic(&self) -> BTreeMap<String, u64> {
        let mut problems = BTreeMap::new();
        for topic in self.problems.topics() {
            *problems.entry(topic.name()).or_default() += 1;
        }
        problems
    }

    /// The first end of each kind.
    fn ends(&self, now: Instant) -> Vec<(&'static str, Instant)> {
        let policy = self.in_force.as_ref().filter(|in_force| !in_force.is_baseline);
        let overrides = policy.iter().flat_map(|policy| &policy.image.overrides);
        let overrides = overrides.map(|entry| entry.value.until_s);
        let overrides = overrides
            .filter(|until_s| (now.0..FOREVER).contains(until_s))
            .min();
        let amendments = &self.host_state.amendments;
        let halt = self.host_state.halted.as_ref();
        let ends = [
            (
                "bundle",
                policy.and_then(|policy| Some(policy.bundle.as_ref()?.expires.0)),
            ),
            (
                "break_glass",
                self.host_state.break_glass.as_ref().map(|broken| broken.until.0),
            ),
            ("halt", halt.and_then(|halt| halt.until_s)),
            (
                "halted_service",
                amendments.live_halts(now).filter_map(|halt| halt.until_s).min(),
            ),
            (
                "lift",
                amendments.live_lifts(now).filter_map(|lift| lift.until_s).min(),
            ),
            ("exemption", self.first_exemption_end().map(|end| end.0)),
            ("override", overrides),
        ];
        let ends = ends.into_iter();
        ends.filter_map(|(what, end)| Some((what, Instant(end?))))
            .collect()
    }
}
