//! When a source is looked at next. Pure but for chance: hosts that started together must not come together.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant},
};

/// After the first failure; doubled with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// Longest time between two tries, unless the interval is longer.
const LONGEST_RETRY: Duration = Duration::from_secs(900);
/// The first look comes within this time after the start.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// The plan of one source.
#[derive(Clone, Debug)]
pub struct Schedule {
    interval: Duration,
    next: Instant,
    n_failures: u32,
}

impl Schedule {
    /// A source that was not looked at yet.
    pub fn new(interval: Duration) -> Self {
        let spread = FIRST_LOOK.min(interval);
        Self {
            interval,
            next: Instant::now() + spread.mul_f64(chance()),
            n_failures: 0,
        }
    }

    /// When it is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Failures in a row.
    pub fn n_failures(&self) -> u32 {
        self.n_failures
    }

    /// It answered.
    pub fn succeeded(&mut self, now: Instant) {
        self.n_failures = 0;
        self.next = now + jitter(self.interval, 0.1, chance());
    }

    /// It did not, or what it gave was refused.
    pub fn failed(&mut self, now: Instant) {
        self.next = now + jitter(back_off(self.n_failures, self.interval), 0.5, chance());
        self.n_failures = self.n_failures.saturating_add(1);
    }
}

/// The time to wait after so many earlier failures, without jitter.
fn back_off(n_failures: u32, interval: Duration) -> Duration {
    let longest = LONGEST_RETRY.max(interval);
    let doubled = 2_u32
        .checked_pow(n_failures)
        .and_then(|n| FIRST_RETRY.checked_mul(n));
    doubled.map_or(longest, |wait| wait.min(longest))
}

/// Up to `share` more or less; `chance` is 0 to 1.
fn jitter(span: Duration, share: f64, chance: f64) -> Duration {
    span.mul_f64(1.0 + share * (2.0 * chance - 1.0))
}

/// 0 to 1. Not secret: keys of the standard library's hash tables are random.
fn chance() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0_u8) >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_double_the_wait_up_to_a_limit() {
        let interval = Duration::from_secs(300);
        let waits: Vec<u64> = [0, 1, 2, 3, 7, 8, 31, 32, u32::MAX]
            .into_iter()
            .map(|n| back_off(n, interval).as_secs())
            .collect();
        assert_eq!(waits, [5, 10, 20, 40, 640, 900, 900, 900, 900]);
        assert_eq!(back_off(20, Duration::from_secs(3600)).as_secs(), 3600);
    }

    #[test]
    fn jitter_stays_within_its_share_and_is_not_always_the_same() {
        let span = Duration::from_secs(100);
        assert_eq!(jitter(span, 0.5, 0.0).as_secs(), 50);
        assert_eq!(jitter(span, 0.5, 1.0).as_secs(), 150);
        let seen: std::collections::BTreeSet<u64> = (0..8).map(|_| chance().to_bits()).collect();
        assert!(seen.len() > 1);
        assert!((0..100).all(|_| (0.0..=1.0).contains(&chance())));
    }

    #[test]
    fn success_ends_the_back_off() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Duration::from_secs(10));
        for _ in 0..10 {
            schedule.failed(now);
        }
        assert!(schedule.n_failures() == 10 && schedule.next() > now + Duration::from_secs(400));
        schedule.succeeded(now);
        assert_eq!(schedule.n_failures(), 0);
        assert!(schedule.next() <= now + Duration::from_secs(11));
    }
}
