//! One watcher's answer: lines of JSON that do not end.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::body::Body;
use http_body_util::channel::{Channel, Sender};
use hyper::body::Bytes;
use tokio::{
    sync::{
        OwnedSemaphorePermit,
        broadcast::{
            Receiver,
            error::{RecvError, TryRecvError},
        },
    },
    time::timeout,
};

use super::{Filter, Hub};
use crate::daemon::api::{EventRow, WatchLine};

/// Chunks that wait for the client's reading.
const CHUNKS: usize = 4;
/// How often an empty line is sent if nothing else is.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Lines in a chunk at most.
const MAX_LINES: usize = 256;

/// The answer to a watcher. Holds the permit for as long as it lasts.
pub fn body(hub: &Hub, filter: Filter, permit: OwnedSemaphorePermit) -> Body {
    let (sender, channel) = Channel::<Bytes, Infallible>::new(CHUNKS);
    let rows = hub.subscribe();
    let naming = Arc::clone(&hub.naming.borrow());
    let start = WatchLine::Start {
        policy: naming.policy.clone(),
        is_reporting: naming.is_reporting,
        notes: filter.notes.clone(),
    };
    tokio::spawn(async move {
        write(sender, rows, filter, start).await;
        drop(permit);
    });
    Body::new(channel)
}

/// Writes until the watcher or the daemon is gone.
async fn write(
    mut sender: Sender<Bytes, Infallible>,
    mut rows: Receiver<Arc<EventRow>>,
    filter: Filter,
    start: WatchLine,
) {
    let mut chunk = Vec::new();
    add(&mut chunk, &start);
    loop {
        if !chunk.is_empty() && sender.send_data(std::mem::take(&mut chunk).into()).await.is_err() {
            return;
        }
        match timeout(HEARTBEAT, rows.recv()).await {
            Ok(Ok(row)) => add_row(&mut chunk, &filter, &row),
            Ok(Err(RecvError::Lagged(n))) => add(&mut chunk, &WatchLine::Lost { n }),
            Ok(Err(RecvError::Closed)) => return,
            // That it cannot be sent shows that nobody reads any more.
            Err(_) => chunk.push(b'\n'),
        }
        // Under load, many lines go in one chunk.
        for _ in 1..MAX_LINES {
            match rows.try_recv() {
                Ok(row) => add_row(&mut chunk, &filter, &row),
                Err(TryRecvError::Lagged(n)) => add(&mut chunk, &WatchLine::Lost { n }),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
    }
}

fn add_row(chunk: &mut Vec<u8>, filter: &Filter, row: &Arc<EventRow>) {
    if filter.takes(row) {
        add(chunk, &WatchLine::Event(EventRow::clone(row)));
    }
}

fn add(chunk: &mut Vec<u8>, line: &WatchLine) {
    if serde_json::to_writer(&mut *chunk, line).is_ok() {
        chunk.push(b'\n');
    }
}
