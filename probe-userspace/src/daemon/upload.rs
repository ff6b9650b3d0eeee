//! Receives a bundle: as many bytes as one may have, in as much time as it may take, in as much memory as all of them
//! together may use.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    Refusal,
    access::Caller,
    api::{PushQuery, Pushed},
    engine::{Event, Handle, Upload},
    server::ask,
};
use crate::{bundle::limits::MAX_FILE_BYTES, host::Role};

/// Time a sender has for a whole bundle, the wait for room included.
const DEADLINE: Duration = Duration::from_secs(60);
/// Memory for bundles that are received or wait for the engine, in units of [`UNIT_BYTES`]: two of the largest.
const BUDGET_UNITS: usize = 2 * MAX_FILE_BYTES.div_ceil(UNIT_BYTES);
const UNIT_BYTES: usize = 4096;

/// Room for bundles that are on their way.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET_UNITS)))
    }
}

/// `POST /v1/bundles`.
pub async fn push(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    Extension(room): Extension<Room>,
    query: Result<Query<PushQuery>, QueryRejection>,
    body: Body,
) -> Result<Json<Pushed>, Refusal> {
    let actor = caller.may(Role::Apply)?;
    let Query(query) = query.map_err(|error| Refusal::with_status(400, error.body_text()))?;
    let received = timeout(DEADLINE, receive(&room, body));
    let (bytes, room) = received
        .await
        .map_err(|_| Refusal::with_status(408, "the bundle did not arrive within 60 s"))??;
    let upload = Box::new(Upload { query, bytes });
    let answer = ask(&handle, |reply| Event::Push(upload, actor, reply)).await;
    drop(room);
    answer
}

/// The bytes of a body, and the room that they take.
async fn receive(room: &Room, mut body: Body) -> Result<(Vec<u8>, OwnedSemaphorePermit), Refusal> {
    let too_large = || {
        Refusal::with_status(
            413,
            format!("a bundle is never larger than {} MiB", MAX_FILE_BYTES >> 20),
        )
    };
    // Who does not say how much comes takes the room of the largest.
    let announced = body.size_hint().exact();
    let n_bytes = announced.unwrap_or(MAX_FILE_BYTES as u64);
    let n_bytes = usize::try_from(n_bytes).unwrap_or(usize::MAX);
    if n_bytes > MAX_FILE_BYTES {
        return Err(too_large());
    }
    let n_units = u32::try_from(n_bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
    let permit = Arc::clone(&room.0)
        .acquire_many_owned(n_units)
        .await
        .map_err(|_| Refusal::with_status(503, "the daemon is stopping"))?;
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::with_status(400, "the bundle is cut short"))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > n_bytes {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok((bytes, permit))
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use axum::body::Bytes;
    use hyper::body::Frame;

    use super::*;

    /// Sends as long as somebody asks.
    struct Endless;

    impl hyper::body::Body for Endless {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![0; 1 << 20])))))
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn an_endless_body_ends_at_the_limit() {
        let refused = runtime().block_on(receive(&Room::default(), Body::new(Endless)));
        assert_eq!(refused.unwrap_err().status, 413);
    }

    #[test]
    fn a_small_body_leaves_room_for_others() {
        let room = Room::default();
        let (bytes, permit) = runtime()
            .block_on(receive(&room, Body::from(vec![7; UNIT_BYTES + 1])))
            .unwrap();
        assert_eq!(bytes.len(), UNIT_BYTES + 1);
        assert_eq!(room.0.available_permits(), BUDGET_UNITS - 2);
        drop(permit);
        assert_eq!(room.0.available_permits(), BUDGET_UNITS);
    }
}
