//! Notices that the wall clock was set.
//!
//! The kernel computes Unix time as boot time plus a stored offset. Both clocks run at the same rate, so the
//! offset moves only when somebody (NTP, an operator, a resume of the machine) sets the wall clock. The kernel takes every
//! step forward and none back: an exemption that has ended must not hold again. So does this process, see
//! [`crate::instant::run_ahead`].

use nix::libc;

/// A move of the offset that is stored at once.
const NOTICED_NS: u64 = 500_000_000;
/// A move of the offset that somebody should look at.
const SUSPICIOUS_NS: u64 = 86_400 * 1_000_000_000;

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
}

impl ClockWatch {
    /// The kernel was given an offset.
    pub fn stored(&mut self, offset_ns: i64) {
        self.stored_ns = offset_ns;
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
    fn the_system_clocks_are_read() {
        assert!(wall_offset_ns() > 0, "the machine was booted after 1970");
    }
}
