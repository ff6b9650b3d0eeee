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
    api::{Applied, ApplyRequest, MAX_BODY_BYTES, PushQuery, Pushed, read_request},
    engine::{Event, Handle, Upload},
    server::ask,
};
use crate::{bundle::limits::MAX_FILE_BYTES, host::Role};

/// Time a sender has for a whole bundle, the wait for room included.
const DEADLINE: Duration = Duration::from_secs(60);
/// Memory for bundles and policies that are received or wait for the engine, in units of [`UNIT_BYTES`]: two of the largest.
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

/// What was received, and the room that it takes until nobody needs it any more. Who sent it may be gone long before.
#[derive(Debug)]
pub struct Held<T> {
    /// What it is.
    pub value: T,
    /// The room.
    pub room: OwnedSemaphorePermit,
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
    let received = timeout(DEADLINE, receive(&room, body, MAX_FILE_BYTES));
    let Held { value: bytes, room } = received
        .await
        .map_err(|_| Refusal::with_status(408, "the bundle did not arrive within 60 s"))??;
    let value = Upload { query, bytes };
    let upload = Box::new(Held { value, room });
    ask(&handle, |reply| Event::Push(upload, actor, reply)).await
}

/// `POST /v1/apply`.
pub async fn apply(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    Extension(room): Extension<Room>,
    body: Body,
) -> Result<Json<Applied>, Refusal> {
    let actor = caller.may(Role::Apply)?;
    let received = timeout(DEADLINE, receive(&room, body, MAX_BODY_BYTES));
    let Held { value: bytes, room } = received
        .await
        .map_err(|_| Refusal::with_status(408, "the policy did not arrive within 60 s"))??;
    let value: ApplyRequest = read_request(&bytes)?;
    drop(bytes);
    if value.break_glass.is_some() {
        // It sets aside what the keys are there for.
        caller.may(Role::Keys)?;
    }
    let request = Box::new(Held { value, room });
    ask(&handle, |reply| Event::Apply(request, actor, reply)).await
}

/// The bytes of a body, and the room that they take.
async fn receive(room: &Room, mut body: Body, max_bytes: usize) -> Result<Held<Vec<u8>>, Refusal> {
    let too_large = || Refusal::with_status(413, format!("the request is longer than {max_bytes} bytes"));
    // Who does not say how much comes takes the room of the largest.
    let announced = body.size_hint().exact();
    let n_bytes = announced.unwrap_or(max_bytes as u64);
    let n_bytes = usize::try_from(n_bytes).unwrap_or(usize::MAX);
    if n_bytes > max_bytes {
        return Err(too_large());
    }
    let n_units = u32::try_from(n_bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
    let room = Arc::clone(&room.0)
        .acquire_many_owned(n_units)
        .await
        .map_err(|_| Refusal::with_status(503, "the daemon is stopping"))?;
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::with_status(400, "the request is cut short"))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > n_bytes {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(Held { value: bytes, room })
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use axum::body::Bytes;
    use hyper::body::Frame;
    use tokio::{
        net::UnixStream,
        sync::{mpsc, watch},
    };

    use super::*;
    use crate::daemon::{
        access::Access,
        api::Status,
        events::{Hub, Naming},
    };

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
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    }

    fn caller() -> Caller {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        Caller::of(&ours, &Access::default()).unwrap()
    }

    #[test]
    fn what_waits_for_the_engine_keeps_its_room_though_its_sender_has_left() {
        runtime().block_on(async {
            let (events, mut inbox) = mpsc::channel(4);
            let (_naming, names) = watch::channel(Arc::new(Naming::default()));
            let (_snapshot, snapshot) = watch::channel(Arc::new(Status::starting()));
            let hub = Hub::new(names);
            let handle = Handle {
                events,
                snapshot,
                hub,
                pages: crate::daemon::metrics::Pages::of_nothing(),
            };
            let room = Room::default();
            let state = || {
                (
                    State(handle.clone()),
                    Extension(caller()),
                    Extension(room.clone()),
                )
            };
            let policy = r#"{"file":"p.toml","text":"version = 1"}"#;

            let (handle, who, where_to) = state();
            let query = Ok(Query(PushQuery::default()));
            let pushed = push(handle, who, where_to, query, Body::from(vec![7; UNIT_BYTES]));
            // The future of the handler is dropped, as when the connection ends.
            let bundle = tokio::select! {
                _ = pushed => panic!("nobody answered"),
                event = inbox.recv() => event.unwrap(),
            };
            let (handle, who, where_to) = state();
            let applied = apply(handle, who, where_to, Body::from(policy));
            let policy = tokio::select! {
                _ = applied => panic!("nobody answered"),
                event = inbox.recv() => event.unwrap(),
            };
            assert_eq!(room.0.available_permits(), BUDGET_UNITS - 2);
            drop(bundle);
            assert_eq!(room.0.available_permits(), BUDGET_UNITS - 1);
            drop(policy);
            assert_eq!(room.0.available_permits(), BUDGET_UNITS);
        });
    }

    #[test]
    fn an_endless_body_ends_at_the_limit() {
        let refused = runtime().block_on(receive(&Room::default(), Body::new(Endless), MAX_FILE_BYTES));
        assert_eq!(refused.unwrap_err().status, 413);
    }

    #[test]
    fn a_small_body_leaves_room_for_others() {
        let room = Room::default();
        let body = Body::from(vec![7; UNIT_BYTES + 1]);
        let held = runtime().block_on(receive(&room, body, MAX_FILE_BYTES)).unwrap();
        assert_eq!(held.value.len(), UNIT_BYTES + 1);
        assert_eq!(room.0.available_permits(), BUDGET_UNITS - 2);
        drop(held);
        assert_eq!(room.0.available_permits(), BUDGET_UNITS);
    }
}
