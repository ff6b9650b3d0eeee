//! Bundles that are moved into the incoming directory are taken on the tick.

use super::{Engine, push::Upload};
use crate::{
    audit::Actor,
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
        let ready = match self.incoming.look(self.n_ticks) {
            Ok(ready) => ready,
            Err(error) => return self.note_incoming(Err(error)),
        };
        for name in ready.into_iter().take(MAX_PER_TICK) {
            let Some(arrived) = self.incoming.read(&name) else {
                continue;
            };
            self.show(Some("taking a bundle"));
            // One that cannot be taken now must not hold up the next: that may be a halt.
            if let Err(error) = self.take_arrived(arrived) {
                let after = self.n_ticks + RETRY_TICKS;
                self.incoming.postpone(&name, after, format!("{error:#}"));
            }
            self.show(None);
        }
        let result = self
            .incoming
            .problem()
            .map_or(Ok(()), |text| Err(anyhow::anyhow!(text)));
        self.problems
            .note(Topic::Incoming, "bundles are not taken", result);
    }

    /// What is asked for with a bundle that comes by itself.
    pub(super) fn unattended(&self, file: &str) -> PushQuery {
        let confirm_s = self.settings.host.confirm_unattended_s;
        PushQuery {
            file: file.to_owned(),
            confirm_s: confirm_s.map(u64::from),
            confirm_auto: confirm_s.is_some(),
            ..PushQuery::default()
        }
    }

    /// Without the directory, nothing can be taken.
    fn note_incoming(&mut self, result: anyhow::Result<()>) {
        if result.is_err() {
            self.incoming_after = self.n_ticks + RETRY_TICKS;
        }
        self.problems
            .note(Topic::Incoming, "bundles are not taken", result);
    }

    fn take_arrived(&mut self, arrived: Arrived) -> anyhow::Result<()> {
        let Arrived {
            name,
            which,
            file,
            bytes,
        } = arrived;
        let refusal = match bytes {
            Err(rejected) => {
                let refusal = Refusal::rejected(&file, rejected);
                self.note_rejection(&file, &Actor::Daemon, &refusal);
                refusal
            }
            Ok(bytes) => {
                let query = self.unattended(&file);
                let result = self.push(Upload { query, bytes }, &Actor::Daemon);
                match &result {
                    Ok(pushed) => {
                        tracing::info!(file, outcome = ?pushed.outcome, "taken from the incoming directory");
                        return self.incoming.remove(&name, which);
                    }
                    // The fault is not the bundle's: it stays where it is.
                    Err(refusal) if refusal.reason.is_none() => {
                        self.note_refusal("push", &file, &Actor::Daemon, &result);
                        anyhow::bail!("{file}: {refusal}");
                    }
                    Err(refusal) => refusal.clone(),
                }
            }
        };
        tracing::warn!(file, reason = refusal.reason, "rejected: {refusal}");
        self.incoming.reject(&name, which, &refusal)
    }
}
