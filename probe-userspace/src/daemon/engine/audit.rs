//! What the engine does is recorded: closing verbs act first and are recorded at once after; opening verbs need the
//! record first.

use super::Engine;
use crate::{
    audit::{Actor, Event},
    daemon::Refusal,
};

impl Engine {
    /// Records what is about to be opened. Nothing may be done if this fails.
    #[expect(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        reason = "the log comes with the next change"
    )]
    pub(super) fn record_first(&mut self, actor: &Actor, event: &Event) -> Result<(), Refusal> {
        tracing::info!(%actor, ?event, "about to");
        Ok(())
    }

    /// Records what has happened. A failure is a problem that the status shows.
    #[expect(clippy::unused_self, reason = "the log comes with the next change")]
    pub(super) fn record(&mut self, actor: &Actor, event: &Event) {
        tracing::info!(%actor, ?event, "done");
    }
}
