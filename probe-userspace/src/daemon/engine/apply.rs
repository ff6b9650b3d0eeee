//! Apply and confirm.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use super::{Engine, InForce, confirm::confirm_window, push::check_database, start::millis};
use crate::{
    audit::{Actor, Event},
    bundle::{DatabaseNeed, Digest, Envelope, Reason},
    compile::Image,
    daemon::{
        Refusal,
        api::{Applied, ApplyRequest, BundleRef, Ended, Outcome, PolicyRef},
        build,
        preflight::{self, Lockout},
        problems::Topic,
        store::{BreakGlass, Origin, StoredPolicy},
    },
    dataplane::{Published, StateInfo},
    diagnostic::{Diagnostic, Place},
    instant::Instant,
    policy::Policy,
};

/// A policy that somebody wants in force.
pub(super) struct Wanted<'r> {
    /// What is stored of it.
    pub stored: StoredPolicy,
    /// What it says.
    pub policy: Arc<Policy>,
    /// The parser's warnings.
    pub warnings: Vec<Diagnostic>,
    /// The bundle that brings it.
    pub bundle: Option<BundleRef>,
    /// What it asks of the geo data.
    pub need: Option<&'r DatabaseNeed>,
    /// What is kept of it besides.
    pub keep: Keep<'r>,
    /// The kernel reverts after this many seconds unless confirmed.
    pub confirm_s: Option<u64>,
    /// The daemon confirms by itself if the probes of the host file hold.
    pub confirm_auto: bool,
    /// Publish although it would cut somebody off.
    pub override_lockout: bool,
    /// The caller's SSH peer.
    pub ssh_peer: Option<IpAddr>,
    /// Nobody signed it, and somebody must have.
    pub break_glass: Option<BreakGlass>,
    /// How it ends the one before.
    pub ended: Ended,
}

/// What is kept of a policy beside its text.
pub(super) enum Keep<'r> {
    /// Nothing, or it is kept already.
    Nothing,
    /// The bundle.
    Bundle(&'r Envelope),
    /// The lists that it names, by name and text.
    Lists(&'r BTreeMap<String, String>),
}

impl Engine {
    pub(super) fn apply(&mut self, request: &ApplyRequest, actor: &Actor) -> Result<Applied, Refusal> {
        let break_glass = self.may_apply_plain(request, actor)?;
        let lists = build::read_lists(&request.file, &request.lists)?;
        let (policy, warnings) = build::parse_policy(&request.file, &request.text, lists)?;
        let stored = StoredPolicy {
            is_break_glass: break_glass.is_some(),
            ..StoredPolicy::accepted(&request.file, &request.text, Instant::now())
        };
        let wanted = Wanted {
            stored,
            policy: Arc::new(policy),
            warnings,
            bundle: None,
            need: None,
            keep: match request.lists.is_empty() {
                true => Keep::Nothing,
                false => Keep::Lists(&request.lists),
            },
            confirm_s: match &request.break_glass {
                Some(break_glass) => Some(break_glass.for_s),
                None => request.confirm_s,
            },
            confirm_auto: request.confirm_auto && request.break_glass.is_none(),
            override_lockout: request.override_lockout,
            ssh_peer: request.ssh_peer,
            break_glass,
            ended: Ended::Replaced,
        };
        self.put_in_force(wanted, actor)
    }

    /// Compiles a policy, makes sure that it cuts nobody off, publishes and stores it.
    pub(super) fn try_put_in_force(
        &mut self,
        mut wanted: Wanted<'_>,
        actor: &Actor,
    ) -> Result<Applied, Refusal> {
        let confirm = confirm_window(wanted.confirm_s)?;
        wanted.stored.is_unconfirmed = confirm.is_some();
        let started = std::time::Instant::now();
        let location = self.load_location()?;
        let now = wanted.stored.accepted.unwrap_or_else(Instant::now);
        if let Some(need) = wanted.need {
            let accepted = self.accepted_geo_of(&location);
            check_database(need, &location, accepted.as_ref(), now).map_err(|why| {
                let refusal = Refusal::input(
                    format!("{} is refused: {why}", wanted.stored.file),
                    vec![Diagnostic::error(
                        Place::file(&wanted.stored.file),
                        &location.source.origin,
                        why,
                        "bring the database that the bundle asks for, or correct its `[database]`",
                    )],
                );
                refusal.because(Reason::WrongGeoData)
            })?;
        }
        let lifts = self.exemptions.lifts_for(&wanted.policy);
        let (by_itself, diagnostics) = build::compile_with_lifts(
            &wanted.policy,
            &wanted.stored.text,
            &location,
            now,
            &self.settings.host.frame,
            &lifts,
            std::mem::take(&mut wanted.warnings),
        )?;
        let amended = self.with_amendments(&wanted.policy, &wanted.stored.text, &location, now, &lifts)?;
        // Compiling takes seconds, in which a confirm deadline may pass.
        self.settle();
        let state = self.dataplane.state().map_err(Refusal::failed)?;
        // One that nobody signed ends at its time, so it cannot go on as another one's generation.
        let is_own = wanted.break_glass.is_some() || self.host_state.break_glass.is_some();
        if is_active(&state, amended.as_ref().unwrap_or(&by_itself)) && !is_own {
            let image = amended.unwrap_or(by_itself);
            return self.keep(&mut wanted, image, diagnostics, &state, actor);
        }
        // Whom the halt of a service cuts off was said when it was halted, and a lift ends.
        let lockouts = self.check_lockout(&wanted, &by_itself, now)?;
        let before = match wanted.confirm_auto {
            true => Some(self.probe_before(confirm)?),
            false => None,
        };
        let compile_ms = millis(started.elapsed());

        let image = Arc::new(amended.unwrap_or(by_itself));
        self.check_memory(&image)?;
        let amendments = self.tell_amendments(&image, now);
        // The one that passes everything comes before the first that must be confirmed.
        let number = self.dataplane.next_number() + u32::from(confirm.is_some() && state.is_empty);
        let lockouts: Vec<String> = lockouts.iter().map(Lockout::to_string).collect();
        let event = publish_event(&wanted, &image, number, lockouts.clone());
        self.keep_beside(&mut wanted)?;
        self.record_first(actor, &event)?;
        self.keep_lifts(lifts.keys)?;
        let broken_before = self.host_state.break_glass.clone();
        self.begin_break_glass(wanted.break_glass.as_ref())?;
        let published = match self.publish(&wanted, &image, confirm, &state) {
            Ok(published) => published,
            Err(refusal) => {
                if wanted.break_glass.is_some() {
                    self.host_state.break_glass = broken_before;
                    self.save_host_state();
                }
                return Err(refusal);
            }
        };
        self.note_published(&published, compile_ms);
        self.note_history(&wanted, &image, actor);
        self.stop_probing();
        let probing = before.and_then(|before| self.probe_after(before, confirm));
        tracing::info!(
            %actor,
            policy = image.policy_name,
            generation = published.number,
            confirm_s = wanted.confirm_s,
            n_lockouts_overridden = lockouts.len(),
            "applied"
        );
        self.settle_in();
        Ok(Applied {
            outcome: Outcome::Published,
            policy: policy_ref(&image),
            generation: published.number,
            confirm_left_s: wanted.confirm_s,
            probing,
            diagnostics,
            lockouts,
            problems: self.problems.texts(),
            amendments,
        })
    }

    /// Keeps what belongs to a policy, before the policy that names it is stored.
    fn keep_beside(&mut self, wanted: &mut Wanted<'_>) -> Result<(), Refusal> {
        let origin = match wanted.keep {
            Keep::Nothing => return Ok(()),
            Keep::Bundle(envelope) => {
                let digest = Digest::of(&envelope.payload);
                self.kept
                    .keep_bundle(digest, envelope)
                    .map(|()| Origin::Bundle(digest))
            }
            Keep::Lists(texts) => self.kept.keep_lists(texts).map(Origin::Lists),
        };
        wanted.stored.origin = origin.map_err(Refusal::failed)?;
        Ok(())
    }

    /// The kernel enforces the same image already.
    fn keep(
        &mut self,
        wanted: &mut Wanted<'_>,
        image: Image,
        diagnostics: Vec<Diagnostic>,
        state: &StateInfo,
        actor: &Actor,
    ) -> Result<Applied, Refusal> {
        let generation = state.active.as_ref().map_or(0, |active| active.number);
        let before = self
            .in_force
            .as_ref()
            .and_then(|in_force| in_force.bundle.clone());
        let is_other_bundle = before != wanted.bundle;
        self.keep_beside(wanted)?;
        if is_other_bundle {
            let event = publish_event(wanted, &image, generation, Vec::new());
            self.record_first(actor, &event)?;
        } else {
            self.note_accepted(&image, state, actor);
        }
        // The text may differ in comments: store the latest, as what is waiting or as what is in force.
        wanted.stored.is_unconfirmed = state.confirm_left_s.is_some();
        let result = match state.confirm_left_s {
            Some(_) => self.store.set_pending(&wanted.stored),
            None => self.store.set_policy(&wanted.stored),
        };
        result.map_err(Refusal::failed)?;
        if state.confirm_left_s.is_none() {
            self.problems.clear(&Topic::StoredPolicy);
        }
        match is_other_bundle {
            true => self.note_history(wanted, &image, actor),
            false => self.note_again(wanted, &image, actor),
        }
        let policy = policy_ref(&image);
        let now = wanted.stored.accepted.unwrap_or_else(Instant::now);
        let amendments = self.tell_amendments(&image, now);
        self.keep_lifts_of(&image);
        self.in_force = Some(InForce {
            bundle: wanted.bundle.clone(),
            need: wanted.need.cloned(),
            ..InForce::policy(
                image,
                Arc::clone(&wanted.policy),
                &wanted.stored,
                self.host_state.amendments.clone(),
            )
        });
        if state.confirm_left_s.is_none() {
            self.settle_amendments();
        }
        self.settle_in();
        Ok(Applied {
            outcome: Outcome::AlreadyInForce,
            policy,
            generation,
            confirm_left_s: state.confirm_left_s,
            probing: self.auto_confirm.as_ref().map(super::probe::AutoConfirm::to_api),
            diagnostics,
            lockouts: Vec::new(),
            problems: self.problems.texts(),
            amendments,
        })
    }

    /// A policy was applied: what was wrong with the one before does not matter any more.
    pub(super) fn settle_in(&mut self) {
        for topic in [Topic::Policy, Topic::Tests, Topic::Confirm, Topic::StoredPending] {
            self.problems.clear(&topic);
        }
        self.keep_database();
        self.note_redirects();
        if self.host_state.reverted.take().is_some() {
            self.save_host_state();
        }
        self.look_at_expiry();
        self.attach_missing();
    }

    pub(super) fn check_lockout(
        &self,
        wanted: &Wanted<'_>,
        image: &Image,
        now: Instant,
    ) -> Result<Vec<Lockout>, Refusal> {
        let surroundings = self.surroundings();
        let host = &self.settings.host;
        let guarded = preflight::guarded(host, wanted.ssh_peer, &surroundings);
        let lockouts = preflight::lockouts(image, &guarded, host.ssh_ports(), now);
        let (lockouts, strangers): (Vec<_>, Vec<_>) =
            lockouts.into_iter().partition(|lockout| lockout.is_binding);
        for stranger in &strangers {
            tracing::info!("{}", stranger.message());
        }
        if lockouts.is_empty() || wanted.override_lockout {
            return Ok(lockouts);
        }
        let diagnostics = lockouts
            .iter()
            .map(|lockout| {
                let place = Place::file(&wanted.stored.file);
                Diagnostic::error(
                    place,
                    lockout.address.to_string(),
                    lockout.message(),
                    &*lockout.fix,
                )
            })
            .collect();
        let refusal = Refusal::input(
            format!(
                "{} would cut off what this host needs; nothing was published (to publish it all the same: --override-lockout)",
                wanted.stored.file
            ),
            diagnostics,
        );
        Err(Refusal {
            status: 409,
            ..refusal.because(Reason::Lockout)
        })
    }

    /// Stores the text as pending, publishes, and stores it for good unless it must be confirmed.
    fn publish(
        &mut self,
        wanted: &Wanted<'_>,
        image: &Arc<Image>,
        confirm: Option<Duration>,
        state: &StateInfo,
    ) -> Result<Published, Refusal> {
        // Needed only if this fails while another one waits; an unreadable one must not stop this one.
        let earlier_pending = self.store.pending().ok().flatten();
        self.store.set_pending(&wanted.stored).map_err(Refusal::failed)?;
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
            policy: Arc::clone(&wanted.policy),
            source: Some(Arc::new(wanted.stored.clone())),
            is_baseline: false,
            bundle: wanted.bundle.clone(),
            need: wanted.need.cloned(),
            amendments: self.host_state.amendments.clone(),
        };
        let before = self.in_force.replace(in_force);
        self.end_of_break_glass(wanted.break_glass.is_some());
        if confirm.is_some() {
            if state.confirm_left_s.is_none() {
                self.fallback = before;
            }
        } else {
            // What the kernel keeps as the previous one is the last that was confirmed.
            self.previous = match state.confirm_left_s {
                None => before,
                Some(_) => self.fallback.take(),
            };
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
            self.record_published(&baseline, published.number);
            self.in_force = Some(baseline);
        }
        // Before the first packet is redirected, not after it.
        self.set_targets(Some(image));
        self.dataplane.publish(image, confirm).map_err(Refusal::failed)
    }
}

/// The record of a policy that comes into force.
pub(super) fn publish_event(
    wanted: &Wanted<'_>,
    image: &Image,
    generation: u32,
    lockouts: Vec<String>,
) -> Event {
    Event::Publish {
        policy: image.policy_name.clone(),
        sha256: image.policy_sha256.clone(),
        generation,
        revision: wanted.bundle.as_ref().map(|bundle| bundle.revision),
        confirm_s: wanted.confirm_s,
        lockouts,
        break_glass: wanted
            .break_glass
            .as_ref()
            .map(|break_glass| break_glass.reason.clone()),
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

pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
