//! What was in force when, and going back.

use std::{collections::BTreeSet, sync::Arc, time::Instant as Stopwatch};

use super::{
    Engine, InForce,
    apply::{Keep, Wanted, policy_ref, publish_event},
    confirm::confirm_window,
};
use crate::{
    audit::{Actor, Event},
    bundle::{Bundle, Content, DatabaseNeed, Digest},
    compile::Image,
    daemon::{
        Refusal,
        accepted_geo::GeoStore,
        api::{Applied, BundleRef, Ended, HistoryEntry, HistoryReply, RollbackRequest, RolledBack},
        build,
        history::Coming,
        preflight::Lockout,
        problems::Topic,
        store::{Origin, StoredPolicy},
    },
    diagnostic::Diagnostic,
    instant::Instant,
    policy::{NamedLists, Policy},
};

/// A stored policy, read with what belongs to it.
pub(super) struct Read {
    /// What it says.
    pub policy: Arc<Policy>,
    /// The reader's warnings.
    pub warnings: Vec<Diagnostic>,
    /// The bundle that brought it.
    pub bundle: Option<BundleRef>,
    /// What the bundle asks of the geo data.
    pub need: Option<DatabaseNeed>,
}

impl Engine {
    /// Reads a stored policy with the bundle or the lists that belong to it.
    pub(super) fn read_stored(&self, stored: &StoredPolicy) -> Result<Read, Refusal> {
        let lists = match stored.origin {
            Origin::Bundle(digest) => return self.read_bundle(stored, digest),
            Origin::Lists(digest) => self.kept.lists(digest).map_err(Refusal::failed)?,
            Origin::Plain => NamedLists::new(),
        };
        let (policy, warnings) = build::parse_policy(&stored.file, &stored.text, lists)?;
        Ok(Read {
            policy: Arc::new(policy),
            warnings,
            bundle: None,
            need: None,
        })
    }

    fn read_bundle(&self, stored: &StoredPolicy, digest: Digest) -> Result<Read, Refusal> {
        let envelope = self.kept.bundle(digest).map_err(Refusal::failed)?;
        // Who signed it was looked at when it was taken. A key that was revoked since takes nothing out of force.
        let bundle = Bundle::read(&stored.file, &envelope.payload, envelope.kind)
            .map_err(|rejected| Refusal::rejected(&stored.file, rejected))?;
        let warnings = bundle.warnings;
        match bundle.policy {
            Some((policy, _)) => Ok(Read {
                policy: Arc::new(policy),
                warnings,
                bundle: Some(super::push::bundle_ref(&bundle.manifest, digest)),
                need: match bundle.manifest.content {
                    Content::Policy(content) => content.database,
                    _ => None,
                },
            }),
            None => Err(Refusal::failed(format!("{} carries no policy", stored.file))),
        }
    }

    /// Takes note of a policy that came into force.
    pub(super) fn note_history(&mut self, wanted: &Wanted<'_>, image: &Image, actor: &Actor) {
        self.begin_history(&coming(wanted, image, actor), wanted.ended);
    }

    fn begin_history(&mut self, coming: &Coming<'_>, ended: Ended) {
        let result = self.history.begin(coming, ended, Instant::now(), &self.kept);
        let result = result.and_then(|()| self.sweep_kept());
        self.note_history_written(result);
    }

    /// A text was taken from which the kernel has the same: the entry in force is of that text now, so that the next start
    /// knows it.
    pub(super) fn note_again(&mut self, wanted: &Wanted<'_>, image: &Image, actor: &Actor) {
        let result = self.history.again(&coming(wanted, image, actor));
        self.note_history_written(result);
    }

    /// What is wrong with an earlier index stays a problem.
    fn note_history_written(&mut self, result: anyhow::Result<()>) {
        if self.history.is_partial() && result.is_ok() {
            return;
        }
        self.problems
            .note(Topic::History, "cannot store the history", result);
    }

    /// As [`Engine::try_put_in_force`]. What was kept of a policy that is refused then is removed: else refusals would
    /// fill the disk.
    pub(super) fn put_in_force(&mut self, wanted: Wanted<'_>, actor: &Actor) -> Result<Applied, Refusal> {
        let keeps = !matches!(wanted.keep, Keep::Nothing);
        let result = self.try_put_in_force(wanted, actor);
        if result.is_err() && keeps {
            let swept = self.sweep_kept();
            self.problems
                .note(Topic::History, "cannot remove what is not needed", swept);
        }
        result
    }

    /// At a start: the daemon may have died between writing a bundle or a database and needing it.
    pub(super) fn sweep(&mut self) {
        let swept = GeoStore::new(&self.settings.state_dir).sweep();
        self.problems.note(
            Topic::StoredGeo,
            "cannot remove databases that do not count",
            swept,
        );
        if let Err(error) = self.sweep_kept() {
            tracing::warn!("cannot remove bundles and lists that nothing needs: {error:#}");
        }
    }

    /// Removes bundles and lists that neither the history nor a stored policy needs.
    fn sweep_kept(&self) -> anyhow::Result<()> {
        if self.history.is_partial() {
            return Ok(());
        }
        let mut needed: BTreeSet<Digest> = self.history.needs();
        for stored in [self.store.policy()?, self.store.pending()?]
            .into_iter()
            .flatten()
        {
            if let Origin::Bundle(digest) | Origin::Lists(digest) = stored.origin {
                needed.insert(digest);
            }
        }
        self.kept.sweep(&needed)
    }

    /// After a revert: the policy that is stored for good is in force again, or none that is known.
    pub(super) fn history_went_back(&mut self, ended: Ended) {
        let stored = self.store.policy().ok().flatten();
        let in_force = self.in_force.clone().filter(|in_force| !in_force.is_baseline);
        match (stored, in_force) {
            (Some(stored), Some(in_force)) => self.note_in_force(&stored, &in_force, ended),
            _ => {
                let result = self.history.end(ended, Instant::now());
                self.note_history_written(result);
            }
        }
    }

    /// At a start: what is in force is what the history says, unless the daemon died in between.
    pub(super) fn take_up_history(&mut self) {
        let is_waiting = self
            .dataplane
            .state()
            .is_ok_and(|state| state.confirm_left_s.is_some());
        let stored = match is_waiting {
            true => self.store.pending(),
            false => self.store.policy(),
        };
        let (Ok(Some(stored)), Some(in_force)) = (stored, self.in_force.clone()) else {
            return;
        };
        let content = Digest::of(stored.to_file().as_bytes());
        let is_known = self
            .history
            .current()
            .is_some_and(|entry| entry.content == Some(content));
        if !is_known && !in_force.is_baseline {
            self.note_in_force(&stored, &in_force, Ended::NotRecorded);
        }
    }

    fn note_in_force(&mut self, stored: &StoredPolicy, in_force: &InForce, ended: Ended) {
        let coming = Coming {
            stored,
            policy: &in_force.image.policy_name,
            sha256: &in_force.image.policy_sha256,
            revision: in_force.bundle.as_ref().map(|bundle| bundle.revision),
            break_glass: None,
            actor: &Actor::Daemon,
        };
        self.begin_history(&coming, ended);
    }

    pub(super) fn history(&self) -> HistoryReply {
        HistoryReply {
            entries: self.history.entries().cloned().collect(),
        }
    }

    pub(super) fn rollback(
        &mut self,
        request: &RollbackRequest,
        actor: &Actor,
    ) -> Result<RolledBack, Refusal> {
        let started = Stopwatch::now();
        self.look_at_trust();
        if self.host_state.break_glass.is_some() && request.number.is_none() && request.revision.is_none() {
            return self.roll_back_break_glass(actor, started);
        }
        if self.is_managed() {
            return Err(Refusal::conflict(format!(
                "this host takes signed policies only ({}), and they never go back: issue the older content anew with `cordon \
                 bundle reissue OLD.cordon --revision N`, have it signed, and push it",
                self.why_managed()
            )));
        }
        let confirm = confirm_window(request.confirm_s)?;
        let state = self.dataplane.state().map_err(Refusal::failed)?;
        if state.confirm_left_s.is_some() {
            return Err(Refusal::conflict(
                "a policy waits for confirmation: wait until it reverts, or `cordon confirm` it first",
            ));
        }
        let entry = self.entry_to_go_back_to(request)?;
        let mut stored = self
            .history
            .stored(&entry)
            .map_err(|error| Refusal::conflict(format!("entry {}: {error:#}", entry.number)))?;
        // Whoever goes back to what nobody signed then may do so now.
        stored.is_break_glass = false;
        let read = self.read_stored(&stored)?;
        let loaded = self.loaded_image(&stored, &read, &state);
        let mut wanted = Wanted {
            stored,
            policy: Arc::clone(&read.policy),
            warnings: read.warnings,
            bundle: read.bundle,
            need: read.need.as_ref(),
            keep: Keep::Nothing,
            confirm_s: request.confirm_s,
            confirm_auto: request.confirm_auto,
            override_lockout: request.override_lockout,
            ssh_peer: request.ssh_peer,
            break_glass: None,
            ended: Ended::RolledBack,
        };
        let Some(image) = loaded else {
            wanted.stored.accepted = Some(Instant::now());
            let applied = self.put_in_force(wanted, actor)?;
            return Ok(RolledBack {
                number: Some(entry.number),
                policy: applied.policy,
                generation: applied.generation,
                was_loaded: false,
                confirm_left_s: applied.confirm_left_s,
                probing: applied.probing,
                took_us: micros(started),
                lockouts: applied.lockouts,
                problems: applied.problems,
            });
        };
        let lockouts = self.check_lockout(&wanted, &image.image, Instant::now())?;
        let lockouts: Vec<String> = lockouts.iter().map(Lockout::to_string).collect();
        let before = match wanted.confirm_auto {
            true => Some(self.probe_before(confirm)?),
            false => None,
        };
        let generation = state.previous.as_ref().map_or(0, |previous| previous.number);
        let event = publish_event(&wanted, &image.image, generation, lockouts.clone());
        self.record_first(actor, &event)?;
        self.set_targets(Some(&image.image));
        self.dataplane.flip(confirm).map_err(Refusal::failed)?;
        let took_us = micros(started);
        let policy = policy_ref(&image.image);
        let image_ref = Arc::clone(&image.image);
        let replaced = self.in_force.replace(image);
        // The kernel's word comes first here: were the policy stored as pending before, a crash in between could take it
        // for one that was published.
        let result = match confirm {
            Some(_) => {
                self.fallback = replaced;
                wanted.stored.is_unconfirmed = true;
                self.store.set_pending(&wanted.stored)
            }
            None => {
                self.previous = replaced;
                self.store.set_policy(&wanted.stored)
            }
        };
        self.problems.note(
            Topic::StoredPolicy,
            "the policy is in force, but a restart would bring the later one back",
            result,
        );
        tracing::info!(%actor, policy = policy.name, generation, took_us, "rolled back");
        if confirm.is_none() {
            self.settle_amendments();
        }
        self.note_history(&wanted, &image_ref, actor);
        self.stop_probing();
        let probing = before.and_then(|before| self.probe_after(before, confirm));
        self.settle_in();
        Ok(RolledBack {
            number: Some(entry.number),
            policy,
            generation,
            was_loaded: true,
            confirm_left_s: request.confirm_s,
            probing,
            took_us,
            lockouts,
            problems: self.problems.texts(),
        })
    }

    /// Back to the signed policy at once, which the kernel would do by itself later.
    fn roll_back_break_glass(&mut self, actor: &Actor, started: Stopwatch) -> Result<RolledBack, Refusal> {
        let event = self.revert_event();
        self.record_first(actor, &event)?;
        self.go_back()?;
        let took_us = micros(started);
        let state = self.dataplane.state().map_err(Refusal::failed)?;
        let policy = self.in_force.as_ref().map(|in_force| policy_ref(&in_force.image));
        Ok(RolledBack {
            number: self.history.current().map(|entry| entry.number),
            policy: policy.unwrap_or_else(|| crate::daemon::api::PolicyRef {
                name: "?".to_owned(),
                sha256: String::new(),
            }),
            generation: state.active.map_or(0, |active| active.number),
            was_loaded: true,
            confirm_left_s: None,
            probing: None,
            took_us,
            lockouts: Vec::new(),
            problems: self.problems.texts(),
        })
    }

    pub(super) fn revert_event(&self) -> Event {
        let in_force = self.in_force.as_ref();
        Event::Revert {
            policy: in_force.map_or_else(String::new, |in_force| in_force.image.policy_name.clone()),
        }
    }

    fn entry_to_go_back_to(&self, request: &RollbackRequest) -> Result<HistoryEntry, Refusal> {
        let current = self.history.current();
        let is_current = |entry: &HistoryEntry| {
            current.is_some_and(|current| {
                (&current.sha256, current.bundle, current.lists) == (&entry.sha256, entry.bundle, entry.lists)
            })
        };
        let mut entries = self.history.entries();
        let found = match (request.number, request.revision) {
            (Some(number), None) => entries.find(|entry| entry.number == number),
            (None, Some(revision)) => entries.find(|entry| entry.revision == Some(revision)),
            (Some(_), Some(_)) => {
                return Err(Refusal::input(
                    "name a number or a revision, not both",
                    Vec::new(),
                ));
            }
            // What nobody confirmed or signed is not what anybody wants back unasked.
            (None, None) => entries.find(|entry| {
                let was_good = !matches!(entry.ended, Some(Ended::Reverted | Ended::BreakGlassOver));
                was_good && entry.break_glass.is_none() && !is_current(entry)
            }),
        };
        match (found, request.number, request.revision) {
            (Some(entry), _, _) => Ok(entry.clone()),
            (None, Some(number), _) => Err(Refusal::conflict(format!(
                "the history has no entry {number}: look at `cordon history`"
            ))),
            (None, None, Some(revision)) => Err(Refusal::conflict(format!(
                "the history has no bundle of revision {revision}: look at `cordon history`"
            ))),
            (None, None, None) => Err(Refusal::conflict(
                "there is no earlier policy to go back to: look at `cordon history`",
            )),
        }
    }

    /// The policy's image, if the kernel still holds a generation of it and the geo data has not changed since.
    fn loaded_image(
        &mut self,
        stored: &StoredPolicy,
        read: &Read,
        state: &crate::dataplane::StateInfo,
    ) -> Option<InForce> {
        let previous = state.previous.as_ref()?;
        let active = state.active.as_ref()?;
        if previous.location_digest != active.location_digest {
            return None;
        }
        let is_loaded = |image: &Image| super::apply::hex(&image.digest) == previous.image_digest;
        if let Some(known) = self.previous.clone().filter(|known| {
            is_loaded(&known.image)
                && known.image.policy_sha256 == Digest::of(stored.text.as_bytes()).to_string()
                && known.bundle == read.bundle
                // What was lifted then may hold again: by now its lift may be over, or dropped.
                && known.amendments.are_as_live_as(&self.host_state.amendments, Instant::now())
        }) {
            return Some(known);
        }
        // After a restart nobody holds its image: compiling is still less than loading it again.
        let location = self
            .in_force
            .as_ref()
            .map(|in_force| Arc::clone(&in_force.image.location))?;
        let amendments = &self.host_state.amendments;
        let as_of = amendments.as_of(stored.accepted?, Instant::now());
        let built = build::build_accepted(
            Policy::clone(&read.policy),
            &stored.text,
            &location,
            as_of,
            &self.settings.host.frame,
            &amendments.to_amendments(),
            |policy| self.exemptions.lifts_for(policy),
        );
        let (image, _) = built.ok().filter(|(image, _)| is_loaded(image))?;
        let found = InForce {
            bundle: read.bundle.clone(),
            need: read.need.clone(),
            ..InForce::policy(image, Arc::clone(&read.policy), stored, amendments.clone())
        };
        self.dataplane.recognise(&found.image).ok()?;
        Some(found)
    }
}

fn coming<'a>(wanted: &'a Wanted<'_>, image: &'a Image, actor: &'a Actor) -> Coming<'a> {
    let break_glass = wanted.break_glass.as_ref();
    Coming {
        stored: &wanted.stored,
        policy: &image.policy_name,
        sha256: &image.policy_sha256,
        revision: wanted.bundle.as_ref().map(|bundle| bundle.revision),
        break_glass: break_glass.map(|break_glass| break_glass.reason.clone()),
        actor,
    }
}

fn micros(started: Stopwatch) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}
