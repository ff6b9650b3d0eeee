//! `cordon restore`: the start of the engine, and its end.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Engine, Status};
use crate::daemon::{events::Naming, metrics::Figures, settings::Settings};

/// What was put in force.
#[derive(Debug)]
pub struct Restored {
    /// How the host stands.
    pub status: Status,
    /// What is not as it should be, absent interfaces apart.
    pub unverified: Vec<String>,
}

/// Puts in force what is stored, attaches to the interfaces that are there, and leaves the rest to the daemon. What is
/// pinned already is adopted, so that it may be run at any time while no daemon does.
pub fn restore(settings: Settings) -> anyhow::Result<Restored> {
    let (snapshot, _status) = watch::channel(Arc::new(Status::starting()));
    let (naming, _names) = watch::channel(Arc::new(Naming::default()));
    let (figures, _figures) = watch::channel(Arc::new(Figures::starting()));
    let mut engine = Engine::open(settings, snapshot, figures, naming)?;
    engine.start();
    let restored = Restored {
        status: engine.status(),
        unverified: engine.unverified(),
    };
    engine.stop_audit();
    Ok(restored)
}
