//! The control API over a real socket, with an engine that answers from a script.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::{
    Refusal,
    access::Access,
    api::{ApplyRequest, EventRow, Status, WatchLine},
    client::{Client, Lines},
    engine::{Event, Handle},
    events::{Hub, Naming},
    metrics::Pages,
    server,
};
use crate::audit::Actor;

struct Api {
    _dir: tempfile::TempDir,
    client: Client,
    events: mpsc::Receiver<Event>,
    snapshot: watch::Sender<Arc<Status>>,
    hub: Hub,
    naming: watch::Sender<Arc<Naming>>,
}

fn api() -> Api {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("run/control.sock");
    let listener = server::bind(&socket).unwrap();
    let (sender, events) = mpsc::channel(4);
    let (naming, names) = watch::channel(Arc::new(Naming::default()));
    let hub = Hub::new(names);
    let (snapshot, snapshots) = watch::channel(Arc::new(Status::starting()));
    tokio::spawn(server::serve(
        listener,
        Handle {
            events: sender,
            snapshot: snapshots,
            hub: hub.clone(),
            pages: Pages::of_nothing(),
        },
        Access::default(),
    ));
    Api {
        _dir: dir,
        client: Client::new(&socket),
        events,
        snapshot,
        hub,
        naming,
    }
}

#[tokio::test]
async fn a_status_is_answered_while_the_engine_is_busy() {
    let mut api = api();
    let status: Status = api.client.get("/v1/status").await.unwrap();
    assert_eq!(status.busy.as_deref(), Some("starting"));
    assert!(api.events.try_recv().is_err(), "the engine is not even asked");
}

#[tokio::test]
async fn metrics_do_not_take_the_engine() {
    let mut api = api();
    let page = api.client.get_text("/v1/metrics").await.unwrap();
    assert!(page.contains("cordon_state{state=\"unknown\"} 1"), "{page}");
    assert!(api.events.try_recv().is_err(), "the engine is not even asked");
}

#[tokio::test]
async fn a_status_is_fresh_when_the_engine_is_idle() {
    let mut api = api();
    api.snapshot.send_replace(Arc::new(Status {
        busy: None,
        ..Status::starting()
    }));
    let engine = tokio::spawn(async move {
        match api.events.recv().await {
            Some(Event::Status(reply)) => {
                let fresh = Status {
                    busy: None,
                    sentence: "fresh".to_owned(),
                    ..Status::starting()
                };
                assert!(reply.send(fresh).is_ok());
            }
            other => panic!("{other:?}"),
        }
    });
    let status: Status = api.client.get("/v1/status").await.unwrap();
    assert_eq!(status.sentence, "fresh");
    engine.await.unwrap();
}

#[tokio::test]
async fn a_refusal_reaches_the_caller_with_its_remarks() {
    let mut api = api();
    tokio::spawn(async move {
        while let Some(event) = api.events.recv().await {
            let Event::Apply(request, actor, reply) = event else {
                panic!("{event:?}")
            };
            let uid = nix::unistd::geteuid().as_raw();
            assert_eq!(actor, Actor::Local { uid });
            let place = crate::diagnostic::Place::file(&request.value.file);
            let remark = crate::diagnostic::Diagnostic::error(place, "XX", "no such country", "write DE");
            drop(reply.send(Err(Refusal::input("p.toml has 1 error", vec![remark]))));
        }
    });
    let request = ApplyRequest {
        file: "p.toml".to_owned(),
        text: "x".to_owned(),
        ..ApplyRequest::default()
    };
    let error = api
        .client
        .post::<_, serde_json::Value>("/v1/apply", &request)
        .await
        .unwrap_err();
    let refusal: Refusal = error.downcast().unwrap();
    assert_eq!(
        (refusal.status, refusal.error.as_str()),
        (422, "p.toml has 1 error")
    );
    assert_eq!(refusal.diagnostics[0].value, "XX");
}

#[tokio::test]
async fn wrong_requests_are_answered_with_an_error() {
    let api = api();
    let status = |error: anyhow::Error| error.downcast::<Refusal>().unwrap().status;
    let get = |path| api.client.get::<serde_json::Value>(path);
    assert_eq!(status(get("/v1/nothing").await.unwrap_err()), 404);
    assert_eq!(status(get("/v1/apply").await.unwrap_err()), 405);
    assert_eq!(status(get("/v1/explain?ip=1.2.3").await.unwrap_err()), 400);
    assert_eq!(status(get("/v1/explain").await.unwrap_err()), 400);
    let odd = serde_json::json!({ "surprise": 1 });
    let posted = api.client.post::<_, serde_json::Value>("/v1/halt", &odd).await;
    assert_eq!(status(posted.unwrap_err()), 400);
    let long = serde_json::json!({ "for_s": null, "reason": "x".repeat(super::api::MAX_BODY_BYTES) });
    let posted = api.client.post::<_, serde_json::Value>("/v1/halt", &long).await;
    assert_eq!(status(posted.unwrap_err()), 413);
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    let first = server::bind(&socket).unwrap();
    let error = server::bind(&socket).unwrap_err();
    assert!(format!("{error:#}").contains("another daemon"), "{error:#}");
    drop(first);
    server::bind(&socket).unwrap();
}

#[tokio::test]
async fn an_unreachable_daemon_is_named_with_the_fix() {
    let client = Client::new(std::path::Path::new("/nonexistent/control.sock"));
    let error = client.get::<Status>("/v1/status").await.unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("/nonexistent/control.sock") && text.contains("systemctl start cordon"),
        "{text}"
    );
}

fn event(country: &str) -> EventRow {
    EventRow {
        time: "2026-05-28T20:26:45.123Z".to_owned(),
        interface: "eth0".to_owned(),
        ifindex: 2,
        vlan: None,
        source: None,
        country: Some(country.to_owned()),
        protocol: None,
        source_port: None,
        destination_port: None,
        bytes: 60,
        action: "drop".to_owned(),
        reason: "policy_drop".to_owned(),
        fate: "dropped".to_owned(),
        generation: 7,
    }
}

async fn next(lines: &mut Lines) -> WatchLine {
    let line = lines.next().await.unwrap().unwrap();
    serde_json::from_str(&line).unwrap()
}

#[tokio::test]
async fn a_watcher_is_told_at_once_whether_anything_is_reported_and_then_what_it_asked_for() {
    let api = api();
    let mut lines = api.client.lines("/v1/events?country=RU").await.unwrap();
    let start = WatchLine::Start {
        policy: None,
        is_reporting: false,
        notes: Vec::new(),
    };
    assert_eq!(next(&mut lines).await, start);
    api.hub.tell(event("DE"));
    api.hub.tell(event("RU"));
    assert_eq!(next(&mut lines).await, WatchLine::Event(event("RU")));

    let mut naming = Naming::default();
    naming.policy = Some("p".to_owned());
    naming.is_reporting = true;
    api.naming.send_replace(Arc::new(naming));
    let mut lines = api.client.lines("/v1/events").await.unwrap();
    let start = WatchLine::Start {
        policy: Some("p".to_owned()),
        is_reporting: true,
        notes: Vec::new(),
    };
    assert_eq!(next(&mut lines).await, start);
}

#[tokio::test]
async fn a_slow_watcher_is_told_how_many_it_missed() {
    let api = api();
    let mut slow = api.client.lines("/v1/events").await.unwrap();
    next(&mut slow).await;
    let n = 100_000;
    for _ in 0..n {
        // The server runs in this very thread, and gets no time in between.
        api.hub.tell(event("RU"));
    }
    api.hub.tell(event("END"));
    let (mut n_got, mut n_lost) = (0, 0);
    loop {
        match next(&mut slow).await {
            WatchLine::Event(row) if row.country.as_deref() == Some("END") => break,
            WatchLine::Event(_) => n_got += 1,
            WatchLine::Lost { n } => n_lost += n,
            WatchLine::Start { .. } => panic!("it starts once"),
        }
    }
    assert!(n_lost > 0, "{n_got} came");
    assert_eq!(n_got + n_lost, n);
}

#[tokio::test]
async fn watchers_leave_room_for_others() {
    let api = api();
    let mut watchers = Vec::new();
    let refused = loop {
        match api.client.lines("/v1/events").await {
            Ok(lines) => watchers.push(lines),
            Err(error) => break error,
        }
        assert!(
            watchers.len() < 64,
            "there must be a limit below that of connections"
        );
    };
    assert_eq!(refused.downcast_ref::<Refusal>().unwrap().status, 503);
    let _: Status = api.client.get("/v1/status").await.unwrap();
    let error = api.client.lines("/v1/events?action=block").await.unwrap_err();
    assert_eq!(error.downcast_ref::<Refusal>().unwrap().status, 400);
    let error = api.client.lines("/v1/events?reason=x").await.unwrap_err();
    assert_eq!(error.downcast_ref::<Refusal>().unwrap().status, 400, "{error}");

    watchers.clear();
    let mut lines = loop {
        // The server notices that they are gone when it next looks at their connections.
        if let Ok(lines) = api.client.lines("/v1/events").await {
            break lines;
        }
        api.hub.tell(event("RU"));
        tokio::task::yield_now().await;
    };
    next(&mut lines).await;
}

#[test]
fn every_route_is_documented_and_nothing_else() {
    use std::collections::BTreeSet;

    let server: String = include_str!("server.rs").split_whitespace().collect();
    let mut routed = BTreeSet::new();
    for route in server.split(".route(\"").skip(1) {
        let (path, rest) = route.split_once('"').unwrap();
        let handlers = rest.split("))").next().unwrap();
        let before = routed.len();
        for method in ["get", "post", "put", "delete", "patch"] {
            if handlers.contains(&format!(",{method}(")) || handlers.contains(&format!(").{method}(")) {
                routed.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        assert!(routed.len() > before, "{path} has no method: {handlers}");
    }
    assert!(routed.len() >= 8, "{routed:?}");
    let api = include_str!("../../../docs/api.md");
    let documented: BTreeSet<String> = api
        .split("\n## `")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('`')?.0.to_owned()))
        .filter(|heading| heading.contains(" /v1/"))
        .collect();
    assert_eq!(documented, routed);
}

#[test]
fn every_field_of_the_status_is_documented() {
    use std::collections::BTreeSet;

    let api = include_str!("../../../docs/api.md");
    let section = api.split("\n## `GET /v1/status`").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let keys = section
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.split('|').next());
    let documented: BTreeSet<&str> = keys.flat_map(|keys| keys.split('`').skip(1).step_by(2)).collect();
    let status = serde_json::to_value(Status::starting()).unwrap();
    let fields: BTreeSet<&str> = status.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(documented, fields);
}
