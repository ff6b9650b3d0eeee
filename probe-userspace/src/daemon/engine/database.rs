//! The GeoIP database: which one counts, a new one in place of the old, and what the policy in force asks of it.
//!
//! The host file's `database` counts first, then what a signed bundle brought, then the usual places, then the one
//! inside the binary. Whatever is wrong with a new one, the old one stays.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Engine, InForce, push::check_database, start::millis};
use crate::{
    audit::{Actor, Event},
    compile::Image,
    daemon::{
        Refusal,
        accepted_geo::{AcceptedGeo, GeoStore},
        build,
        last_good::LastGood,
        preflight::{self, Lockout},
        problems::Topic,
    },
    diagnostic::Diagnostic,
    geo::{self, EMBEDDED_NAME, Location},
    instant::Instant,
    policy::Policy,
};

/// A changed file is read once it looked the same this many times in a row, a second apart.
const N_STABLE: u8 = 2;

/// The file that is looked at every second.
#[derive(Debug, Default)]
pub(super) struct Watched {
    loaded: Option<Stamp>,
    seen: Option<Stamp>,
    n_stable: u8,
}

/// Differs if a file was replaced or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    File {
        dev: u64,
        ino: u64,
        n_bytes: u64,
        mtime: (i64, i64),
    },
    Missing,
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Self::File {
                dev: metadata.dev(),
                ino: metadata.ino(),
                n_bytes: metadata.len(),
                mtime: (metadata.mtime(), metadata.mtime_nsec()),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Missing),
            Err(error) => Err(error),
        }
    }
}

impl Watched {
    /// What is there now is what is in use.
    fn loaded(&mut self, stamp: Option<Stamp>) {
        self.loaded = stamp;
    }

    /// Whether what is there now is something else, and has held still.
    fn is_due(&mut self, stamp: Stamp) -> bool {
        if self.seen != Some(stamp) {
            self.seen = Some(stamp);
            self.n_stable = 0;
            return false;
        }
        self.n_stable = self.n_stable.saturating_add(1);
        self.n_stable >= N_STABLE && self.loaded != Some(stamp)
    }
}

impl Engine {
    /// Reads the database as it is now, for the next image. Tables that did not change stay the same object, so that
    /// generations share them and memory holds them once. One that cannot be used stops no policy as long as there are
    /// good data.
    pub(super) fn load_location(&mut self) -> Result<Arc<Location>, Refusal> {
        let location = match self.read_location() {
            Ok(location) => {
                self.problems.clear(&Topic::Database);
                location
            }
            Err(refusal) => self.last_good_location(refusal)?,
        };
        self.location = Some(Arc::clone(&location));
        Ok(location)
    }

    /// The data in force, else the copy kept of those that were in force last.
    fn last_good_location(&mut self, refusal: Refusal) -> Result<Arc<Location>, Refusal> {
        let in_force = self.in_force.as_ref().filter(|in_force| !in_force.is_baseline);
        let in_force = in_force.map(|in_force| &in_force.image.location);
        if let Some(known) = in_force.or(self.location.as_ref()).map(Arc::clone) {
            let text = format!("{refusal}; the database read last stays");
            self.problems.set(Topic::Database, text);
            return Ok(known);
        }
        match LastGood::new(&self.settings.state_dir).load(self.settings.host.field) {
            Ok(Some(location)) => {
                let text = format!("{refusal}; the copy kept of the database in force last is used");
                self.problems.set(Topic::Database, text);
                Ok(Arc::new(location))
            }
            Ok(None) => {
                self.problems.set(Topic::Database, refusal.to_string());
                Err(refusal)
            }
            Err(error) => {
                let text = format!("{refusal}; nor can the copy be used that was kept: {error:#}");
                self.problems.set(Topic::Database, text);
                Err(refusal)
            }
        }
    }

    /// Keeps a copy of the database that the policy in force was compiled with.
    pub(super) fn keep_database(&mut self) {
        let Some(in_force) = self.in_force.as_ref().filter(|in_force| !in_force.is_baseline) else {
            return;
        };
        let kept = LastGood::new(&self.settings.state_dir).keep(&in_force.image.location.source);
        self.problems.note(
            Topic::KeptDatabase,
            "no copy of the database in force is kept for the next start",
            kept,
        );
    }

    fn read_location(&mut self) -> Result<Arc<Location>, Refusal> {
        let stamp = self.watched_path().and_then(|path| Stamp::of(&path).ok());
        let choice = self.settings.geo_choice()?;
        let fresh = geo::load(&choice, self.settings.host.field).map_err(Refusal::failed)?;
        self.check_accepted(&fresh)?;
        self.watched.loaded(stamp);
        Ok(self.shared(fresh))
    }

    fn shared(&self, fresh: Location) -> Arc<Location> {
        match &self.location {
            Some(known) if known.digest == fresh.digest && known.source == fresh.source => Arc::clone(known),
            _ => Arc::new(fresh),
        }
    }

    /// The file of an accepted bundle must hold what was signed.
    fn check_accepted(&self, location: &Location) -> Result<(), Refusal> {
        let store = GeoStore::new(&self.settings.state_dir);
        let Some(accepted) = store.accepted().map_err(Refusal::failed)? else {
            return Ok(());
        };
        let path = store.path(&accepted).display().to_string();
        if location.source.origin == path && location.source.sha256 != accepted.sha256 {
            return Err(Refusal::failed(format!(
                "{path} was altered since it was accepted: push the geo bundle again under a higher revision, or remove \
                 the directory it is in"
            )));
        }
        Ok(())
    }

    /// The file that the location comes from, or should.
    fn watched_path(&self) -> Option<PathBuf> {
        if let Some(path) = &self.settings.host.database {
            return Some(path.value.clone());
        }
        let origin = &self.location.as_ref()?.source.origin;
        (origin != EMBEDDED_NAME).then(|| PathBuf::from(origin))
    }

    /// Takes up a database file that was replaced, as `geoipupdate` does.
    pub(super) fn look_at_database(&mut self) {
        let Some(path) = self.watched_path() else {
            return;
        };
        let stamp = match Stamp::of(&path) {
            Ok(stamp) => stamp,
            Err(error) => {
                let text = format!(
                    "cannot look at {}: {error}; the database read last stays",
                    path.display()
                );
                return self.problems.set(Topic::Database, text);
            }
        };
        if !self.watched.is_due(stamp) || self.is_waiting().unwrap_or(true) {
            return;
        }
        // Whatever comes of it: it is not tried again before it changes again.
        self.watched.loaded(Some(stamp));
        if stamp == Stamp::Missing {
            let text = format!("{} is gone: the database read last stays", path.display());
            return self.problems.set(Topic::Database, text);
        }
        let result = self.read_location().and_then(|location| {
            self.use_location(&location, &Actor::Daemon, None)?;
            self.location = Some(location);
            self.problems.clear(&Topic::Database);
            Ok(())
        });
        if let Err(refusal) = result {
            let text = format!("{}: {refusal}; the database read last stays", path.display());
            self.problems.set(Topic::Database, text);
        }
    }

    /// Compiles the policy in force with other location tables and puts that in force. `false`: there was nothing to
    /// compile, and nothing is recorded.
    pub(super) fn use_location(
        &mut self,
        location: &Arc<Location>,
        actor: &Actor,
        accepted: Option<&AcceptedGeo>,
    ) -> Result<bool, Refusal> {
        let before = match &self.in_force {
            Some(in_force) if !in_force.is_baseline => in_force.clone(),
            _ => return Ok(false),
        };
        if Arc::ptr_eq(&before.image.location, location) {
            return Ok(false);
        }
        if let Some(why) = self.refuses_database(location, accepted) {
            return Err(Refusal::conflict(why));
        }
        let started = std::time::Instant::now();
        let (image, failed_tests) = self.rebuild(&before, location)?;
        let image = Arc::new(image);
        self.check_lockout_of_database(&before.image, &image)?;
        self.check_memory(&image)?;
        let compile_ms = millis(started.elapsed());
        self.record_first(actor, &database_event(location, accepted))?;
        let is_same = self.dataplane.recognise(&image).map_err(Refusal::failed)?;
        let after = InForce {
            image: Arc::clone(&image),
            amendments: self.host_state.amendments.clone(),
            ..before
        };
        if !is_same {
            self.set_targets(Some(&image));
            let published = self.dataplane.publish(&image, None).map_err(Refusal::failed)?;
            self.note_published(&published, compile_ms);
            self.record_published(&after, published.number);
            tracing::info!(
                generation = published.number,
                database = location.source.origin,
                "the policy is published with another database"
            );
        }
        self.keep_lifts_of(&image);
        self.in_force = Some(after);
        self.keep_database();
        self.note_redirects();
        self.problems.clear(&Topic::Tests);
        let path = self.store.policy_path();
        self.note_failed_tests(&path, &failed_tests);
        Ok(true)
    }

    /// The policy in force with these tables, and with what is lifted and halted now. Its tests were for its author: those
    /// that fail are a problem and no obstacle.
    fn rebuild(
        &self,
        in_force: &InForce,
        location: &Arc<Location>,
    ) -> Result<(Image, Vec<Diagnostic>), Refusal> {
        let amendments = &self.host_state.amendments;
        build::build_accepted(
            Policy::clone(&in_force.policy),
            in_force.text(),
            location,
            in_force.as_of(amendments, Instant::now()),
            &self.settings.host.frame,
            &amendments.to_amendments(),
            |policy| self.exemptions.lifts_for(policy),
        )
    }

    /// Nobody who works on this host is cut off by new data who was not before.
    fn check_lockout_of_database(&self, before: &Image, after: &Image) -> Result<(), Refusal> {
        let (host, surroundings) = (&self.settings.host, self.surroundings());
        let mut guarded = preflight::guarded(host, None, &surroundings);
        guarded.retain(|guarded| guarded.is_binding);
        let now = Instant::now();
        let known: Vec<_> = preflight::lockouts(before, &guarded, host.ssh_ports(), now)
            .into_iter()
            .map(|lockout| lockout.address)
            .collect();
        let fresh: Vec<String> = preflight::lockouts(after, &guarded, host.ssh_ports(), now)
            .iter()
            .filter(|lockout| !known.contains(&lockout.address))
            .map(Lockout::to_string)
            .collect();
        if fresh.is_empty() {
            return Ok(());
        }
        Err(Refusal::conflict(format!(
            "with it, the policy in force would cut off what this host needs: {}",
            fresh.join("; ")
        )))
    }

    /// Why the policy in force will not do with a database; `accepted` is the bundle that brings it.
    pub(super) fn refuses_database(
        &self,
        location: &Location,
        accepted: Option<&AcceptedGeo>,
    ) -> Option<String> {
        let need = self.in_force.as_ref()?.need.as_ref()?;
        let known = match accepted {
            Some(_) => None,
            None => self.accepted_geo_of(location),
        };
        check_database(need, location, accepted.or(known.as_ref()), Instant::now()).err()
    }

    /// The bundle that brought a database, if one did.
    pub(super) fn accepted_geo_of(&self, location: &Location) -> Option<AcceptedGeo> {
        let store = GeoStore::new(&self.settings.state_dir);
        let accepted = store.accepted().ok().flatten()?;
        (store.path(&accepted).display().to_string() == location.source.origin).then_some(accepted)
    }

    /// Says so when the database in force has become too old for the policy in force.
    pub(super) fn look_at_age(&mut self) {
        let refused = self
            .in_force
            .as_ref()
            .map(|in_force| Arc::clone(&in_force.image.location))
            .and_then(|location| self.refuses_database(&location, None));
        match refused {
            Some(why) => self
                .problems
                .set(Topic::DatabaseAge, format!("{why}: it stays in force")),
            None => self.problems.clear(&Topic::DatabaseAge),
        }
    }
}

/// That a database is taken; `accepted` is the bundle that brings it.
pub(super) fn database_event(location: &Location, accepted: Option<&AcceptedGeo>) -> Event {
    Event::Database {
        origin: location.source.origin.clone(),
        sha256: location.source.sha256.clone(),
        built: Instant(u32::try_from(location.source.built_s).unwrap_or(u32::MAX)).to_string(),
        revision: accepted.map(|accepted| accepted.revision),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(ino: u64) -> Stamp {
        Stamp::File {
            dev: 1,
            ino,
            n_bytes: 7,
            mtime: (1, 0),
        }
    }

    #[test]
    fn a_file_is_due_once_it_is_another_one_and_holds_still() {
        let mut watched = Watched::default();
        watched.loaded(Some(stamp(1)));
        for _ in 0..5 {
            assert!(!watched.is_due(stamp(1)), "nothing changed");
        }
        assert!(!watched.is_due(stamp(2)), "it has just changed");
        assert!(!watched.is_due(stamp(3)), "and again");
        assert!(!watched.is_due(stamp(3)));
        assert!(watched.is_due(stamp(3)), "it holds still");
        assert!(watched.is_due(stamp(3)), "until it is loaded");
        watched.loaded(Some(stamp(3)));
        assert!(!watched.is_due(stamp(3)));
        assert!(!watched.is_due(Stamp::Missing) && !watched.is_due(Stamp::Missing));
        assert!(watched.is_due(Stamp::Missing), "gone for good");
    }

    #[test]
    fn a_file_that_is_written_to_or_replaced_has_another_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mmdb");
        assert_eq!(Stamp::of(&path).unwrap(), Stamp::Missing);
        fs::write(&path, "one").unwrap();
        let one = Stamp::of(&path).unwrap();
        fs::write(&path, "longer").unwrap();
        let written = Stamp::of(&path).unwrap();
        assert_ne!(one, written);
        let other = dir.path().join("b.mmdb");
        fs::write(&other, "longer").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(Stamp::of(&path).unwrap(), written);
    }
}
