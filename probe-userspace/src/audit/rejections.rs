//! Rejections by the thousand are few records: the same one within a window is counted.

use super::{Actor, Entry, Event, Stamp};

/// The same rejection within this time is one record.
const WINDOW_MS: u64 = 60_000;
/// So many different rejections may come at once; what comes beyond is counted by verb and actor.
const BURST: u64 = 256;
/// One more different rejection is affordable every so often.
const REFILL_MS: u64 = 8_000;
/// What stands for sources and reasons that were too many.
const OTHERS: &str = "(others)";

/// A rejection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What was asked for.
    pub verb: String,
    /// The file, or where it came from.
    pub source: String,
    /// Why, in one word if there is one.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
}

#[derive(Clone, Debug)]
struct Counted {
    actor: Actor,
    rejection: Rejection,
    count: u64,
    first: Stamp,
    last: Stamp,
}

/// Rejections that are not written yet.
#[derive(Clone, Debug)]
pub(super) struct Rejections {
    counted: Vec<Counted>,
    /// How many different ones may come now.
    budget: u64,
    refilled_ms: u64,
}

impl Default for Rejections {
    fn default() -> Self {
        Self {
            counted: Vec::new(),
            budget: BURST,
            refilled_ms: 0,
        }
    }
}

impl Rejections {
    /// Counts one.
    pub(super) fn add(&mut self, stamp: Stamp, actor: &Actor, rejection: Rejection) {
        self.refill(stamp.mono_ms);
        let Some(rejection) = self.count(&stamp, actor, rejection) else {
            return;
        };
        let rejection = if self.budget == 0 {
            let others = Rejection {
                source: OTHERS.to_owned(),
                reason: OTHERS.to_owned(),
                message: "too many different rejections to tell them apart".to_owned(),
                ..rejection
            };
            match self.count(&stamp, actor, others) {
                Some(others) => others,
                None => return,
            }
        } else {
            self.budget -= 1;
            rejection
        };
        self.counted.push(Counted {
            actor: actor.clone(),
            rejection,
            count: 1,
            first: stamp.clone(),
            last: stamp,
        });
    }

    /// Adds one to what is known; gives it back if it is new.
    fn count(&mut self, stamp: &Stamp, actor: &Actor, rejection: Rejection) -> Option<Rejection> {
        let known = self.counted.iter_mut().find(|counted| {
            counted.actor == *actor
                && counted.rejection.verb == rejection.verb
                && counted.rejection.source == rejection.source
                && counted.rejection.reason == rejection.reason
        });
        let Some(counted) = known else {
            return Some(rejection);
        };
        counted.count += 1;
        counted.last = stamp.clone();
        None
    }

    /// Those whose window is over.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Vec<Entry> {
        let is_due = |counted: &mut Counted| now_ms.saturating_sub(counted.first.mono_ms) >= WINDOW_MS;
        self.counted.extract_if(.., is_due).map(Counted::entry).collect()
    }

    /// All of them.
    pub(super) fn take(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.counted)
            .into_iter()
            .map(Counted::entry)
            .collect()
    }

    fn refill(&mut self, now_ms: u64) {
        let n_new = now_ms.saturating_sub(self.refilled_ms) / REFILL_MS;
        self.budget = self.budget.saturating_add(n_new).min(BURST);
        self.refilled_ms += n_new * REFILL_MS;
    }
}

impl Counted {
    fn entry(self) -> Entry {
        let is_one = self.count == 1;
        let event = Event::Reject {
            verb: self.rejection.verb,
            source: self.rejection.source,
            reason: self.rejection.reason,
            message: self.rejection.message,
            count: self.count,
            first: (!is_one).then_some(self.first.at),
            last: (!is_one).then(|| self.last.at.clone()),
        };
        Entry::new(self.last, &self.actor, &event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(mono_ms: u64) -> Stamp {
        Stamp {
            at: format!("@{mono_ms}"),
            boot: String::new(),
            mono_ms,
        }
    }

    fn rejection(source: &str) -> Rejection {
        Rejection {
            verb: "apply".to_owned(),
            source: source.to_owned(),
            reason: "expired".to_owned(),
            message: "too old".to_owned(),
        }
    }

    fn counts(entries: &[Entry]) -> Vec<(String, u64, Option<String>, Option<String>)> {
        let count = |entry: &Entry| match &entry.event {
            Event::Reject {
                source,
                count,
                first,
                last,
                ..
            } => (source.clone(), *count, first.clone(), last.clone()),
            other => panic!("{other:?}"),
        };
        entries.iter().map(count).collect()
    }

    #[test]
    fn the_same_rejection_is_counted_until_its_window_is_over() {
        let mut rejections = Rejections::default();
        let actor = Actor::Local { uid: 0 };
        for ms in [0, 10, 59_000] {
            rejections.add(stamp(ms), &actor, rejection("a"));
        }
        rejections.add(stamp(59_500), &actor, rejection("b"));
        rejections.add(stamp(59_600), &Actor::Daemon, rejection("a"));
        assert_eq!(rejections.take_due(59_999), []);
        let due = rejections.take_due(60_000);
        assert_eq!(
            counts(&due),
            [(
                "a".to_owned(),
                3,
                Some("@0".to_owned()),
                Some("@59000".to_owned())
            )]
        );
        assert_eq!(due[0].stamp, stamp(59_000));
        let rest = rejections.take();
        assert_eq!(
            counts(&rest),
            [("b".to_owned(), 1, None, None), ("a".to_owned(), 1, None, None)]
        );
        assert_eq!(rest[1].actor, Actor::Daemon);
        assert_eq!(rejections.take(), []);
    }

    #[test]
    fn a_flood_of_different_ones_is_few_records() {
        let mut rejections = Rejections::default();
        let mut n_records = 0;
        for i in 0..100_000_u64 {
            rejections.add(stamp(i), &Actor::Daemon, rejection(&i.to_string()));
            n_records += rejections.take_due(i).len();
        }
        let last = rejections.take();
        n_records += last.len();
        // 256 at once, one every 8 s of these 100 s, and the others' own record once a window.
        assert!(n_records <= 256 + 13 + 2, "{n_records}");
    }

    #[test]
    fn none_is_lost_in_a_flood() {
        let mut rejections = Rejections::default();
        for i in 0..10_000_u64 {
            rejections.add(stamp(i), &Actor::Daemon, rejection(&i.to_string()));
        }
        let n: u64 = counts(&rejections.take())
            .iter()
            .map(|(_, count, ..)| count)
            .sum();
        assert_eq!(n, 10_000);
    }
}
