//! Bundles that are moved into the incoming directory are taken on the tick.

use super::{Engine, push::Upload};
use crate::{
    audit::{Actor, Rejection},
    daemon::{Refusal, api::PushQuery, incoming::Arrived, problems::Topic},
};

/// Most bundles of one tick: other events wait that long.
const MAX_PER_TICK: usize = 4;
/// Ticks until a bundle is tried again that could not be taken for want of something on this host.
const RETRY_TICKS: u64 = 30;

impl Engine {
    pub(super) fn make_incoming(&mut self) {
        let result = self.incoming.make();
        self.note_incoming(result);
    }

    pub(super) fn look_at_incoming(&mut self) {
        if self.n_ticks < self.incoming_after {
            return;
        }
        let ready = match self.incoming.look() {
            Ok(ready) => ready,
            Err(error) => return self.note_incoming(Err(error)),
        };
        let mut result = Ok(());
        for name in ready.into_iter().take(MAX_PER_TICK) {
            if let Some(arrived) = self.incoming.read(&name) {
                self.show(Some("taking a bundle"));
                result = self.take_arrived(arrived);
                self.show(None);
            }
            if result.is_err() {
                break;
            }
        }
        self.note_incoming(result);
    }

    fn note_incoming(&mut self, result: anyhow::Result<()>) {
        if result.is_err() {
            self.incoming_after = self.n_ticks + RETRY_TICKS;
        }
        self.problems
            .note(Topic::Incoming, "bundles are not taken", result);
    }

    fn take_arrived(&mut self, arrived: Arrived) -> anyhow::Result<()> {
        let Arrived { name, file, bytes } = arrived;
        let refusal = match bytes {
            Err(rejected) => {
                let refusal = Refusal::rejected(&file, rejected);
                let rejection = Rejection {
                    verb: "push".to_owned(),
                    source: file.clone(),
                    reason: refusal.reason.clone().unwrap_or_default(),
                    message: refusal.error.clone(),
                };
                self.journal.reject(&Actor::Daemon, rejection);
                refusal
            }
            Ok(bytes) => {
                let query = PushQuery {
                    file: file.clone(),
                    ..PushQuery::default()
                };
                match self.push(Upload { query, bytes }, &Actor::Daemon) {
                    Ok(pushed) => {
                        tracing::info!(file, outcome = ?pushed.outcome, "taken from the incoming directory");
                        return self.incoming.remove(&name);
                    }
                    // The fault is not the bundle's: it stays where it is.
                    Err(refusal) if refusal.reason.is_none() => anyhow::bail!("{file}: {refusal}"),
                    Err(refusal) => refusal,
                }
            }
        };
        tracing::warn!(file, reason = refusal.reason, "rejected: {refusal}");
        self.incoming.reject(&name, &refusal)
    }
}
