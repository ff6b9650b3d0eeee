//! What is recorded while no daemon runs.

use super::{engine::audit::journal, settings::Settings, store::Store};
use crate::audit::{Actor, Event};

/// Records that a user detached cordon, if there is a state directory and no daemon holds it: one that does sees for
/// itself what has become of its interfaces. Says whether it was recorded.
pub fn record_detached(
    settings: &Settings,
    interfaces: &[String],
    reason: &str,
    uid: u32,
) -> anyhow::Result<bool> {
    if !settings.state_dir.is_dir() || interfaces.is_empty() {
        return Ok(false);
    }
    let store = Store::new(&settings.state_dir);
    let Some(_lock) = store.try_lock()? else {
        return Ok(false);
    };
    let mut journal = journal(settings);
    for ifname in interfaces {
        let event = Event::Detach {
            ifname: ifname.clone(),
            reason: reason.to_owned(),
        };
        journal.record(&Actor::Local { uid }, &event)?;
    }
    journal.checkpoint()?;
    let mut state = store.host_state()?.state;
    state.interfaces.retain(|ifname, _| !interfaces.contains(ifname));
    store.set_host_state(&state)?;
    Ok(true)
}
