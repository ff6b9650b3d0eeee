//! The time that the kernel and the daemon go by. It takes steps of the system's clock forward, those of more than a day
//! once they have lasted, and none back.

use super::Engine;
use crate::{
    daemon::{
        clock::{Step, wall_offset_ns},
        problems::Topic,
    },
    instant::{Instant, run_ahead},
};

const SECOND_NS: i64 = 1_000_000_000;
/// Steps back that are told of: smaller ones, NTP's and leap seconds, are no more than a wait.
const TOLD_NS: i64 = 5 * SECOND_NS;

impl Engine {
    /// At a start. The kernel has the time of an earlier daemon, if there was one since the boot.
    pub(super) fn take_up_clock(&mut self) {
        self.clock.stored(self.dataplane.wall_offset_ns());
        let step = self.clock.look(wall_offset_ns());
        if self.holds(step) {
            return self.note_clock();
        }
        self.sync_clock();
        // Whether it is behind what was stored.
        let step = self.clock.look(wall_offset_ns());
        self.holds(step);
    }

    pub(super) fn look_at_clock(&mut self) {
        let step = self.clock.look(wall_offset_ns());
        let is_held = self.holds(step);
        match step {
            Step::Moved(by_ns) => {
                tracing::info!(by_ms = by_ns / 1_000_000, "the clock was set");
                self.sync_clock();
            }
            Step::Suspicious(by_ns) if !is_held => {
                tracing::warn!(by_s = by_ns / SECOND_NS, "the clock was set by more than a day");
                self.sync_clock();
            }
            Step::None | Step::Behind(_) | Step::Suspicious(_) => {}
        }
        self.note_clock();
    }

    fn holds(&mut self, step: Step) -> bool {
        let by_ns = match step {
            Step::Suspicious(by_ns) => by_ns,
            Step::None | Step::Moved(_) | Step::Behind(_) => 0,
        };
        let by_s = u32::try_from(by_ns / SECOND_NS).unwrap_or(u32::MAX);
        self.clock
            .holds(step, Instant(Instant::system().0.saturating_sub(by_s)))
    }

    /// Gives the kernel the time. After a boot nothing but what is stored says how late it is at least.
    pub(super) fn sync_clock(&mut self) {
        let floor = self.store.clock().unwrap_or_else(|error| {
            self.problems.set(Topic::StoredClock, format!("{error:#}"));
            Instant(0)
        });
        let result = self.dataplane.sync_clock(floor.max(self.marks.reached().seen()));
        if let Ok(offset_ns) = &result {
            self.clock.stored(*offset_ns);
        }
        self.problems
            .note(Topic::Clock, "cannot give the kernel the time", result);
        self.note_clock();
    }

    /// Stores how late it is, for the next boot. Not while the clock disagrees: the file may have been removed so that the
    /// next boot goes by the clock.
    pub(super) fn keep_clock(&mut self) {
        if self.problems.has(&Topic::ClockBehind) || self.problems.has(&Topic::ClockAhead) {
            return;
        }
        let result = self.store.set_clock(Instant::now());
        self.problems
            .note(Topic::StoredClock, "cannot store the time", result);
    }

    fn note_clock(&mut self) {
        match self.clock.look(wall_offset_ns()) {
            Step::Behind(by_ns) => {
                run_ahead(by_ns);
                self.problems.clear(&Topic::ClockAhead);
                match by_ns >= TOLD_NS {
                    true => self.tell_behind(by_ns),
                    false => self.problems.clear(&Topic::ClockBehind),
                }
            }
            Step::Suspicious(by_ns) => {
                run_ahead(by_ns.saturating_neg());
                self.problems.clear(&Topic::ClockBehind);
                let text = format!(
                    "the system's clock was set {} days ahead: cordon goes on by the earlier time for ten minutes, in case that \
                     it is set back. If the clock is right, there is nothing to do",
                    by_ns / SECOND_NS / 86_400
                );
                self.problems.set(Topic::ClockAhead, text);
            }
            Step::None | Step::Moved(_) => {
                run_ahead(0);
                self.problems.clear(&Topic::ClockBehind);
                self.problems.clear(&Topic::ClockAhead);
            }
        }
    }

    fn tell_behind(&mut self, by_ns: i64) {
        // What was reached, once: as time goes by, a later boot finds it in the past.
        self.keep_clock();
        let by_s = (by_ns + SECOND_NS / 2) / SECOND_NS;
        let text = format!(
            "the system's clock is {by_s} s behind what it was: cordon goes on by the later time, so that nothing that has \
             ended holds again. Set the clock right; if it was ahead before, stop the daemon, remove {} and boot",
            self.store.path(crate::daemon::store::CLOCK).display()
        );
        self.problems.set(Topic::ClockBehind, text);
    }
}
