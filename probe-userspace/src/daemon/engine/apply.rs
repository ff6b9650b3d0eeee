//! Apply and confirm.

use std::{path::Path, sync::Arc, time::Duration};

use super::{Engine, InForce, start::millis};
use crate::{
    audit::{Actor, Event},
    compile::Image,
    daemon::{
        Refusal,
        api::{Applied, ApplyRequest, Confirmed, Outcome, PolicyRef},
        build,
        preflight::{self, Lockout},
        problems::Topic,
        store::StoredPolicy,
        surroundings::Surroundings,
    },
    dataplane::{Published, StateInfo},
    diagnostic::{Diagnostic, Place},
    instant::Instant,
};

/// Longest time to confirm, in seconds.
const MAX_CONFIRM_S: u64 = 86_400;

impl Engine {
    pub(super) fn apply(&mut self, request: &ApplyRequest, actor: &Actor) -> Result<Applied, Refusal> {
        let confirm = confirm_window(request)?;
        let started = std::time::Instant::now();
        let (policy, diagnostics) = build::parse_policy(&request.file, &request.text)?;
        let location = self.load_location()?;
        let now = Instant::now();
        let lifts = self.exemptions.lifts_for(&policy);
        let (by_itself, diagnostics) = build::compile_with_lifts(
            &policy,
            &request.text,
            &location,
            now,
            &self.settings.host.frame,
            &lifts,
            diagnostics,
        )?;
        let amended = self.with_amendments(policy, &request.text, &location, now, &lifts)?;
        // Compiling takes seconds, in which a confirm deadline may pass.
        self.settle();
        let state = self.dataplane.state().map_err(Refusal::failed)?;
        let image = amended.as_ref().unwrap_or(&by_itself);
        if is_active(&state, image) {
            self.note_accepted(image, &state, actor);
            let image = amended.unwrap_or(by_itself);
            return self.keep(request, image, diagnostics, &state, now);
        }
        // Whom the halt of a service cuts off was said when it was halted, and a lift ends.
        let lockouts = self.check_lockout(request, &by_itself, now)?;
        let compile_ms = millis(started.elapsed());

        let image = Arc::new(amended.unwrap_or(by_itself));
        let amendments = self.tell_amendments(&image, now);
        let event = Event::Publish {
            policy: image.policy_name.clone(),
            sha256: image.policy_sha256.clone(),
            // The one that passes everything comes before the first that must be confirmed.
            generation: self.dataplane.next_number() + u32::from(confirm.is_some() && state.is_empty),
            revision: None,
            confirm_s: request.confirm_s,
            lockouts: lockouts.iter().map(Lockout::to_string).collect(),
        };
        self.record_first(actor, &event)?;
        self.keep_lifts(lifts.keys)?;
        let published = self.publish(
            &StoredPolicy::accepted(&request.file, &request.text, now),
            &image,
            confirm,
            &state,
        )?;
        self.note_published(&published, compile_ms);
        tracing::info!(
            %actor,
            policy = image.policy_name,
            generation = published.number,
            confirm_s = request.confirm_s,
            n_lockouts_overridden = lockouts.len(),
            "applied"
        );
        self.settle_in();
        Ok(Applied {
            outcome: Outcome::Published,
            policy: policy_ref(&image),
            generation: published.number,
            confirm_left_s: request.confirm_s,
            diagnostics,
            lockouts: lockouts.iter().map(Lockout::to_string).collect(),
            problems: self.problems.texts(),
            amendments,
        })
    }

    /// The kernel enforces the same image already.
    fn keep(
        &mut self,
        request: &ApplyRequest,
        image: Image,
        diagnostics: Vec<Diagnostic>,
        state: &StateInfo,
        now: Instant,
    ) -> Result<Applied, Refusal> {
        // The text may differ in comments: store the latest, as what is waiting or as what is in force.
        let stored = StoredPolicy::accepted(&request.file, &request.text, now);
        let result = match state.confirm_left_s {
            Some(_) => self.store.set_pending(&stored),
            None => self.store.set_policy(&stored),
        };
        result.map_err(Refusal::failed)?;
        if state.confirm_left_s.is_none() {
            self.problems.clear(&Topic::StoredPolicy);
        }
        let policy = policy_ref(&image);
        let amendments = self.tell_amendments(&image, now);
        self.keep_lifts_of(&image);
        self.in_force = Some(InForce::policy(image, &stored));
        if state.confirm_left_s.is_none() {
            self.settle_amendments();
        }
        self.settle_in();
        Ok(Applied {
            outcome: Outcome::AlreadyInForce,
            policy,
            generation: state.active.as_ref().map_or(0, |active| active.number),
            confirm_left_s: state.confirm_left_s,
            diagnostics,
            lockouts: Vec::new(),
            problems: self.problems.texts(),
            amendments,
        })
    }

    /// A policy was applied: what was wrong with the one before does not matter any more.
    fn settle_in(&mut self) {
        for topic in [Topic::Policy, Topic::Tests, Topic::Confirm, Topic::StoredPending] {
            self.problems.clear(&topic);
        }
        self.note_redirects();
        if self.host_state.reverted.take().is_some() {
            self.save_host_state();
        }
        self.attach_missing();
    }

    fn check_lockout(
        &self,
        request: &ApplyRequest,
        image: &Image,
        now: Instant,
    ) -> Result<Vec<Lockout>, Refusal> {
        let surroundings = Surroundings::read(Path::new("/"));
        let guarded = preflight::guarded(&self.settings.host, request.ssh_peer, &surroundings);
        let lockouts = preflight::lockouts(image, &guarded, now);
        if lockouts.is_empty() || request.override_lockout {
            return Ok(lockouts);
        }
        let diagnostics = lockouts
            .iter()
            .map(|lockout| {
                let place = Place::file(&request.file);
                Diagnostic::error(
                    place,
                    lockout.address.to_string(),
                    lockout.message(),
                    &*lockout.fix,
                )
            })
            .collect();
        Err(Refusal {
            status: 409,
            ..Refusal::input(
                format!(
                    "{} would cut off what this host needs; nothing was published (to publish it all the same: --override-lockout)",
                    request.file
                ),
                diagnostics,
            )
        })
    }

    /// Stores the text as pending, publishes, and stores it for good unless it must be confirmed.
    fn publish(
        &mut self,
        policy: &StoredPolicy,
        image: &Arc<Image>,
        confirm: Option<Duration>,
        state: &StateInfo,
    ) -> Result<Published, Refusal> {
        // Needed only if this fails while another one waits; an unreadable one must not stop this one.
        let earlier_pending = self.store.pending().ok().flatten();
        self.store.set_pending(policy).map_err(Refusal::failed)?;
        let result = self.publish_over_baseline(image, confirm, state);
        let published = match result {
            Ok(published) => published,
            Err(refusal) => {
                let restored = match earlier_pending {
                    Some(earlier) if state.confirm_left_s.is_some() => self.store.set_pending(&earlier),
                    _ => self.store.drop_pending(),
                };
                self.problems
                    .note(Topic::StoredPending, "cannot forget the refused policy", restored);
                return Err(refusal);
            }
        };
        let in_force = InForce {
            image: Arc::clone(image),
            source: Some(Arc::new(policy.clone())),
            is_baseline: false,
        };
        let before = self.in_force.replace(in_force);
        if confirm.is_some() {
            if state.confirm_left_s.is_none() {
                self.fallback = before;
            }
        } else {
            self.fallback = None;
            let stored = self.store.promote_pending();
            self.problems.note(
                Topic::StoredPolicy,
                "the policy is in force, but a restart would bring the earlier one back",
                stored,
            );
            self.settle_amendments();
        }
        Ok(published)
    }

    /// The first policy of all, if it must be confirmed, needs something to revert to: else the kernel would
    /// be left without a generation and drop everything.
    fn publish_over_baseline(
        &mut self,
        image: &Arc<Image>,
        confirm: Option<Duration>,
        state: &StateInfo,
    ) -> Result<Published, Refusal> {
        if confirm.is_some() && state.is_empty {
            let baseline = self
                .baseline(&image.location)
                .ok_or_else(|| Refusal::failed("cannot compile the policy that passes everything"))?;
            let published = self
                .dataplane
                .publish(&baseline.image, None)
                .map_err(Refusal::failed)?;
            self.record_published(&baseline.image, published.number);
            self.in_force = Some(baseline);
        }
        // Before the first packet is redirected, not after it.
        self.set_targets(Some(image));
        self.dataplane.publish(image, confirm).map_err(Refusal::failed)
    }

    pub(super) fn confirm(&mut self, actor: &Actor) -> Result<Confirmed, Refusal> {
        let state = self.dataplane.state().map_err(Refusal::failed)?;
        if state.confirm_left_s.is_none() {
            return Err(Refusal::conflict(match self.host_state.reverted_text() {
                Some(text) => format!("too late: {text}"),
                None => "no policy waits for confirmation".to_owned(),
            }));
        }
        self.dataplane.confirm().map_err(Refusal::failed)?;
        self.fallback = None;
        let policy = self.in_force.as_ref().map_or_else(
            || PolicyRef {
                name: "?".to_owned(),
                sha256: String::new(),
            },
            |in_force| policy_ref(&in_force.image),
        );
        let event = Event::Confirm {
            policy: policy.name.clone(),
        };
        self.record(actor, &event);
        self.store.promote_pending().map_err(|error| {
            self.problems.set(
                Topic::StoredPolicy,
                format!("the confirmed policy is not stored: {error:#}"),
            );
            Refusal::failed(error.context("confirmed in the kernel, but not stored: apply it again"))
        })?;
        self.settle_amendments();
        Ok(Confirmed { policy })
    }
}

pub(super) fn policy_ref(image: &Image) -> PolicyRef {
    PolicyRef {
        name: image.policy_name.clone(),
        sha256: image.policy_sha256.clone(),
    }
}

pub(super) fn is_active(state: &StateInfo, image: &Image) -> bool {
    state
        .active
        .as_ref()
        .is_some_and(|active| active.image_digest == hex(&image.digest))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn confirm_window(request: &ApplyRequest) -> Result<Option<Duration>, Refusal> {
    match request.confirm_s {
        None => Ok(None),
        Some(seconds @ 1..=MAX_CONFIRM_S) => Ok(Some(Duration::from_secs(seconds))),
        Some(seconds) => Err(Refusal::input(
            format!("{seconds} s to confirm: must be 1 s to {MAX_CONFIRM_S} s"),
            Vec::new(),
        )),
    }
}
