//! The daemon: keeps a policy in force and answers at the control socket.
//!
//! One thread, the engine, owns the kernel side and takes one event at a time. The HTTP side, a single-threaded
//! runtime, only passes events on. A daemon that stops, or dies, leaves the last generation enforcing.

mod accepted_geo;
pub mod access;
mod amendments;
pub mod api;
pub mod build;
pub mod client;
mod clock;
mod endpoints;
mod engine;
mod events;
mod fetch;
pub mod fixed;
mod history;
mod host_state;
mod incoming;
mod kept;
mod last_good;
mod marks;
mod memory;
mod metrics;
mod notify;
pub mod offline;
pub mod preflight;
mod probes;
mod problems;
mod refusal;
mod rejects;
mod sentence;
mod server;
#[cfg(test)]
mod server_tests;
pub mod settings;
mod store;
mod stored_policy;
pub mod surroundings;
#[cfg(test)]
mod test_policy;
mod upload;

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep},
};

pub use engine::{Restored, restore};
pub use refusal::Refusal;

use self::{
    access::Access,
    engine::{Event, Handle},
    settings::Settings,
};
use crate::{dataplane::EventRing, link};

/// How often the engine looks at the clock, the confirm deadline and the interfaces.
const TICK: Duration = Duration::from_secs(1);
/// How long after a change of the network the engine looks at the next one.
const SETTLE: Duration = Duration::from_millis(50);

/// Runs in the foreground until SIGTERM or SIGINT. Enforcement stays on afterwards.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    let socket = settings.socket();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // The socket first: two daemons must not even both open the dataplane.
    let listener = runtime.block_on(async { server::bind(&socket) })?;
    let (sources, state_dir) = (settings.host.sources.clone(), settings.state_dir.clone());
    let metrics = settings.host.metrics.clone();
    let (access, unknown) = Access::resolve(&settings.host.access);
    for text in unknown {
        tracing::warn!("{text}: nobody gets these roles");
    }
    let started = engine::spawn(settings);
    let (handle, ring, engine) = match started {
        Ok(started) => started,
        Err(error) => {
            remove_socket(&socket);
            return Err(error);
        }
    };
    let events = handle.events.clone();
    let result = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
        tracing::info!(socket = %socket.display(), "listening");
        tokio::select! {
            () = server::serve(listener, handle.clone(), access) => {}
            () = tick(handle.clone()) => {}
            () = fetch::run(sources, &state_dir, handle.clone()) => {}
            () = watch_network(handle.clone()) => {}
            () = metrics::run(metrics.address, metrics.textfile, handle.clone()) => {}
            () = pump_events(handle, ring) => {}
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping, enforcement stays on"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping, enforcement stays on"),
        }
        // Behind whatever is being published: that is finished or refused as a whole.
        drop(events.send(Event::Shutdown).await);
        anyhow::Ok(())
    });
    // A look-up of a name may hang in a thread of its own.
    runtime.shutdown_background();
    remove_socket(&socket);
    drop(events);
    if engine.join().is_err() {
        bail!("the engine's thread died: what is pinned stays in force; see the log");
    }
    result
}

/// Ticks until the engine is gone.
async fn tick(handle: Handle) {
    let mut interval = interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !handle.events.is_closed() {
        interval.tick().await;
        // Not while it is busy: ticks would only queue up.
        if Arc::clone(&handle.snapshot.borrow()).busy.is_none() {
            drop(handle.events.try_send(Event::Tick));
        }
    }
}

/// Wakes the engine when interfaces or addresses change. Without netlink, it looks by itself from time to time.
async fn watch_network(handle: Handle) {
    let result = async {
        let watch = link::Watch::new()?;
        // What changed between the engine's first look and now.
        drop(handle.events.send(Event::Network).await);
        loop {
            watch.changed().await?;
            // At once, because an interface that is new is not judged yet. One change is rarely alone: what comes while
            // it settles is looked at together.
            drop(handle.events.send(Event::Network).await);
            sleep(SETTLE).await;
        }
    };
    let Err(error): std::io::Result<Infallible> = result.await;
    tracing::warn!("changes of interfaces are noticed late: {error}");
    pending().await
}

/// Passes events on to whoever watches.
async fn pump_events(handle: Handle, ring: Option<EventRing>) {
    if let Some(ring) = ring
        && let Err(error) = handle.hub.pump(ring).await
    {
        let text = format!("events are not read any more: {error:#}");
        drop(handle.events.send(Event::EventsFailed(text)).await);
    }
    pending().await
}

fn remove_socket(socket: &std::path::Path) {
    if let Err(error) = std::fs::remove_file(socket) {
        tracing::warn!("cannot remove {}: {error}", socket.display());
    }
}
