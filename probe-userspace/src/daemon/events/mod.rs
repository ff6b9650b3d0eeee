//! Sampled verdicts: from the kernel's ring to everybody who watches.
//!
//! The ring is always emptied, watched or not, so that what the kernel counts as lost was lost for want of a daemon
//! that keeps up, not for want of watchers. A watcher that is too slow loses events and is told how many; nobody
//! else waits for it.

mod filter;
mod naming;
mod row;
mod stream;

use std::{os::fd::AsFd as _, sync::Arc};

use anyhow::Context as _;
use tokio::{
    io::unix::AsyncFd,
    sync::{Semaphore, broadcast, watch},
};

pub use filter::Filter;
pub use naming::{GenerationNames, Naming};
pub use stream::body;

use super::api::EventRow;
use crate::dataplane::{EventRing, boot_ns, unix_ns};

/// Events that a watcher may be behind before it loses some.
const BACKLOG: usize = 8_192;
/// Watchers served at a time; each holds a connection.
const MAX_WATCHERS: usize = 16;

/// Where events come out.
#[derive(Clone, Debug)]
pub struct Hub {
    rows: broadcast::Sender<Arc<EventRow>>,
    /// What numbers stand for.
    pub naming: watch::Receiver<Arc<Naming>>,
    /// Room for watchers.
    pub places: Arc<Semaphore>,
}

impl Hub {
    /// A hub that knows names from the engine.
    pub fn new(naming: watch::Receiver<Arc<Naming>>) -> Self {
        Self {
            rows: broadcast::Sender::new(BACKLOG),
            naming,
            places: Arc::new(Semaphore::new(MAX_WATCHERS)),
        }
    }

    /// Events from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<EventRow>> {
        self.rows.subscribe()
    }

    /// Hands an event to all watchers.
    pub fn tell(&self, row: EventRow) {
        // An error says that nobody watches.
        drop(self.rows.send(Arc::new(row)));
    }

    /// Empties the ring as events come, until something fails.
    #[expect(
        deprecated,
        reason = "an OwnedFd keeps its descriptor open, which is what `register` would have unsafe code promise"
    )]
    pub async fn pump(&self, ring: EventRing) -> anyhow::Result<()> {
        let fd = ring
            .as_fd()
            .try_clone_to_owned()
            .context("cannot share the event ring")?;
        let fd = AsyncFd::new(fd).context("cannot wait for events")?;
        let mut ring = ring;
        loop {
            let mut ready = fd.readable().await.context("cannot wait for events")?;
            // Before the ring is read: what comes while it is being read wakes again.
            ready.clear_ready();
            let naming = Arc::clone(&self.naming.borrow());
            let boot_to_unix_ns = unix_ns().wrapping_sub(boot_ns());
            let is_watched = self.rows.receiver_count() > 0;
            ring.drain(|event| {
                if is_watched {
                    self.tell(row::row(event, &naming, boot_to_unix_ns));
                }
            });
            // Others want to be served under a flood of events, too.
            tokio::task::yield_now().await;
        }
    }
}
