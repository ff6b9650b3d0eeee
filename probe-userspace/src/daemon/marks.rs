//! How far this host has come: the highest revision of each kind of bundle that it took, and the least that the time can
//! be. In a file of its own and a second copy of it; what counts is the higher of the two.

use serde::{Deserialize, Serialize};

use super::store::Store;
use crate::{
    bundle::{Kind, freshness::Mark},
    instant::Instant,
};

const FIRST: &str = "marks.json";
const SECOND: &str = "marks.copy.json";

/// What was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// Rises with every write, so that a copy that was put back is told from one that a crash left behind.
    n_writes: u64,
    policy: Option<Mark>,
    geo: Option<Mark>,
    directive: Option<Mark>,
    seen: Option<Instant>,
    /// Since when the host takes signed policies only. Here, because the state file may be lost.
    #[serde(default)]
    managed: Option<Instant>,
}

impl Reached {
    /// The highest revision of a kind.
    pub fn mark(&self, kind: Kind) -> Option<&Mark> {
        match kind {
            Kind::Policy => self.policy.as_ref(),
            Kind::Geo => self.geo.as_ref(),
            Kind::Directive => self.directive.as_ref(),
        }
    }

    /// The least that the time can be.
    pub fn seen(&self) -> Instant {
        self.seen.unwrap_or(Instant(0))
    }

    /// Since when the host takes signed policies only.
    pub fn managed(&self) -> Option<Instant> {
        self.managed
    }

    fn slot(&mut self, kind: Kind) -> &mut Option<Mark> {
        match kind {
            Kind::Policy => &mut self.policy,
            Kind::Geo => &mut self.geo,
            Kind::Directive => &mut self.directive,
        }
    }

    /// Nothing goes down. `false`: nothing went up either.
    fn raise(&mut self, kind: Kind, mark: Mark, seen: Instant) -> bool {
        let before = self.clone();
        self.seen = self.seen.max(Some(seen));
        let slot = self.slot(kind);
        if slot.as_ref().is_none_or(|known| known.revision < mark.revision) {
            *slot = Some(mark);
        }
        *self != before
    }

    /// The higher of two, kind by kind.
    fn merge(&mut self, other: &Self) {
        for kind in Kind::ALL {
            if let Some(mark) = other.mark(kind) {
                self.raise(kind, mark.clone(), other.seen());
            }
        }
        self.seen = self.seen.max(other.seen);
        self.managed = self.managed.or(other.managed);
        self.n_writes = self.n_writes.max(other.n_writes);
    }
}

/// The marks and where they are kept.
#[derive(Debug)]
pub struct Marks {
    store: Store,
    reached: Reached,
    /// The copies do not say all of it.
    is_unsaved: bool,
}

impl Marks {
    /// Reads both copies. Also says what was wrong with them: that must be known, but takes nothing back.
    pub fn read(store: &Store) -> (Self, Option<String>) {
        let (first, second) = (Copy::read(store, FIRST), Copy::read(store, SECOND));
        let problem = match (&first, &second) {
            (Copy::Missing, Copy::Missing) => None,
            (Copy::Good(first), Copy::Good(second)) => compare(store, first, second),
            (Copy::Bad(why), _) | (_, Copy::Bad(why)) => Some(why.clone()),
            (Copy::Missing, Copy::Good(_)) => Some(gone(store, FIRST)),
            (Copy::Good(_), Copy::Missing) => Some(gone(store, SECOND)),
        };
        let mut reached = Reached::default();
        for copy in [&first, &second] {
            if let Copy::Good(copy) = copy {
                reached.merge(copy);
            }
        }
        let marks = Self {
            store: store.clone(),
            reached,
            is_unsaved: false,
        };
        (marks, problem)
    }

    /// What was reached.
    pub fn reached(&self) -> &Reached {
        &self.reached
    }

    /// Whether nothing was ever taken, as far as is known.
    pub fn is_empty(&self) -> bool {
        Kind::ALL.iter().all(|kind| self.reached.mark(*kind).is_none())
    }

    /// Notes that the host takes signed policies only, or that it takes plain ones again.
    pub fn set_managed(&mut self, since: Option<Instant>) -> anyhow::Result<()> {
        self.reached.managed = since;
        self.write().map(|_is_new| ())
    }

    /// Notes that a bundle was taken. In this process it counts even if it cannot be written; [`Marks::save`] tries
    /// again. `false`: there was nothing to write.
    pub fn raise(&mut self, kind: Kind, mark: Mark, seen: Instant) -> anyhow::Result<bool> {
        if self.reached.raise(kind, mark, seen) {
            self.changed();
        }
        self.save()
    }

    /// Puts back the mark of a bundle that was noted first and not taken then. What the time was seen to be stays.
    pub fn take_back(&mut self, kind: Kind, before: Option<Mark>) -> anyhow::Result<bool> {
        *self.reached.slot(kind) = before;
        self.changed();
        self.save()
    }

    /// Writes both copies, if they do not say all of it.
    pub fn save(&mut self) -> anyhow::Result<bool> {
        if !self.is_unsaved {
            return Ok(false);
        }
        let bytes = serde_json::to_vec_pretty(&self.reached)?;
        self.store.write(FIRST, &bytes)?;
        self.store.write(SECOND, &bytes)?;
        self.is_unsaved = false;
        Ok(true)
    }

    /// Writes both copies.
    pub fn write(&mut self) -> anyhow::Result<bool> {
        self.changed();
        self.save()
    }

    /// One write more, however often it must be tried: the copies are never more than one apart.
    fn changed(&mut self) {
        if !self.is_unsaved {
            self.reached.n_writes = self.reached.n_writes.saturating_add(1);
        }
        self.is_unsaved = true;
    }
}

enum Copy {
    Missing,
    Bad(String),
    Good(Reached),
}

impl Copy {
    fn read(store: &Store, name: &str) -> Self {
        match store.read(name) {
            Ok(None) => Self::Missing,
            Ok(Some(text)) => match serde_json::from_str(&text) {
                Ok(reached) => Self::Good(reached),
                Err(error) => Self::Bad(format!("{} is damaged: {error}", store.path(name).display())),
            },
            Err(error) => Self::Bad(format!("{error:#}")),
        }
    }
}

fn gone(store: &Store, name: &str) -> String {
    format!("{} is gone", store.path(name).display())
}

/// The first copy is written first: a crash leaves it one write ahead. Anything else is no crash.
fn compare(store: &Store, first: &Reached, second: &Reached) -> Option<String> {
    let put_back = |name: &str| {
        Some(format!(
            "{} is older than its copy: somebody put it back",
            store.path(name).display()
        ))
    };
    match (first.n_writes, second.n_writes) {
        (a, b) if a == b && first == second => None,
        (a, b) if b.checked_add(1) == Some(a) => None,
        (a, b) if a > b => put_back(SECOND),
        (a, b) if a < b => put_back(FIRST),
        _ => Some(format!(
            "{} and {} differ: somebody altered one of them",
            store.path(FIRST).display(),
            store.path(SECOND).display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::bundle::Digest;

    fn mark(revision: u64) -> Mark {
        Mark {
            name: "edge".to_owned(),
            revision,
            digest: Digest::of(&revision.to_le_bytes()),
        }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        (dir, store)
    }

    fn revision(marks: &Marks) -> Option<u64> {
        marks.reached().mark(Kind::Policy).map(|mark| mark.revision)
    }

    #[test]
    fn marks_only_rise() {
        let (_dir, store) = store();
        let (mut marks, problem) = Marks::read(&store);
        assert!(problem.is_none() && marks.is_empty());
        marks.raise(Kind::Policy, mark(7), Instant(70)).unwrap();
        marks.raise(Kind::Policy, mark(5), Instant(50)).unwrap();
        marks.raise(Kind::Directive, mark(1), Instant(60)).unwrap();
        let (marks, problem) = Marks::read(&store);
        assert_eq!(problem, None);
        assert_eq!(revision(&marks), Some(7));
        assert_eq!(marks.reached().mark(Kind::Directive), Some(&mark(1)));
        assert_eq!(marks.reached().seen(), Instant(70));
        assert_eq!(marks.reached().mark(Kind::Geo), None);
    }

    /// Every way to lose or to put back one copy: what the other says counts, and it is said.
    #[test]
    fn one_copy_is_enough_and_its_loss_is_told() {
        for name in [FIRST, SECOND] {
            for (what, expected) in [
                ("remove", "is gone"),
                ("damage", "is damaged"),
                ("put back", "put it back"),
            ] {
                let (dir, store) = store();
                let (mut marks, _) = Marks::read(&store);
                marks.raise(Kind::Policy, mark(6), Instant(60)).unwrap();
                let path = dir.path().join(name);
                let old = fs::read(&path).unwrap();
                marks.raise(Kind::Policy, mark(7), Instant(70)).unwrap();
                marks.raise(Kind::Policy, mark(8), Instant(80)).unwrap();
                match what {
                    "remove" => fs::remove_file(&path).unwrap(),
                    "damage" => fs::write(&path, "{").unwrap(),
                    _ => fs::write(&path, old).unwrap(),
                }
                let (marks, problem) = Marks::read(&store);
                assert_eq!(revision(&marks), Some(8), "{what} {name}");
                let problem = problem.unwrap();
                assert!(problem.contains(expected) && problem.contains(name), "{problem}");
            }
        }
    }

    #[test]
    fn a_crash_between_the_two_copies_is_no_problem() {
        let (dir, store) = store();
        let (mut marks, _) = Marks::read(&store);
        marks.raise(Kind::Policy, mark(6), Instant(60)).unwrap();
        let second = fs::read(dir.path().join(SECOND)).unwrap();
        marks.raise(Kind::Policy, mark(7), Instant(70)).unwrap();
        fs::write(dir.path().join(SECOND), second).unwrap();
        let (marks, problem) = Marks::read(&store);
        assert_eq!((revision(&marks), problem), (Some(7), None));
    }

    #[test]
    fn what_could_not_be_written_is_written_later_and_nobody_is_accused() {
        for name in [FIRST, SECOND] {
            let (dir, store) = store();
            let (mut marks, _) = Marks::read(&store);
            assert!(marks.raise(Kind::Policy, mark(6), Instant(60)).unwrap());
            let path = dir.path().join(name);
            let before = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
            marks.raise(Kind::Policy, mark(7), Instant(70)).unwrap_err();
            let again = marks.raise(Kind::Policy, mark(7), Instant(70));
            assert!(again.is_err(), "nothing rises, and it is not stored all the same");
            marks.raise(Kind::Directive, mark(1), Instant(70)).unwrap_err();
            fs::remove_dir(&path).unwrap();
            fs::write(&path, before).unwrap();
            let (stored, problem) = Marks::read(&store);
            let expected = if name == FIRST { 6 } else { 7 };
            assert_eq!((revision(&stored), problem), (Some(expected), None), "{name}");
            assert!(marks.save().unwrap());
            assert!(!marks.save().unwrap(), "once is enough");
            let (stored, problem) = Marks::read(&store);
            assert_eq!((revision(&stored), problem), (Some(7), None), "{name}");
            assert_eq!(stored.reached().mark(Kind::Directive), Some(&mark(1)));
        }
    }

    #[test]
    fn a_mark_that_was_noted_first_can_be_put_back() {
        let (_dir, store) = store();
        let (mut marks, _) = Marks::read(&store);
        marks.raise(Kind::Directive, mark(4), Instant(40)).unwrap();
        marks.raise(Kind::Directive, mark(5), Instant(50)).unwrap();
        marks.take_back(Kind::Directive, Some(mark(4))).unwrap();
        let (marks, problem) = Marks::read(&store);
        assert_eq!(problem, None);
        assert_eq!(marks.reached().mark(Kind::Directive), Some(&mark(4)));
        assert_eq!(marks.reached().seen(), Instant(50));
    }

    #[test]
    fn copies_that_say_different_things_are_told() {
        let (dir, store) = store();
        let (mut marks, _) = Marks::read(&store);
        marks.raise(Kind::Policy, mark(6), Instant(60)).unwrap();
        let altered = fs::read_to_string(dir.path().join(FIRST))
            .unwrap()
            .replace("\"revision\": 6", "\"revision\": 4");
        fs::write(dir.path().join(FIRST), altered).unwrap();
        let (marks, problem) = Marks::read(&store);
        assert_eq!(revision(&marks), Some(6));
        assert!(problem.unwrap().contains("differ"));
    }
}
