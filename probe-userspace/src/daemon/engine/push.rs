//! Bundles: what is signed by enough trusted keys, fresh and for this host is put in force or followed.
//!
//! The order of the steps makes a crash leave the old or the new policy: the bundle is kept, the policy stored as pending,
//! published, stored for good, and only then is its revision marked as taken. At a start the marks are raised to what is
//! in force. The same bundle is taken up again where it was left.

use std::sync::Arc;

use super::{Engine, apply::Wanted};
use crate::{
    audit::{Actor, Rejection},
    bundle::{
        self, Bundle, Content, DatabaseNeed, Digest, Envelope, Kind, Manifest, Reason, Rejected, Version,
        freshness::{self, Freshness, Mark, Situation},
        trust::Votes,
    },
    daemon::{
        Refusal,
        accepted_geo::{AcceptedGeo, GeoStore},
        api::{BundleRef, Ended, PushOutcome, PushQuery, Pushed},
        fetch::Taken,
        memory,
        problems::Topic,
        store::{Origin, StoredPolicy},
    },
    diagnostic::Place,
    geo::Location,
    instant::Instant,
};

/// A bundle as it arrived.
#[derive(Debug)]
pub struct Upload {
    /// How it is to be taken.
    pub query: PushQuery,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A bundle that was opened and is fresh.
pub(super) struct Genuine<'p> {
    /// What it is called in remarks.
    pub file: &'p str,
    /// How it is to be taken.
    pub query: &'p PushQuery,
    /// The whole of it.
    pub envelope: &'p Envelope,
    /// What is in it.
    pub bundle: Bundle<'p>,
    /// Whether the host has it already.
    pub freshness: Freshness,
    /// Who signed it.
    pub signers: Actor,
    /// The time by which it was judged.
    pub now: Instant,
}

impl Genuine<'_> {
    /// The answer, so far.
    pub fn answer(&self, outcome: PushOutcome) -> Pushed {
        let manifest = &self.bundle.manifest;
        Pushed {
            outcome,
            kind: manifest.kind(),
            name: manifest.name.clone(),
            revision: manifest.revision,
            digest: self.bundle.digest,
            is_expired: manifest.is_expired(self.now),
            applied: None,
            followed: None,
            diagnostics: self.bundle.warnings.clone(),
            problems: Vec::new(),
        }
    }

    /// What the host notes of it.
    fn mark(&self) -> Mark {
        Mark {
            name: self.bundle.manifest.name.clone(),
            revision: self.bundle.manifest.revision,
            digest: self.bundle.digest,
        }
    }

    /// A rejection for a reason that only shows on a host.
    pub fn rejected(&self, reason: Reason, message: impl Into<String>, fix: &str) -> Refusal {
        let rejected = Rejected::new(reason, Place::file(self.file), "", message, fix);
        Refusal::rejected(self.file, rejected)
    }
}

impl Engine {
    /// Takes a bundle that somebody sends; `sender` is who, until it is known who signed it.
    pub(super) fn push(&mut self, upload: Upload, sender: &Actor) -> Result<Pushed, Refusal> {
        let Upload { query, bytes } = upload;
        let envelope = Envelope::read(&query.file, &bytes[..]);
        // The envelope holds them again.
        drop(bytes);
        match envelope {
            Ok(envelope) => self.push_envelope(&query, &envelope, sender),
            Err(rejected) => {
                let refusal = Refusal::rejected(&query.file, rejected);
                self.note_rejection(&query.file, sender, &refusal);
                Err(refusal)
            }
        }
    }

    /// As [`Engine::push`], for a bundle of which the envelope was read.
    pub(super) fn push_envelope(
        &mut self,
        query: &PushQuery,
        envelope: &Envelope,
        sender: &Actor,
    ) -> Result<Pushed, Refusal> {
        let mut actor = sender.clone();
        match self.try_push(query, envelope, &mut actor) {
            Ok(mut pushed) => {
                pushed.problems = self.problems.texts();
                Ok(pushed)
            }
            Err(refusal) => {
                self.note_rejection(&query.file, &actor, &refusal);
                Err(refusal)
            }
        }
    }

    /// Records why a bundle is rejected. What is wrong on the host is recorded by who asked.
    pub(super) fn note_rejection(&mut self, source: &str, actor: &Actor, refusal: &Refusal) {
        let Some(reason) = &refusal.reason else {
            return;
        };
        tracing::info!(%actor, source, reason, "bundle rejected: {refusal}");
        let rejection = Rejection {
            verb: "push".to_owned(),
            source: source.to_owned(),
            reason: reason.clone(),
            message: match refusal.diagnostics.first() {
                Some(first) => first.message.clone(),
                None => refusal.error.clone(),
            },
        };
        self.journal.reject(actor, rejection);
    }

    fn try_push(
        &mut self,
        query: &PushQuery,
        envelope: &Envelope,
        actor: &mut Actor,
    ) -> Result<Pushed, Refusal> {
        let file = query.file.as_str();
        let rejected = |rejected| Refusal::rejected(file, rejected);
        self.look_at_trust();
        let trust = match &self.trust {
            Ok(trust) => Arc::clone(trust),
            // That is no fault of the bundle.
            Err(refusal) => return Err(refusal.clone()),
        };
        // That, too, is no fault of the bundle.
        let needed = bundle::bytes_to_read(file, envelope, &trust).map_err(rejected)?;
        memory::check_reading(needed, memory::available())?;
        let (bundle, votes) = bundle::open(file, envelope, &trust).map_err(rejected)?;
        let signers = signers(&votes, bundle.digest);
        actor.clone_from(&signers);
        if envelope.kind == Kind::Geo {
            return self.push_geo(file, bundle, &votes);
        }
        let identity = self.settings.identity();
        let kind = envelope.kind;
        let situation = Situation {
            mark: self.marks.reached().mark(kind),
            clock: Instant::now(),
            seen: self.marks.reached().seen(),
            host: Some(&identity),
            cordon: Version::ours(),
        };
        let freshness =
            freshness::judge(file, &bundle.manifest, bundle.digest, &situation).map_err(rejected)?;
        let now = situation.now();
        let genuine = Genuine {
            file,
            query,
            envelope,
            bundle,
            freshness,
            signers,
            now,
        };
        match kind {
            Kind::Policy => self.push_policy(&genuine),
            Kind::Directive => self.push_directive(&genuine),
            Kind::Geo => Err(Refusal::failed("a geo bundle that is taken as another kind")),
        }
    }

    /// Geo data has a mark of its own, which stands beside the database, too.
    fn push_geo(&mut self, file: &str, bundle: Bundle<'_>, votes: &Votes) -> Result<Pushed, Refusal> {
        let answer = Pushed {
            outcome: PushOutcome::Idle,
            kind: Kind::Geo,
            name: bundle.manifest.name.clone(),
            revision: bundle.manifest.revision,
            digest: bundle.digest,
            is_expired: false,
            applied: None,
            followed: None,
            diagnostics: bundle.warnings.clone(),
            problems: Vec::new(),
        };
        let outcome = match self.take_genuine_geo(file, bundle, votes)? {
            Taken::Accepted => PushOutcome::Accepted,
            Taken::Idle => PushOutcome::Idle,
        };
        Ok(Pushed { outcome, ..answer })
    }

    fn push_policy(&mut self, genuine: &Genuine<'_>) -> Result<Pushed, Refusal> {
        let digest = genuine.bundle.digest;
        let manifest = &genuine.bundle.manifest;
        let (Some((policy, text)), Content::Policy(content)) = (&genuine.bundle.policy, &manifest.content)
        else {
            return Err(Refusal::failed("a policy bundle without a policy"));
        };
        if let Freshness::Idle { is_expired } = genuine.freshness {
            if self.bundle_in_force() == Some(digest) && self.host_state.break_glass.is_none() {
                return Ok(genuine.answer(PushOutcome::Idle));
            }
            // It was taken, but something came in between: a crash, a deadline, break-glass. What is stored for
            // good may come back though it has ended; nothing else may.
            let is_stored = self.stored_bundle() == Some(digest);
            if is_expired && !is_stored {
                return Err(genuine.rejected(
                    Reason::Expired,
                    format!("the bundle has ended: now it is {}", genuine.now),
                    "issue a new revision",
                ));
            }
            if is_stored && self.host_state.break_glass.is_some() {
                return self.end_break_glass(genuine);
            }
        }
        // It is asked for by whoever pushes, and not said by the bundle.
        super::confirm::confirm_window(genuine.query.confirm_s)?;
        let stored = StoredPolicy::accepted(genuine.file, text, Instant::now());
        let wanted = Wanted {
            stored: stored.with_origin(Origin::Bundle(digest)),
            policy: Arc::new(policy.clone()),
            warnings: genuine.bundle.warnings.clone(),
            bundle: Some(bundle_ref(manifest, digest)),
            need: content.database.as_ref(),
            keep: super::apply::Keep::Bundle(genuine.envelope),
            confirm_s: genuine.query.confirm_s,
            confirm_auto: genuine.query.confirm_auto,
            override_lockout: genuine.query.override_lockout,
            ssh_peer: genuine.query.ssh_peer,
            break_glass: None,
            ended: Ended::Replaced,
        };
        let applied = self.put_in_force(wanted, &genuine.signers).map_err(|refusal| {
            match (&refusal.reason, refusal.status) {
                // What compiles nowhere is the bundle's fault; a full disk is not, nor what is lifted or halted here.
                (None, 422) => refusal.because(Reason::MalformedPolicy),
                _ => refusal,
            }
        })?;
        self.raise_mark(genuine);
        tracing::info!(
            actor = %genuine.signers,
            bundle = manifest.name,
            revision = manifest.revision,
            "bundle accepted"
        );
        Ok(Pushed {
            diagnostics: applied.diagnostics.clone(),
            applied: Some(applied),
            ..genuine.answer(PushOutcome::Accepted)
        })
    }

    /// The signed policy that is stored takes the place of the one that nobody signed.
    fn end_break_glass(&mut self, genuine: &Genuine<'_>) -> Result<Pushed, Refusal> {
        let event = self.revert_event();
        self.record_first(&genuine.signers, &event)?;
        self.go_back()?;
        Ok(genuine.answer(PushOutcome::Accepted))
    }

    /// Notes that a bundle was taken. What cannot be written is taken all the same: it is in force.
    pub(super) fn raise_mark(&mut self, genuine: &Genuine<'_>) {
        let manifest = &genuine.bundle.manifest;
        let result = self.marks.raise(manifest.kind(), genuine.mark(), manifest.issued);
        self.note_marks(result);
    }

    /// Notes that a bundle is taken, before it opens anything. What cannot be written opens nothing.
    pub(super) fn raise_mark_first(&mut self, genuine: &Genuine<'_>) -> Result<(), Refusal> {
        let kind = genuine.bundle.manifest.kind();
        let before = self.marks.reached().mark(kind).cloned();
        let result = self
            .marks
            .raise(kind, genuine.mark(), genuine.bundle.manifest.issued);
        let refused = result.as_ref().err().map(|error| {
            Refusal::with_status(
                507,
                format!(
                    "cannot store which revision this host has: {error:#}. Nothing was done: what opens something must be \
                     noted first, or it could be done again later. Make room there, or make it writable, and try again"
                ),
            )
        });
        self.note_marks(result);
        let Some(refusal) = refused else {
            return Ok(());
        };
        self.take_back_mark(kind, before);
        Err(refusal)
    }

    /// A bundle that was noted first was not taken.
    pub(super) fn take_back_mark(&mut self, kind: Kind, before: Option<Mark>) {
        let result = self.marks.take_back(kind, before);
        self.note_marks(result);
    }

    /// What could not be written is written as soon as it can be.
    pub(super) fn save_marks(&mut self) {
        let result = self.marks.save();
        self.note_marks(result);
    }

    /// `false`: nothing was written, so nothing is known to be well.
    pub(super) fn note_marks(&mut self, result: anyhow::Result<bool>) {
        match result {
            Ok(true) => self.problems.clear(&Topic::Marks),
            Ok(false) => {}
            Err(error) => self.problems.set(
                Topic::Marks,
                format!("cannot store which revision this host has: {error:#}"),
            ),
        }
    }

    /// What is in force was taken, whatever the marks say.
    pub(super) fn raise_mark_to(&mut self, bundle: &BundleRef) {
        let mark = Mark {
            name: bundle.name.clone(),
            revision: bundle.revision,
            digest: bundle.digest,
        };
        // What was wrong with the copies before stays in the status.
        if let Err(error) = self.marks.raise(Kind::Policy, mark, bundle.issued) {
            self.note_marks(Err(error));
        }
    }

    /// What stands beside the database was taken, too.
    pub(super) fn raise_mark_of_geo(&mut self) {
        // A record that cannot be read is told where the database is read.
        let Ok(Some(accepted)) = GeoStore::new(&self.settings.state_dir).accepted() else {
            return;
        };
        if let Some(mark) = accepted.mark()
            && let Err(error) = self.marks.raise(Kind::Geo, mark, Instant(accepted.seen_s))
        {
            self.note_marks(Err(error));
        }
    }

    /// Digest of the bundle in force.
    fn bundle_in_force(&self) -> Option<Digest> {
        let in_force = self.in_force.as_ref()?;
        Some(in_force.bundle.as_ref()?.digest)
    }

    /// Digest of the bundle whose policy is stored for good.
    fn stored_bundle(&self) -> Option<Digest> {
        self.store.policy().ok().flatten()?.bundle()
    }

    /// Says since when the policy in force has ended. It stays in force.
    pub(super) fn look_at_expiry(&mut self) {
        let in_force = self.in_force.as_ref();
        let Some(bundle) = in_force.and_then(|in_force| in_force.bundle.clone()) else {
            return self.problems.clear(&Topic::Expired);
        };
        let now = Instant::now().max(self.marks.reached().seen());
        let was_seen = self.host_state.expired == Some(bundle.digest);
        let is_over = bundle.expires <= now;
        if !is_over && !was_seen {
            return self.problems.clear(&Topic::Expired);
        }
        let set_back = match is_over {
            true => String::new(),
            false => ", though the clock was set back since".to_owned(),
        };
        self.problems.set(
            Topic::Expired,
            format!(
                "the policy in force, {} revision {}, has ended on {}{set_back}: it stays in force; push a new revision",
                bundle.name, bundle.revision, bundle.expires
            ),
        );
        if !was_seen {
            self.host_state.expired = Some(bundle.digest);
            self.save_host_state();
        }
    }
}

/// Why a policy will not do with a database. A database is known by its type, and by the name of the bundle that
/// brought it.
pub(super) fn check_database(
    need: &DatabaseNeed,
    location: &Location,
    accepted: Option<&AcceptedGeo>,
    now: Instant,
) -> Result<(), String> {
    let source = &location.source;
    let built = Instant(u32::try_from(source.built_s).unwrap_or(u32::MAX));
    let built = accepted.map_or(built, AcceptedGeo::built);
    let named = accepted.filter(|accepted| accepted.name == need.name);
    let name = named.map_or_else(|| source.plain_name(), |accepted| accepted.name.clone());
    match need.refuses(&name, built, now) {
        Some(why) => Err(why),
        None => Ok(()),
    }
}

pub(super) fn bundle_ref(manifest: &Manifest, digest: Digest) -> BundleRef {
    let validity = manifest.validity();
    BundleRef {
        name: manifest.name.clone(),
        revision: manifest.revision,
        digest,
        issued: manifest.issued,
        expires: validity.map_or(Instant(u32::MAX - 1), |validity| validity.expires),
    }
}

fn signers(votes: &Votes, digest: Digest) -> Actor {
    Actor::Signed {
        keys: votes.keys.iter().map(ToString::to_string).collect(),
        bundle: digest.to_string(),
    }
}
