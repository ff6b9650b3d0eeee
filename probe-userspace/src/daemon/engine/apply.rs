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
        let (image, diagnostics) = build::compile_policy(
            &policy,
            &request.text,
            &location,
            now,
            &self.settings.host.frame,
            diagnostics,
        )?;
        // Compiling takes seconds, in which a confirm deadline may pass.
        self.settle();
        let state = self.dataplane.state().map_err(Refusal::failed)?;
        if is_active(&state, &image) {
            return self.keep(request, image, diagnostics, &state, now);
        }
        let lockouts = self.check_lockout(request, &image, now)?;
        let before = match request.confirm_auto {
            true => Some(self.probe_before(confirm)?),
            false => None,
        };
        let compile_ms = millis(started.elapsed());

        let image = Arc::new(image);
        let event = Event::Publish {
            policy: image.policy_name.clone(),
            sha256: image.policy_sha256.clone(),
            generation: self.dataplane.next_number(),
            revision: None,
            confirm_s: request.confirm_s,
            lockouts: lockouts.iter().map(Lockout::to_string).collect(),
        };
        self.record_first(actor, &event)?;
        let published = self.publish(
            &StoredPolicy::accepted(&request.file, &request.text, now),
            &image,
            confirm,
            &state,
        )?;
        self.note_published(&published, compile_ms);
        self.auto_confirm = None;
        let probing = before.and_then(|before| self.probe_after(before, confirm));
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
            probing,
            diagnostics,
            lockouts: lockouts.iter().map(Lockout::to_string).collect(),
            problems: self.problems.texts(),
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
        self.in_force = Some(InForce::policy(image));
        self.settle_in();
        Ok(Applied {
            outcome: Outcome::AlreadyInForce,
            policy,
            generation: state.active.as_ref().map_or(0, |active| active.number),
            confirm_left_s: state.confirm_left_s,
            probing: self.auto_confirm.as_ref().map(super::probe::AutoConfirm::to_api),
            diagnostics,
            lockouts: Vec::new(),
            problems: self.problems.texts(),
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
            self.dataplane
                .publish(&baseline.image, None)
                .map_err(Refusal::failed)?;
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
        self.auto_confirm = None;
        let policy = self.in_force.as_ref().map_or_else(
            || PolicyRef {
                name: "?".to_owned(),
                sha256: String::new(),
            },
            |in_force| policy_ref(&in_force.image),
        );
        tracing::info!(%actor, policy = policy.name, "confirmed");
        self.store.promote_pending().map_err(|error| {
            self.problems.set(
                Topic::StoredPolicy,
                format!("the confirmed policy is not stored: {error:#}"),
            );
            Refusal::failed(error.context("confirmed in the kernel, but not stored: apply it again"))
        })?;
        Ok(Confirmed { policy })
    }
}

pub(super) fn policy_ref(image: &Image) -> PolicyRef {
    PolicyRef {
        name: image.policy_name.clone(),
        sha256: image.policy_sha256.clone(),
    }
}

fn is_active(state: &StateInfo, image: &Image) -> bool {
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
