//! The share of dropped packets: a policy that drops far more than before is not what was meant.

use probe_common::{Action, Fate, Reason, Verdict};

use crate::dataplane::CounterRow;

/// With fewer packets than this nothing is said.
const MIN_PACKETS: u64 = 100;

/// Packets received, and those that did not get through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub all: u64,
    /// Dropped, or answered instead.
    pub stopped: u64,
}

impl Counts {
    /// From the counters.
    pub fn of(rows: &[CounterRow]) -> Self {
        let mut counts = Self::default();
        for row in rows.iter().filter(|row| row.direction == "in") {
            counts.all += row.packets;
            if is_stopped(row.reason) {
                counts.stopped += row.packets;
            }
        }
        counts
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            all: self.all.saturating_sub(earlier.all),
            stopped: self.stopped.saturating_sub(earlier.stopped),
        }
    }

    /// `None`: too few to say.
    fn share(self) -> Option<f64> {
        (self.all >= MIN_PACKETS).then(|| self.stopped as f64 / self.all as f64)
    }
}

fn is_stopped(reason: &str) -> bool {
    let reason = Reason::ALL.iter().find(|other| other.name() == reason);
    reason.is_some_and(|reason| {
        let verdict = Verdict::without_class(Action::Drop, *reason);
        matches!(verdict.fate(), Fate::Dropped | Fate::Answered)
    })
}

/// Watches the share from a publish on.
#[derive(Clone, Debug)]
pub struct Share {
    max_rise: f64,
    before: f64,
    at_publish: Counts,
}

impl Share {
    /// `earlier` and `at_publish` span the time before it.
    pub fn new(max_rise: f64, earlier: Counts, at_publish: Counts) -> Self {
        Self {
            max_rise,
            before: at_publish.since(earlier).share().unwrap_or(0.0),
            at_publish,
        }
    }

    /// Whether it holds now, and why not.
    pub fn look(&self, now: Counts) -> Result<(), String> {
        let Some(share) = now.since(self.at_publish).share() else {
            return Ok(());
        };
        let rise = share - self.before;
        if rise <= self.max_rise {
            return Ok(());
        }
        Err(format!(
            "{:.0} % of the packets are dropped, {:.0} % were before: more than {:.0} % more",
            share * 100.0,
            self.before * 100.0,
            self.max_rise * 100.0
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(all: u64, stopped: u64) -> Counts {
        Counts { all, stopped }
    }

    #[test]
    fn what_counts_is_the_rise_since_the_publish() {
        let share = Share::new(0.2, counts(1_000, 100), counts(2_000, 400));
        assert!(
            share.look(counts(3_000, 400 + 500)).is_ok(),
            "30 % before, 50 % after"
        );
        let why = share.look(counts(3_000, 400 + 510)).unwrap_err();
        assert!(why.contains("51 %") && why.contains("30 %"), "{why}");
        assert!(share.look(counts(2_099, 499)).is_ok(), "99 packets say nothing");
        assert!(share.look(counts(2_100, 500)).is_err(), "100 do");
        assert!(share.look(counts(0, 0)).is_ok(), "counters began anew");
    }

    #[test]
    fn only_received_packets_that_did_not_get_through_are_counted() {
        let row = |direction, reason, packets| CounterRow {
            direction,
            reason,
            class: None,
            packets,
            bytes: 0,
        };
        let rows = [
            row("in", "policy_pass", 10),
            row("in", "policy_drop", 5),
            row("in", "policy_reject", 2),
            row("in", "arp", 1),
            row("out", "egress_drop", 100),
        ];
        assert_eq!(Counts::of(&rows), counts(18, 7));
    }
}
