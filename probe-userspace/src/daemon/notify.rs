//! What systemd is told (sd_notify(3)). Without a service manager nobody is told anything, and nothing else changes.
//!
//! Only the engine's thread speaks, between two events: one that is stuck falls silent, and the watchdog ends it.
//! `RELOADING=1` is not used: a sender of bad bundles would fill the journal with reloads that change nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// How long the start may take from the last sign of life on.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long one event may take that loads a whole world: the time that the watchdog gives in the meantime.
const BUSY_PATIENCE: Duration = Duration::from_secs(300);

/// The way to the service manager.
#[derive(Debug, Default)]
pub struct Notifier {
    /// The time between two signs of life that the unit asks for.
    watchdog: Option<Duration>,
    is_ready: bool,
    is_busy: bool,
    status: String,
}

impl Notifier {
    /// With what the unit asks for.
    pub fn from_environment() -> Self {
        Self {
            watchdog: sd_notify::watchdog_enabled(),
            ..Self::default()
        }
    }

    /// Whether systemd knows the service as started.
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// The start is not over: why. It is given more time, for as long as it is asked for.
    pub fn starting(&mut self, why: &str) {
        send(&[NotifyState::ExtendTimeoutUsec(micros(START_PATIENCE))]);
        self.status(why);
    }

    /// What is to be enforced is enforced.
    pub fn ready(&mut self) {
        self.is_ready = true;
        send(&[NotifyState::Ready]);
    }

    /// The line that `systemctl status` shows.
    pub fn status(&mut self, text: &str) {
        if self.status != text {
            text.clone_into(&mut self.status);
            // A line is what the protocol can carry.
            send(&[NotifyState::Status(&text.replace('\n', " "))]);
        }
    }

    /// A sign of life.
    pub fn alive(&mut self) {
        if self.watchdog.is_some() {
            send(&[NotifyState::Watchdog]);
        }
    }

    /// The event in hand takes longer than others, or no longer.
    pub fn busy(&mut self, is_busy: bool) {
        if is_busy == self.is_busy {
            return;
        }
        self.is_busy = is_busy;
        let Some(watchdog) = self.watchdog else {
            return;
        };
        let patience = if is_busy { BUSY_PATIENCE } else { watchdog };
        send(&[NotifyState::WatchdogUsec(micros(patience)), NotifyState::Watchdog]);
    }

    /// The daemon ends; enforcement does not.
    pub fn stopping(&mut self) {
        send(&[NotifyState::Stopping]);
        self.status("stopping; enforcement stays on");
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot tell the service manager {states:?}: {error}");
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
