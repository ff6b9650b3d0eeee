//! Wall-clock instants as the kernel's tables hold them: whole seconds of Unix time in a `u32`.

use std::{
    fmt,
    sync::atomic::{AtomicI64, Ordering},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant, Unix time in seconds, from 1970 to 2106. `u32::MAX` is not an instant: it means "never".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u32);

/// By how much the system's clock is behind the time that this process goes by; negative: ahead of it.
static BEHIND_NS: AtomicI64 = AtomicI64::new(0);

/// From now on, [`Instant::now`] is so many nanoseconds later than the system's clock: what has ended must stay ended
/// when that is set back. Negative: earlier, until a step far ahead has proved itself.
pub fn run_ahead(behind_ns: i64) {
    BEHIND_NS.store(behind_ns, Ordering::Relaxed);
}

impl Instant {
    /// The time now: that of the system's clock, unless it was set back or far ahead; see [`run_ahead`].
    pub fn now() -> Self {
        Self::ahead_of_system(BEHIND_NS.load(Ordering::Relaxed))
    }

    /// The time of the system's clock.
    pub fn system() -> Self {
        Self::ahead_of_system(0)
    }

    fn ahead_of_system(by_ns: i64) -> Self {
        let now_ns = jiff::Timestamp::now().as_nanosecond() + i128::from(by_ns);
        Self(u32::try_from(now_ns.div_euclid(1_000_000_000)).unwrap_or(0))
    }

    /// Parses RFC 3339 with an offset (`2026-03-01T00:00:00Z`, `2026-03-01T00:00:00+02:00`). The error says
    /// what is wrong and is meant for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let timestamp: jiff::Timestamp = text.parse().map_err(|error| format!("{error}"))?;
        match u32::try_from(timestamp.as_second()) {
            Ok(seconds) if seconds != u32::MAX => Ok(Self(seconds)),
            _ => Err("instants must lie between 1970 and 2106".to_owned()),
        }
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(i64::from(self.0)) {
            Ok(timestamp) => write!(f, "{timestamp}"),
            Err(_) => write!(f, "@{}", self.0),
        }
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}
