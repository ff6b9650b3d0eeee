//! Bundles that were pulled: from bytes that nobody vouches for to what is in force.

use std::sync::Arc;

use super::{Engine, database::database_event};
use crate::{
    audit::Actor,
    bundle::{
        self, Bundle, Content, Envelope, GeoContent, Kind, Reason, Rejected, Version,
        freshness::{self, Freshness, Mark, Situation},
        trust::{TrustDirectory, Votes},
    },
    daemon::{
        Refusal,
        accepted_geo::{AcceptedGeo, GeoStore},
        api::{PushOutcome, SourceRow},
        fetch::{Candidate, Taken},
        problems::Topic,
    },
    diagnostic::Place,
    geo,
    host::SourceKind,
    instant::Instant,
};

impl Engine {
    /// Takes a bundle, or says why not.
    pub(super) fn take_candidate(&mut self, candidate: Candidate) -> Result<Taken, Refusal> {
        let Candidate { file, kind, bytes } = candidate;
        let envelope = Envelope::read(&file, &bytes[..]);
        // The envelope has a copy of its own.
        drop(bytes);
        let result = match &envelope {
            Ok(envelope) => self.take_envelope(&file, kind, envelope),
            Err(rejected) => Err(Refusal::rejected(&file, rejected.clone())),
        };
        if let Err(refusal) = &result {
            match refusal.reason {
                None => self.note_refusal("push", &file, &Actor::Daemon, &result),
                // A policy or a directive: recorded where it is known who signed it.
                Some(_) if envelope.is_ok() && kind != SourceKind::Geo => {}
                Some(_) => self.note_rejection(&file, &Actor::Daemon, refusal),
            }
        }
        result
    }

    fn take_envelope(
        &mut self,
        file: &str,
        expected: SourceKind,
        envelope: &Envelope,
    ) -> Result<Taken, Refusal> {
        match (expected, envelope.kind) {
            (SourceKind::Geo, Kind::Geo) => self.take_geo(file, envelope),
            (SourceKind::Policy, Kind::Policy) | (SourceKind::Directive, Kind::Directive) => {
                self.take_signed(file, envelope)
            }
            (expected, found) => Err(Refusal::conflict(format!(
                "a {} bundle comes from a source of kind `{}`: correct `kind` in the host file",
                found.name(),
                expected.name()
            ))),
        }
    }

    /// A policy or a directive goes the way of those that are pushed. One that the host took already stays where it was
    /// left: what came in between was done by somebody, and a source offers the same bundle again and again.
    fn take_signed(&mut self, file: &str, envelope: &Envelope) -> Result<Taken, Refusal> {
        let digest = bundle::Digest::of(&envelope.payload);
        let mark = self.marks.reached().mark(envelope.kind);
        if mark.is_some_and(|mark| mark.digest == digest) {
            return Ok(Taken::Idle);
        }
        if envelope.kind == Kind::Policy && self.is_waiting()? {
            return Err(Refusal::conflict(
                "a policy waits for confirmation, or nobody signed it: the bundle is taken after that",
            ));
        }
        let query = self.unattended(file);
        let pushed = self.push_envelope(&query, envelope, &Actor::Daemon)?;
        Ok(match pushed.outcome {
            PushOutcome::Accepted => Taken::Accepted,
            PushOutcome::Idle => Taken::Idle,
        })
    }

    /// A source was looked at.
    pub(super) fn note_source(&mut self, idx: usize, row: SourceRow) {
        if self.sources.len() <= idx {
            self.sources.resize(idx + 1, SourceRow::default());
        }
        let topic = Topic::Source(row.url.clone());
        match &row.problem {
            Some(problem) => {
                let last = match &row.last_success {
                    Some(at) => format!("it was last good at {at}"),
                    None => "it never was good".to_owned(),
                };
                self.problems
                    .set(topic, format!("{}: {problem} ({last})", row.url));
            }
            None => self.problems.clear(&topic),
        }
        self.sources[idx] = row;
    }

    /// The sources with their ages as of now.
    pub(super) fn source_rows(&self) -> Vec<SourceRow> {
        let now = Instant::now();
        let age = |row: &SourceRow| {
            let last = Instant::parse(row.last_success.as_deref()?).ok()?;
            Some(u64::from(now.0.saturating_sub(last.0)))
        };
        self.sources
            .iter()
            .map(|row| SourceRow {
                age_s: age(row),
                ..row.clone()
            })
            .collect()
    }

    fn take_geo(&mut self, file: &str, envelope: &Envelope) -> Result<Taken, Refusal> {
        let trust = TrustDirectory::new(&self.settings.keys_dir()).read()?;
        let opened = bundle::open(file, envelope, &trust);
        let (bundle, votes) = opened.map_err(|rejected| Refusal::rejected(file, rejected))?;
        self.take_genuine_geo(file, bundle, &votes)
    }

    /// A geo bundle: checked, kept, and put in force with the policy that is.
    pub(super) fn take_genuine_geo(
        &mut self,
        file: &str,
        bundle: Bundle<'_>,
        votes: &Votes,
    ) -> Result<Taken, Refusal> {
        let Content::Geo(content) = bundle.manifest.content.clone() else {
            return Err(Refusal::failed("a geo bundle without a geo manifest"));
        };
        let store = GeoStore::new(&self.settings.state_dir);
        let known = store.accepted().map_err(Refusal::failed)?;
        let stored = known.as_ref().and_then(AcceptedGeo::mark);
        // The one beside the database may be lost with it, or may not have been written.
        let reached = self.marks.reached();
        let marks = [reached.mark(Kind::Geo), stored.as_ref()];
        let mark = marks.into_iter().flatten().max_by_key(|mark| mark.revision);
        let situation = Situation {
            mark,
            clock: Instant::now(),
            seen: Instant(known.as_ref().map_or(0, |known| known.seen_s)).max(reached.seen()),
            host: None,
            cordon: Version::ours(),
        };
        let fresh = freshness::judge(file, &bundle.manifest, bundle.digest, &situation);
        let seen = match fresh.map_err(|rejected| Refusal::rejected(file, rejected))? {
            Freshness::Idle { .. } if stored.as_ref() == mark => return Ok(Taken::Idle),
            // It was taken, and lost since.
            Freshness::Idle { .. } => situation.seen,
            Freshness::Accept { seen } => seen,
        };
        if self.is_waiting()? {
            return Err(Refusal::conflict(
                "a policy waits for confirmation: the database is taken after that",
            ));
        }
        let result = self.put_geo_in_force(file, &store, bundle, &content, votes, seen);
        if result.is_err() {
            let swept = store.sweep();
            self.problems
                .note(Topic::StoredGeo, "cannot remove the refused database", swept);
        }
        result
    }

    fn put_geo_in_force(
        &mut self,
        file: &str,
        store: &GeoStore,
        bundle: Bundle<'_>,
        content: &GeoContent,
        votes: &Votes,
        seen: Instant,
    ) -> Result<Taken, Refusal> {
        let database = bundle
            .database
            .ok_or_else(|| Refusal::failed("a geo bundle without a database"))?;
        let accepted = AcceptedGeo {
            name: bundle.manifest.name.clone(),
            revision: bundle.manifest.revision,
            payload: bundle.digest.to_string(),
            sha256: bundle::Digest::of(&database).to_string(),
            built_s: content.built.0,
            licence: content.licence.clone(),
            seen_s: seen.0,
        };
        let path = store.path(&accepted).display().to_string();
        store
            .write_database(&accepted, &database)
            .map_err(Refusal::failed)?;
        let location = geo::read_database(&path, database.into_owned(), self.settings.host.field)
            .map_err(|error| Self::wrong_geo_data(file, &error.to_string()))?;
        if let Some(why) = self.refuses_database(&location, Some(&accepted)) {
            return Err(Self::wrong_geo_data(file, &why));
        }
        let actor = Actor::Signed {
            keys: votes.keys.iter().map(ToString::to_string).collect(),
            bundle: accepted.payload.clone(),
        };
        // The host file's own database counts first: this one is kept for when that key goes.
        let is_used = self.settings.host.database.is_none();
        let location = Arc::new(location);
        let is_recorded = is_used && self.use_location(&location, &actor, Some(&accepted))?;
        if !is_recorded {
            self.record_first(&actor, &database_event(&location, Some(&accepted)))?;
        }
        if is_used {
            self.location = Some(location);
            self.problems.clear(&Topic::Database);
        }
        let mark = Mark {
            name: accepted.name.clone(),
            revision: accepted.revision,
            digest: bundle.digest,
        };
        let noted = self.marks.raise(Kind::Geo, mark, seen);
        self.note_marks(noted);
        let stored = store.accept(&accepted);
        self.problems.note(
            Topic::StoredGeo,
            "the geo bundle is in force, but a restart would bring the earlier one back",
            stored,
        );
        tracing::info!(
            %actor,
            name = accepted.name,
            revision = accepted.revision,
            "geo bundle accepted"
        );
        Ok(Taken::Accepted)
    }

    fn wrong_geo_data(file: &str, why: &str) -> Refusal {
        let fix = "issue a new revision with another database";
        let rejected = Rejected::new(Reason::WrongGeoData, Place::file(file), "", why, fix);
        Refusal::rejected(file, rejected)
    }
}
