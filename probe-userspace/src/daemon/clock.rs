//! Notices that the wall clock was set.
//!
//! The kernel computes Unix time as boot time plus a stored offset. Both clocks run at the same rate, so the
//! offset moves only when somebody (NTP, an operator, a resume of the machine) sets the wall clock.

use nix::libc;

/// A move of the offset that is stored at once.
const NOTICED_NS: u64 = 500_000_000;
/// A move of the offset that somebody should look at.
const SUSPICIOUS_NS: u64 = 86_400 * 1_000_000_000;

/// What happened to the wall clock since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing worth storing.
    None,
    /// It was set, by so many nanoseconds.
    Moved(i64),
    /// It was set by more than a day.
    Suspicious(i64),
}

/// Remembers the offset last stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClockWatch {
    offset_ns: Option<i64>,
}

impl ClockWatch {
    /// Compares an offset with the one before.
    pub fn look(&mut self, offset_ns: i64) -> Step {
        let Some(before) = self.offset_ns else {
            self.offset_ns = Some(offset_ns);
            return Step::None;
        };
        let moved = offset_ns.saturating_sub(before);
        if moved.unsigned_abs() <= NOTICED_NS {
            // The old offset stays, so that slow drift adds up and is noticed.
            return Step::None;
        }
        self.offset_ns = Some(offset_ns);
        match moved.unsigned_abs() > SUSPICIOUS_NS {
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
    fn the_first_look_only_remembers() {
        assert_eq!(ClockWatch::default().look(7), Step::None);
    }

    #[test]
    fn steps_are_told_from_noise_and_from_jumps() {
        let mut watch = ClockWatch::default();
        watch.look(0);
        assert_eq!(watch.look(SECOND / 2), Step::None, "half a second is noise");
        assert_eq!(watch.look(SECOND), Step::Moved(SECOND), "drift adds up");
        assert_eq!(watch.look(SECOND), Step::None, "and was stored");
        assert_eq!(watch.look(-3600 * SECOND), Step::Moved(-3601 * SECOND));
        assert_eq!(watch.look(86_401 * SECOND), Step::Suspicious(90_001 * SECOND));
    }

    #[test]
    fn the_system_clocks_are_read() {
        assert!(wall_offset_ns() > 0, "the machine was booted after 1970");
    }
}
