//! The control API: HTTP/1.1 and JSON on a unix socket. Knows who calls, never touches the kernel.

use std::{
    fs,
    os::unix::{
        fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixStream as StdUnixStream,
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use axum::{
    Extension, Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Query, Request, State, rejection::QueryRejection},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, oneshot},
    time::timeout,
};

use super::{
    Refusal,
    access::{Access, Caller, GROUP, Places},
    api::{
        self, AddRequest, EventQuery, Exempted, ExemptionQuery, Exemptions, ExplainQuery, HaltRequest,
        LiftRequest, LocateQuery, MAX_BODY_BYTES, MAX_SMALL_BODY_BYTES, RemoveQuery, RenewRequest,
        ResumeRequest, RollbackRequest, Status, SyncQuery, Synced, UnliftRequest, UnmanageRequest,
    },
    engine::{Event, ExemptEvent, Handle, Reply},
    events::Filter,
    upload::{self, Room},
};
use crate::{exemption::limits::MAX_FILE_BYTES, host::Role};

/// Time a caller has to send its request.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Callers who are told at a time that there is no place; others are not told.
const MAX_TURNED_AWAY: usize = 16;
/// Time that telling them may take.
const TURN_AWAY_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest head of a request.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// How long a status waits for a fresh answer before the snapshot is given.
const FRESH_TIMEOUT: Duration = Duration::from_millis(200);
/// What a caller is told for whom there is no place.
const NO_PLACE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\n\
    content-length: 72\r\n\r\n{\"error\":\"too many connections: end one of them first\",\"diagnostics\":[]}";

/// Makes the runtime directory and the socket. A socket that nobody listens on is removed.
pub fn bind(socket: &Path) -> anyhow::Result<UnixListener> {
    let dir = socket.parent().context("the socket has no directory")?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(dir)
        .with_context(|| format!("cannot make the runtime directory {}", dir.display()))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o750))
        .with_context(|| format!("cannot set the mode of {}", dir.display()))?;
    if StdUnixStream::connect(socket).is_ok() {
        bail!("another daemon listens on {}: stop it first", socket.display());
    }
    match fs::remove_file(socket) {
        Ok(()) => tracing::info!(socket = %socket.display(), "removed a stale socket"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error)
                .with_context(|| format!("cannot remove the stale socket {}", socket.display()));
        }
    }
    let listener =
        UnixListener::bind(socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o660))
        .with_context(|| format!("cannot set the mode of {}", socket.display()))?;
    if let Ok(Some(group)) = nix::unistd::Group::from_name(GROUP) {
        // What is made by the group itself belongs to it, and a sandbox may forbid the call.
        let is_foreign = |path: &&Path| !path.metadata().is_ok_and(|it| it.gid() == group.gid.as_raw());
        for path in [dir, socket].into_iter().filter(is_foreign) {
            std::os::unix::fs::chown(path, None, Some(group.gid.as_raw()))
                .with_context(|| format!("cannot give {} to group {GROUP}", path.display()))?;
        }
    }
    Ok(listener)
}

/// Serves until dropped.
pub async fn serve(listener: UnixListener, handle: Handle, access: Access) {
    let app = router(handle);
    let places = Places::default();
    let turned_away = Arc::new(Semaphore::new(MAX_TURNED_AWAY));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, as a rule: let some connections end.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let caller = match Caller::of(&stream, &access) {
            Ok(caller) => caller,
            Err(error) => {
                tracing::warn!("cannot tell who calls: {error}");
                continue;
            }
        };
        let Some(place) = places.take(caller.uid()) else {
            tracing::debug!(uid = caller.uid(), "no place for another connection");
            if let Ok(permit) = Arc::clone(&turned_away).try_acquire_owned() {
                tokio::spawn(async move {
                    turn_away(stream).await;
                    drop(permit);
                });
            }
            continue;
        };
        let service = TowerToHyperService::new(app.clone().layer(Extension(caller)));
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(READ_TIMEOUT)
                .max_buf_size(MAX_HEADER_BYTES)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!("connection ended: {error}");
            }
            drop(place);
        });
    }
}

/// Tells a caller that there is no place. What it sends is taken until it has heard that: a socket that is closed
/// before would lose the answer.
async fn turn_away(mut stream: UnixStream) {
    let told = async {
        stream.write_all(NO_PLACE).await?;
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    if !matches!(timeout(TURN_AWAY_TIMEOUT, told).await, Ok(Ok(()))) {
        tracing::debug!("a caller did not hear that there is no place");
    }
}

fn router(handle: Handle) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/explain", get(explain))
        .route("/v1/locate", get(locate))
        .route("/v1/events", get(events))
        .route("/v1/metrics", get(metrics))
        // These two have limits of their own.
        .route("/v1/apply", post(upload::apply))
        .route("/v1/bundles", post(upload::push))
        .route("/v1/confirm", post(confirm))
        .route("/v1/history", get(history))
        .route("/v1/rollback", post(rollback))
        .route("/v1/unmanage", post(unmanage))
        .route("/v1/halt", post(halt))
        .route("/v1/resume", post(resume))
        .route(
            "/v1/exemptions",
            get(exemptions).post(exempt).delete(unexempt).put(sync_exemptions),
        )
        .route("/v1/exemptions/renew", post(renew_exemption))
        .route("/v1/lift", post(lift))
        .route("/v1/unlift", post(unlift))
        .fallback(|| async { Refusal::with_status(404, "no such path in the control API, version 1") })
        .method_not_allowed_fallback(|| async { Refusal::with_status(405, "wrong method for this path") })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(Extension(Room::default()))
        .layer(middleware::from_fn_with_state(handle.clone(), note_denied))
        .with_state(handle)
}

/// Who asks for what they have no role for is on record.
async fn note_denied(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let asked = format!("{} {}", request.method(), request.uri().path());
    let response = next.run(request).await;
    if let Some(Denied(why)) = response.extensions().get() {
        let event = Event::Denied {
            asked,
            why: why.clone(),
            actor: caller.actor(),
        };
        // Whoever has no role must not fill the queue that a halt goes through.
        let has_room = handle.events.capacity() > handle.events.max_capacity() / 2;
        if !has_room || handle.events.try_send(event).is_err() {
            tracing::warn!(%why, "a refusal is not recorded: the daemon has too much to do");
        }
    }
    response
}

/// On an answer: the caller has not the role, and why.
#[derive(Clone)]
struct Denied(String);

pub(super) type Answer<T> = Result<Json<T>, Refusal>;

async fn status(State(handle): State<Handle>, Extension(caller): Extension<Caller>) -> Answer<Status> {
    caller.may(Role::Read)?;
    let snapshot = Arc::clone(&handle.snapshot.borrow());
    if snapshot.busy.is_some() {
        return Ok(Json(Status::clone(&snapshot)));
    }
    let (reply, answer) = oneshot::channel();
    let asked = handle.events.try_send(Event::Status(reply));
    match (asked, timeout(FRESH_TIMEOUT, answer).await) {
        (Ok(()), Ok(Ok(status))) => Ok(Json(status)),
        // It got busy meanwhile; what it is busy with stands in the newest snapshot.
        _ => Ok(Json(Status::clone(&handle.snapshot.borrow()))),
    }
}

async fn explain(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<ExplainQuery>, QueryRejection>,
) -> Answer<super::api::Explained> {
    caller.may(Role::Read)?;
    let Query(query) = query.map_err(|error| Refusal::with_status(400, error.body_text()))?;
    ask(&handle, |reply| Event::Explain(query, reply)).await
}

async fn locate(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<LocateQuery>, QueryRejection>,
) -> Answer<super::api::Located> {
    caller.may(Role::Read)?;
    let Query(query) = query.map_err(|error| Refusal::with_status(400, error.body_text()))?;
    ask(&handle, |reply| Event::Locate(query, reply)).await
}

async fn events(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<EventQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    caller.may(Role::Read)?;
    let Query(query) = query.map_err(|error| Refusal::with_status(400, error.body_text()))?;
    let naming = Arc::clone(&handle.hub.naming.borrow());
    let filter = Filter::new(query, &naming)?;
    let permit = Arc::clone(&handle.hub.places)
        .try_acquire_owned()
        .map_err(|_| Refusal::with_status(503, "too many watch already: end one of them"))?;
    let body = super::events::body(&handle.hub, filter, permit);
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

async fn metrics(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Refusal> {
    caller.may(Role::Read)?;
    Ok(handle.pages.answer().await)
}

async fn confirm(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
) -> Answer<super::api::Confirmed> {
    let actor = caller.may(Role::Apply)?;
    ask(&handle, |reply| Event::Confirm(actor, reply)).await
}

async fn history(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
) -> Answer<super::api::HistoryReply> {
    caller.may(Role::Read)?;
    ask(&handle, Event::History).await
}

async fn rollback(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer<super::api::RolledBack> {
    let actor = caller.may(Role::Apply)?;
    let request: RollbackRequest = read_json(body, MAX_SMALL_BODY_BYTES).await?;
    ask(&handle, |reply| Event::Rollback(request, actor, reply)).await
}

async fn unmanage(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer<super::api::Unmanaged> {
    let actor = caller.may(Role::Keys)?;
    let request: UnmanageRequest = read_json(body, MAX_SMALL_BODY_BYTES).await?;
    ask(&handle, |reply| Event::Unmanage(request, actor, reply)).await
}

async fn halt(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer<super::api::HaltReply> {
    let actor = caller.may(Role::Halt)?;
    let request: HaltRequest = read_json(body, MAX_SMALL_BODY_BYTES).await?;
    ask(&handle, |reply| Event::Halt(request, actor, reply)).await
}

async fn resume(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer<super::api::ResumeReply> {
    let actor = caller.may(Role::Apply)?;
    let request: ResumeRequest = read_json(body, MAX_SMALL_BODY_BYTES).await?;
    ask(&handle, |reply| Event::Resume(request, actor, reply)).await
}

async fn lift(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer<super::api::LiftReply> {
    let actor = caller.may(Role::Lift)?;
    let request: LiftRequest = read_json(body, MAX_SMALL_BODY_BYTES).await?;
    ask(&handle, |reply| Event::Lift(request, actor, reply)).await
}

async fn unlift(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer<super::api::UnliftReply> {
    let actor = caller.may(Role::Lift)?;
    let request: UnliftRequest = read_json(body, MAX_SMALL_BODY_BYTES).await?;
    ask(&handle, |reply| Event::Unlift(request, actor, reply)).await
}

async fn exemptions(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<ExemptionQuery>, QueryRejection>,
) -> Answer<Exemptions> {
    caller.may(Role::Read)?;
    let query = read_query(query)?;
    ask(&handle, |reply| Event::Exempt(ExemptEvent::List(query, reply))).await
}

async fn exempt(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer<Exempted> {
    let actor = caller.may(Role::Exempt)?;
    let request: AddRequest = read_json(body, MAX_BODY_BYTES).await?;
    ask(&handle, |reply| {
        Event::Exempt(ExemptEvent::Add(request, actor, reply))
    })
    .await
}

async fn renew_exemption(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer<Exempted> {
    let actor = caller.may(Role::Exempt)?;
    let request: RenewRequest = read_json(body, MAX_SMALL_BODY_BYTES).await?;
    ask(&handle, |reply| {
        Event::Exempt(ExemptEvent::Renew(request, actor, reply))
    })
    .await
}

async fn unexempt(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<RemoveQuery>, QueryRejection>,
) -> Answer<Exempted> {
    let actor = caller.may(Role::Exempt)?;
    let query = read_query(query)?;
    ask(&handle, |reply| {
        Event::Exempt(ExemptEvent::Remove(query, actor, reply))
    })
    .await
}

async fn sync_exemptions(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<SyncQuery>, QueryRejection>,
    body: Body,
) -> Answer<Synced> {
    let actor = caller.may(Role::Exempt)?;
    let query = read_query(query)?;
    let bytes = read_body(body, MAX_FILE_BYTES).await?;
    let text = String::from_utf8(bytes.into())
        .map_err(|error| Refusal::with_status(400, format!("the list is not UTF-8 text: {error}")))?;
    ask(&handle, |reply| {
        Event::Exempt(ExemptEvent::Sync(query, text, actor, reply))
    })
    .await
}

/// Sends an event and waits for its answer.
pub(super) async fn ask<T: Serialize>(handle: &Handle, event: impl FnOnce(Reply<T>) -> Event) -> Answer<T> {
    let stopping = || Refusal::with_status(503, "the daemon is stopping");
    let (reply, answer) = oneshot::channel();
    handle.events.send(event(reply)).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())?.map(Json)
}

fn read_query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    let Query(query) = query.map_err(|error| Refusal::with_status(400, error.body_text()))?;
    Ok(query)
}

async fn read_json<T: DeserializeOwned>(body: Body, max_bytes: usize) -> Result<T, Refusal> {
    let bytes = read_body(body, max_bytes).await?;
    api::read_request(&bytes)
}

async fn read_body(body: Body, max_bytes: usize) -> Result<Bytes, Refusal> {
    timeout(READ_TIMEOUT, axum::body::to_bytes(body, max_bytes))
        .await
        .map_err(|_| Refusal::with_status(408, "the request did not arrive in time"))?
        .map_err(|_| {
            Refusal::with_status(
                413,
                format!("the request is cut short or longer than {max_bytes} bytes"),
            )
        })
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let denied = self.is_by_role.then(|| Denied(self.error.clone()));
        let mut response = (status, Json(self)).into_response();
        if let Some(denied) = denied {
            response.extensions_mut().insert(denied);
        }
        response
    }
}
