//! Notices that the wall clock was set.
//!
//! The kernel computes Unix time as boot time plus a stored offset. Both clocks run at the same rate, so the
//! offset moves only when somebody (NTP, an operator, a resume of the machine) sets the wall clock. The kernel takes steps
//! forward, those of more than a day once they have lasted, and none back: what has ended must not hold again. So does
//! this process, see [`crate::instant::run_ahead`].

use nix::libc;

use crate::instant::Instant;

/// A move of the offset that is stored at once.
const NOTICED_NS: u64 = 500_000_000;
/// A move of the offset that somebody should look at.
const SUSPICIOUS_NS: u64 = 86_400 * 1_000_000_000;
/// Looks, one a second, that such a move ahead must last: NTP takes back what it got wrong within minutes, but nothing
/// that ended meanwhile would begin again.
const HELD_LOOKS: u32 = 600;

/// No host has run this program before (2026-01-01): an earlier time is that of a clock that was never set.
const EARLIEST: Instant = Instant(1_767_225_600);

/// What happened to the wall clock since its offset was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing worth storing.
    None,
    /// It was set, by so many nanoseconds.
    Moved(i64),
    /// It was set by more than a day.
    Suspicious(i64),
    /// It is behind the kernel's time, by so many nanoseconds.
    Behind(i64),
}

/// Remembers the offset that the kernel was given last; zero, as in a new kernel map, before that.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClockWatch {
    stored_ns: i64,
    n_held: u32,
    was_behind: bool,
}

impl ClockWatch {
    /// The kernel was given an offset.
    pub fn stored(&mut self, offset_ns: i64) {
        self.stored_ns = offset_ns;
        self.n_held = 0;
    }

    /// Counts a look at a step. Whether it is one that has to last, and has not yet. `from`: what the time would be
    /// without it. A clock that was never set, or was behind, is put right at once: so that nothing holds longer on a
    /// host without a battery that was off for days.
    pub fn holds(&mut self, step: Step, from: Instant) -> bool {
        let is_far = matches!(step, Step::Suspicious(_));
        let has_to_last = is_far && from >= EARLIEST && !self.was_behind;
        self.n_held = match has_to_last {
            true => self.n_held.saturating_add(1),
            false => 0,
        };
        if !is_far {
            self.was_behind = matches!(step, Step::Behind(_));
        }
        has_to_last && self.n_held <= HELD_LOOKS
    }

    /// Compares an offset with the one that the kernel has. Slow drift adds up and is noticed.
    pub fn look(&self, offset_ns: i64) -> Step {
        let moved = offset_ns.saturating_sub(self.stored_ns);
        if moved.unsigned_abs() <= NOTICED_NS {
            return Step::None;
        }
        match moved.unsigned_abs() > SUSPICIOUS_NS {
            _ if moved < 0 => Step::Behind(moved.saturating_neg()),
            true => Step::Suspicious(moved),
            false => Step::Moved(moved),
        }
    }
}

/// Wall-clock time minus boot time, in nanoseconds, now.
pub fn wall_offset_ns() -> i64 {
    read_clock(libc::CLOCK_REALTIME).saturating_sub(read_clock(libc::CLOCK_BOOTTIME))
}

fn read_clock(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec that outlives the call. Both clocks exist on every supported kernel, so
    // the call cannot fail; were it to, the time would read as zero.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn the_first_look_sees_a_step_since_the_offset_was_stored() {
        let mut watch = ClockWatch::default();
        watch.stored(1_000 * SECOND);
        assert_eq!(watch.look(1_000 * SECOND), Step::None);
        assert_eq!(watch.look(1_005 * SECOND), Step::Moved(5 * SECOND));
        assert_eq!(
            watch.look(1_005 * SECOND),
            Step::Moved(5 * SECOND),
            "until it is stored"
        );
    }

    #[test]
    fn an_offset_that_was_never_stored_is_noticed() {
        let now = 1_790_000_000 * SECOND;
        assert_eq!(ClockWatch::default().look(now), Step::Suspicious(now));
    }

    #[test]
    fn steps_are_told_from_noise_and_from_jumps() {
        let mut watch = ClockWatch::default();
        watch.stored(0);
        assert_eq!(watch.look(SECOND / 2), Step::None, "half a second is noise");
        assert_eq!(watch.look(SECOND), Step::Moved(SECOND), "drift adds up");
        watch.stored(SECOND);
        assert_eq!(watch.look(SECOND), Step::None, "and was stored");
        assert_eq!(watch.look(-3600 * SECOND), Step::Behind(3601 * SECOND));
        assert_eq!(watch.look(86_402 * SECOND), Step::Suspicious(86_401 * SECOND));
    }

    #[test]
    fn a_step_far_ahead_must_last_and_a_small_one_need_not() {
        let (far, day) = (Step::Suspicious(90_000 * SECOND), Instant(EARLIEST.0 + 86_400));
        let mut watch = ClockWatch::default();
        assert!(!watch.holds(Step::Moved(SECOND), day));
        assert!((0..HELD_LOOKS).all(|_| watch.holds(far, day)));
        assert!(!watch.holds(far, day), "it has lasted");
        let mut watch = ClockWatch::default();
        assert!((1..HELD_LOOKS).all(|_| watch.holds(far, day)));
        assert!(!watch.holds(Step::None, day), "it was taken back");
        assert!((0..HELD_LOOKS).all(|_| watch.holds(far, day)), "and counts anew");
        assert!(!ClockWatch::default().holds(far, Instant(7)), "1970");
    }

    #[test]
    fn a_step_that_puts_a_clock_right_that_was_behind_need_not_last() {
        let (far, day) = (Step::Suspicious(90_000 * SECOND), Instant(EARLIEST.0 + 86_400));
        let mut watch = ClockWatch::default();
        assert!(!watch.holds(Step::Behind(SECOND), day));
        assert!(!watch.holds(far, day));
        watch.stored(90_000 * SECOND);
        assert!(!watch.holds(Step::None, day));
        assert!(watch.holds(far, day), "the next one must last");
    }

    #[test]
    fn the_system_clocks_are_read() {
        assert!(wall_offset_ns() > 0, "the machine was booted after 1970");
    }
}
