//! Start: adopt what the kernel enforces, else enforce what is stored. Whatever is wrong, what is pinned stays.

use std::{path::Path, sync::Arc};

use super::{super::build, Engine, InForce};
use crate::{
    daemon::{
        Refusal, amendments::StoredAmendments, api::LastPublish, problems::Topic, settings::count,
        store::StoredPolicy,
    },
    dataplane::{Published, StateInfo},
    diagnostic::Diagnostic,
    geo::Location,
    instant::Instant,
    policy::{Amendments, Policy},
};

impl Engine {
    pub(super) fn start(&mut self) {
        match self.store.remove_leftovers() {
            Ok(0) => {}
            Ok(n_files) => tracing::info!(n_files, "removed what an interrupted write left"),
            Err(error) => tracing::warn!("{error:#}"),
        }
        self.take_up_clock();
        self.take_up_state();
        self.start_audit();
        self.restore_counters();
        self.look_at_trust();
        self.make_incoming();
        self.set_failsafe();
        self.look_at_network();
        self.look_at_endpoints();
        self.settle();
        self.load_exemptions();
        match self.dataplane.state() {
            Ok(state) => {
                self.restore_halt(&state);
                if state.halted.is_some() || self.host_state.halted.is_some() {
                    self.look_up_names();
                }
                self.take_up(&state);
                self.hold_halts();
            }
            Err(error) => self
                .problems
                .set(Topic::Policy, format!("cannot read the kernel's state: {error}")),
        }
        self.restore_exemptions();
        self.set_targets(None);
        self.detach_unlisted();
        self.attach_missing();
        self.sign_audit();
        self.take_up_break_glass();
        self.take_up_marks();
        self.take_up_history();
        self.sweep();
        self.keep_database();
        self.look_at_expiry();
    }

    /// The daemon may have died between publishing and marking: what is in force was taken.
    fn take_up_marks(&mut self) {
        let in_force = [&self.in_force, &self.fallback]
            .map(|in_force| in_force.as_ref().and_then(|in_force| in_force.bundle.clone()));
        if self.marks.is_empty() && in_force.iter().any(Option::is_some) {
            self.problems.set(
                Topic::Marks,
                "which revisions this host has taken is not known any more but for the policy in force: both copies are gone",
            );
        }
        for bundle in in_force.iter().flatten() {
            self.raise_mark_to(bundle);
        }
        self.raise_mark_of_geo();
        // Both copies say the same from now on; what was wrong with them stays in the status until the next bundle.
        if self.problems.has(&Topic::Marks)
            && !self.marks.is_empty()
            && let Err(error) = self.marks.write()
        {
            self.note_marks(Err(error));
        }
    }

    fn take_up(&mut self, state: &StateInfo) {
        let mut stored = self.store.policy().unwrap_or_else(|error| {
            let text = format!(
                "the stored policy is unreadable, {}: {error:#}",
                self.what_holds()
            );
            self.problems.set(Topic::StoredPolicy, text);
            None
        });
        let pending = self.store.pending().unwrap_or_else(|error| {
            self.problems.set(Topic::StoredPending, format!("{error:#}"));
            None
        });
        let is_unreadable = stored.is_none() && self.store.has_policy();
        if stored.is_none() && pending.is_none() && state.active.is_none() {
            if !is_unreadable {
                tracing::info!("no policy yet: attached to nothing, waiting for the first apply");
            }
            return;
        }
        let location = match self.load_location() {
            Ok(location) => location,
            Err(refusal) => {
                let text = format!(
                    "the stored policy could not be compiled, {}: {refusal}",
                    self.what_holds()
                );
                return self.problems.set(Topic::Policy, text);
            }
        };
        let is_waiting = state.confirm_left_s.is_some();
        if let Some(policy) = pending
            && self.take_up_pending(&policy, &location, state) == Pending::WasPublished
        {
            stored = Some(policy);
        }
        match stored {
            Some(policy) if is_waiting => {
                let path = self.store.policy_path();
                self.fallback = self.compile_stored(&path, &policy, &location);
            }
            Some(policy) if self.in_force.is_none() => self.take_up_stored(&policy, &location),
            Some(_) => {}
            None if is_unreadable => {}
            None => self.take_up_baseline(&location, state, is_waiting),
        }
    }

    /// `pending.toml`: a policy waits for confirmation, or the daemon died between publishing and storing.
    fn take_up_pending(
        &mut self,
        policy: &StoredPolicy,
        location: &Arc<Location>,
        state: &StateInfo,
    ) -> Pending {
        let is_waiting = state.confirm_left_s.is_some();
        // The database may be another one by now, so that it is not recognised. What was published after this
        // policy was accepted can only be this policy.
        let was_published = match (&state.active, policy.accepted) {
            // What nobody signed is in force while it waits, and never for good.
            _ if policy.is_break_glass => false,
            // In force at some time, but the kernel may have gone back since.
            _ if policy.is_unconfirmed => false,
            (Some(active), Some(accepted)) if !is_waiting => active.published >= accepted,
            _ => false,
        };
        let path = self.store.pending_path();
        let in_force = self
            .compile_stored(&path, policy, location)
            .filter(|in_force| self.recognise(in_force));
        let result = match (&in_force, is_waiting) {
            (Some(in_force), true) => {
                tracing::info!(
                    policy = in_force.image.policy_name,
                    "adopted; waits for confirmation"
                );
                Ok(())
            }
            (Some(in_force), false) if !policy.is_break_glass => {
                tracing::info!(policy = in_force.image.policy_name, "adopted");
                self.store.promote_pending()
            }
            (None, false) if was_published => self.store.promote_pending(),
            (None, true) => {
                self.problems.set(
                    Topic::Policy,
                    match policy.is_break_glass || self.host_state.break_glass.is_some() {
                        true => {
                            "the policy that waits does not compile to what is pinned; as nobody may have signed what is \
                             pinned, it cannot be confirmed and ends by itself"
                        }
                        false => {
                            "the policy that waits for confirmation does not compile to what is pinned; it can be confirmed"
                        }
                    },
                );
                Ok(())
            }
            (Some(_) | None, false) => {
                // What was wrong with it does not matter any more.
                self.problems.clear(&Topic::Policy);
                self.problems.clear(&Topic::Tests);
                self.store.drop_pending()
            }
        };
        self.problems
            .note(Topic::StoredPending, "cannot settle the pending policy", result);
        let is_known = in_force.is_some();
        self.in_force = in_force;
        match was_published && !is_known {
            true => Pending::WasPublished,
            false => Pending::Settled,
        }
    }

    /// What is stored next would take the place of a state file that cannot be read: it is put aside first, and the
    /// starts after this one know of it too.
    fn take_up_state(&mut self) {
        match self.store.host_state() {
            Ok(read) => {
                self.host_state = read.state;
                if let Some(problem) = read.problem {
                    let text = format!("the state is known from its copy only: {problem}");
                    self.problems.set(Topic::StoredState, text);
                }
            }
            Err(error) => {
                let aside = self.store.put_state_aside().err();
                let aside = aside.map_or_else(String::new, |error| format!("; {error:#}"));
                self.host_state.managed = self.marks.reached().managed();
                let text = format!("{error:#}{aside}");
                return self.problems.set(Topic::UnreadableState, text);
            }
        }
        // Whoever loses the state does not lose the need for signatures.
        let managed = self.marks.reached().managed();
        self.host_state.managed = self.host_state.managed.or(managed);
        if self.host_state.managed != managed
            && let Err(error) = self.marks.set_managed(self.host_state.managed)
        {
            self.note_marks(Err(error));
        }
        if let Some(path) = self.store.unreadable_state() {
            let text = format!("{} could not be read by an earlier daemon", path.display());
            self.problems.set(Topic::UnreadableState, text);
        }
    }

    fn take_up_stored(&mut self, policy: &StoredPolicy, location: &Arc<Location>) {
        let started = std::time::Instant::now();
        let path = self.store.policy_path();
        let Some(in_force) = self.compile_stored(&path, policy, location) else {
            return;
        };
        if self.recognise(&in_force) {
            tracing::info!(policy = in_force.image.policy_name, "adopted, nothing rebuilt");
            self.in_force = Some(in_force);
            return;
        }
        let is_pinned = self.dataplane.state().is_ok_and(|state| state.active.is_some());
        if is_pinned && self.problems.has(&Topic::UnreadableState) {
            let text = "what is lifted or halted is not known, because the state file is unreadable: what is pinned stays in \
                        force; apply the policy to have it without lifts and halts of services";
            return self.problems.set(Topic::Policy, text);
        }
        let compile_ms = millis(started.elapsed());
        self.set_targets(Some(&in_force.image));
        match self.dataplane.publish(&in_force.image, None) {
            Ok(published) => {
                self.note_published(&published, compile_ms);
                tracing::info!(
                    policy = in_force.image.policy_name,
                    generation = published.number,
                    "the stored policy is published"
                );
                self.record_published(&in_force, published.number);
                self.problems.clear(&Topic::Policy);
                self.in_force = Some(in_force);
            }
            Err(error) => self.problems.set(
                Topic::Policy,
                format!(
                    "the stored policy could not be published, {}: {error}",
                    self.what_holds()
                ),
            ),
        }
    }

    /// Nothing is stored, but something is pinned.
    fn take_up_baseline(&mut self, location: &Arc<Location>, state: &StateInfo, is_waiting: bool) {
        if state.active.is_none() || (self.in_force.is_some() && !is_waiting) {
            return;
        }
        let Some(baseline) = self.baseline(location) else {
            return;
        };
        if is_waiting {
            self.fallback = Some(baseline);
        } else if self.recognise(&baseline) {
            self.in_force = Some(baseline);
        } else {
            self.problems.set(
                Topic::Policy,
                format!(
                    "a generation is pinned, but {} is gone: it stays in force; apply the policy again",
                    self.store.policy_path().display()
                ),
            );
        }
    }

    fn compile_stored(
        &mut self,
        path: &Path,
        policy: &StoredPolicy,
        location: &Arc<Location>,
    ) -> Option<InForce> {
        let now = Instant::now();
        let stored = &self.host_state.amendments;
        let as_of = stored.as_of(policy.accepted.unwrap_or(now), now);
        let amendments = stored.to_amendments();
        let frame = &self.settings.host.frame;
        let read = self.read_stored(policy);
        let build = |amendments: &Amendments| {
            let read = read.as_ref().map_err(Refusal::clone)?;
            build::build_accepted(
                Policy::clone(&read.policy),
                &policy.text,
                location,
                as_of,
                frame,
                amendments,
                |policy| self.exemptions.lifts_for(policy),
            )
        };
        let mut built = build(&amendments);
        let mut amended = stored.clone();
        // The policy without them is better than none, and halts are better than lifts.
        let is_pinned = self.dataplane.state().is_ok_and(|state| state.active.is_some());
        if built.is_err() && !amendments.is_empty() && !is_pinned {
            let halts_only = Amendments {
                lifts: Vec::new(),
                ..amendments
            };
            let fewer = build(&halts_only).or_else(|_| build(&Amendments::default()));
            if let (Ok(_), Err(refusal)) = (&fewer, &built) {
                let text = format!("lifts or halts of services do not hold: {}", describe(refusal));
                self.problems.set(Topic::Amendments, text);
            }
            built = fewer.or(built);
            amended = StoredAmendments::default();
        }
        match built.and_then(|built| Ok((built, read?))) {
            Ok(((image, failed_tests), read)) => {
                self.keep_lifts_of(&image);
                self.note_failed_tests(path, &failed_tests);
                Some(InForce {
                    bundle: read.bundle,
                    need: read.need,
                    ..InForce::policy(image, read.policy, policy, amended)
                })
            }
            Err(refusal) => {
                let text = format!(
                    "{}: {}: {}",
                    path.display(),
                    describe(&refusal),
                    self.what_holds()
                );
                self.problems.set(Topic::Policy, text);
                None
            }
        }
    }

    /// The policy is taken up all the same: it was good when it was accepted.
    pub(super) fn note_failed_tests(&mut self, path: &Path, failed: &[Diagnostic]) {
        let Some(first) = failed.first() else {
            return;
        };
        let text = format!(
            "{}: {} of the policy no longer hold, because the database has changed: {}: {} ({})",
            path.display(),
            count(failed.len(), "test"),
            first.place,
            first.message,
            first.value
        );
        self.problems.set(Topic::Tests, text);
    }

    /// What goes on when the stored policy cannot be taken up.
    fn what_holds(&self) -> &'static str {
        match self.dataplane.state() {
            Ok(state) if state.active.is_none() => "nothing is pinned, so nothing is enforced",
            _ => "what is pinned stays in force",
        }
    }

    fn recognise(&mut self, in_force: &InForce) -> bool {
        self.dataplane.recognise(&in_force.image).unwrap_or_else(|error| {
            self.problems.set(
                Topic::Policy,
                format!("cannot compare with what is pinned: {error}"),
            );
            false
        })
    }

    pub(super) fn note_published(&mut self, published: &Published, compile_ms: u64) {
        self.publishes.note(published, compile_ms);
        self.last_publish = Some(LastPublish {
            compile_ms,
            load_ms: millis(published.load),
            fill_ms: millis(published.fill),
            verify_ms: millis(published.verify),
            n_samples: published.n_samples,
            shared_location: published.shared_location,
        });
    }
}

/// What became of `pending.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    /// Adopted, waiting or dropped.
    Settled,
    /// It was in force for good and is the stored policy now, but the kernel's image is of another database.
    WasPublished,
}

impl InForce {
    pub(super) fn policy(
        image: crate::compile::Image,
        policy: Arc<Policy>,
        source: &StoredPolicy,
        amendments: StoredAmendments,
    ) -> Self {
        Self {
            image: Arc::new(image),
            policy,
            source: Some(Arc::new(source.clone())),
            is_baseline: false,
            bundle: None,
            need: None,
            amendments,
        }
    }
}

pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A refusal in one line: its sentence and its first remark.
fn describe(refusal: &Refusal) -> String {
    match refusal.diagnostics.first() {
        Some(first) => format!("{refusal} ({}: {})", first.place, first.message),
        None => refusal.error.clone(),
    }
}
