//! The time that the kernel and the daemon go by. It takes every step of the system's clock forward and none back.

use super::Engine;
use crate::{
    daemon::{
        clock::{Step, wall_offset_ns},
        problems::Topic,
    },
    instant::{Instant, run_ahead},
};

const SECOND_NS: i64 = 1_000_000_000;

impl Engine {
    pub(super) fn look_at_clock(&mut self) {
        match self.clock.look(wall_offset_ns()) {
            Step::None | Step::Behind(_) => {}
            Step::Moved(by_ns) => {
                tracing::info!(by_ms = by_ns / 1_000_000, "the clock was set");
                self.sync_clock();
            }
            Step::Suspicious(by_ns) => {
                tracing::warn!(by_s = by_ns / SECOND_NS, "the clock was set by more than a day");
                self.sync_clock();
            }
        }
        self.note_clock();
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

    /// Stores how late it is, for the next boot.
    pub(super) fn keep_clock(&mut self) {
        let result = self.store.set_clock(Instant::now());
        self.problems
            .note(Topic::StoredClock, "cannot store the time", result);
    }

    fn note_clock(&mut self) {
        let Step::Behind(by_ns) = self.clock.look(wall_offset_ns()) else {
            run_ahead(0);
            return self.problems.clear(&Topic::ClockBehind);
        };
        run_ahead(by_ns);
        let is_known = self.problems.has(&Topic::ClockBehind);
        let by_s = (by_ns + SECOND_NS / 2) / SECOND_NS;
        let text = format!(
            "the system's clock is {by_s} s behind what it was: cordon goes on by the later time, so that nothing that has \
             ended holds again. Set the clock right; if it was ahead before, remove {} and boot",
            self.store.path(crate::daemon::store::CLOCK).display()
        );
        self.problems.set(Topic::ClockBehind, text);
        if !is_known {
            self.keep_clock();
        }
    }
}
