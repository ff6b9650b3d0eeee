//! What the engine is told and asked, and the way to it.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::{ExemptEvent, Upload};
use crate::{
    audit::Actor,
    daemon::{
        Refusal,
        api::{
            Applied, ApplyRequest, Confirmed, ExplainQuery, Explained, HaltReply, HaltRequest, HistoryReply,
            LiftReply, LiftRequest, LocateQuery, Located, Pushed, ResumeReply, ResumeRequest,
            RollbackRequest, RolledBack, SourceRow, Status, UnliftReply, UnliftRequest, UnmanageRequest,
            Unmanaged,
        },
        events::Hub,
        fetch::{Candidate, Taken},
        metrics::Pages,
        problems::Topic,
        upload::Held,
    },
};

/// Everything that can happen to the engine.
#[derive(Debug)]
pub enum Event {
    /// A second has passed: look at the clock, the confirm deadline and the interfaces.
    Tick,
    /// How does the host stand?
    Status(oneshot::Sender<Status>),
    /// Publish a policy.
    Apply(Box<Held<ApplyRequest>>, Actor, Reply<Applied>),
    /// Keep the policy that waits.
    Confirm(Actor, Reply<Confirmed>),
    /// Take a bundle.
    Push(Box<Held<Upload>>, Actor, Reply<Pushed>),
    /// Go back to an earlier policy.
    Rollback(RollbackRequest, Actor, Reply<RolledBack>),
    /// What was in force when?
    History(Reply<HistoryReply>),
    /// Somebody asked for what they have no role for.
    Denied {
        /// Method and path.
        asked: String,
        /// What they were told.
        why: String,
        /// Who.
        actor: Actor,
    },
    /// Take plain files again.
    Unmanage(UnmanageRequest, Actor, Reply<Unmanaged>),
    /// Drop the world.
    Halt(HaltRequest, Actor, Reply<HaltReply>),
    /// Back to the policy.
    Resume(ResumeRequest, Actor, Reply<ResumeReply>),
    /// Take an order away.
    Lift(LiftRequest, Actor, Reply<LiftReply>),
    /// Give it back.
    Unlift(UnliftRequest, Actor, Reply<UnliftReply>),
    /// Judge a packet.
    Explain(ExplainQuery, Reply<Explained>),
    /// See or change the exemptions made at run time.
    Exempt(ExemptEvent),
    /// The decision on an address.
    Locate(LocateQuery, Reply<Located>),
    /// A bundle was pulled.
    Candidate(Candidate, Reply<Taken>),
    /// The source of this number was looked at.
    Source(usize, SourceRow),
    /// An interface or an address has changed.
    Network,
    /// Events cannot be read any more.
    EventsFailed(String),
    /// What the rest of the daemon has found: a problem, or none any more.
    Problem(Topic, Option<String>),
    /// Stop; enforcement stays on.
    Shutdown,
}

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// The way to the engine.
#[derive(Clone, Debug)]
pub struct Handle {
    /// Takes the events.
    pub events: mpsc::Sender<Event>,
    /// The last snapshot of the status; `busy` says whether the engine would answer now.
    pub snapshot: watch::Receiver<Arc<Status>>,
    /// Sampled verdicts.
    pub hub: Hub,
    /// Metrics.
    pub pages: Pages,
}
