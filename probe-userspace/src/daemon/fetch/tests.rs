//! Sources that are good, bad and hostile: real servers on loopback, real files.

mod certificates;
mod files;

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::daemon::{
    api::Status,
    events::{Hub, Naming},
};

const SMALL: Limits = Limits {
    deadline: Duration::from_millis(600),
    max_bytes: 10_000,
};

/// What a server does with a connection after it has read the request.
#[derive(Clone)]
enum Script {
    /// Sends this and closes.
    Answer(Vec<u8>),
    /// Sends this, then bytes for ever, with pauses.
    Drip(Vec<u8>, Duration),
    /// Sends this again and again.
    Endless(Vec<u8>, Vec<u8>),
    /// Reads the request and says nothing.
    Silent,
}

struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    scripts: Arc<Mutex<Vec<Script>>>,
}

impl Server {
    /// Each connection takes the next script; the last one is for all that follow.
    async fn start(scripts: Vec<Script>) -> Self {
        Self::start_with(scripts, None).await
    }

    async fn start_with(scripts: Vec<Script>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            requests: Arc::default(),
            scripts: Arc::new(Mutex::new(scripts)),
        };
        let (requests, scripts) = (Arc::clone(&server.requests), Arc::clone(&server.scripts));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = {
                    let mut scripts = scripts.lock().unwrap();
                    match scripts.len() {
                        1 => scripts[0].clone(),
                        _ => scripts.remove(0),
                    }
                };
                let (requests, tls) = (Arc::clone(&requests), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, script, &requests).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, script, &requests).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    fn source(&self, scheme: &str) -> Source {
        source(&format!("{scheme}://127.0.0.1:{}/edge.cordon", self.port))
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: Script,
    requests: &Mutex<Vec<String>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    requests.lock().unwrap().push(String::from_utf8(head).unwrap());
    match script {
        Script::Answer(answer) => {
            drop(stream.write_all(&answer).await);
            drop(stream.shutdown().await);
        }
        Script::Drip(head, pause) => {
            drop(stream.write_all(&head).await);
            while stream.write_all(b"x").await.is_ok() && stream.flush().await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        }
        Script::Endless(head, part) => {
            drop(stream.write_all(&head).await);
            while stream.write_all(&part).await.is_ok() {}
        }
        Script::Silent => std::future::pending().await,
    }
}

fn source(url: &str) -> Source {
    Source {
        url: SourceUrl::parse(url).unwrap(),
        kind: SourceKind::Geo,
        interval: Duration::from_secs(300),
        ca_file: None,
        token_file: None,
    }
}

fn answer(head: &str, body: &str) -> Script {
    Script::Answer(format!("HTTP/1.1 {head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

fn good(tag: &str, body: &str) -> Script {
    answer(&format!("200 OK\r\netag: {tag}\r\n"), body)
}

async fn refused(script: Script) -> String {
    let server = Server::start(vec![script]).await;
    let error = look(&server.source("http"), None, SMALL).await.unwrap_err();
    format!("{error:#}")
}

#[tokio::test]
async fn a_body_comes_whole_with_its_tag_and_the_tag_is_shown_the_next_time() {
    let server = Server::start(vec![
        good("\"one\"", "bundle"),
        Script::Answer(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()),
        good("\"two\"", "changed in between"),
    ])
    .await;
    let source = server.source("http");
    let first = look(&source, None, SMALL).await.unwrap();
    let tag = Some("\"one\"".to_owned());
    let bytes = b"bundle".to_vec();
    assert_eq!(first, Look::Changed { bytes, tag });
    assert_eq!(
        look(&source, Some("\"one\""), SMALL).await.unwrap(),
        Look::Unchanged
    );
    let Look::Changed { bytes, tag } = look(&source, Some("\"one\""), SMALL).await.unwrap() else {
        panic!("it has changed");
    };
    assert_eq!(
        (bytes.as_slice(), tag.as_deref()),
        (&b"changed in between"[..], Some("\"two\""))
    );
    let requests = server.requests();
    assert!(
        !requests[0].to_lowercase().contains("if-none-match"),
        "{requests:?}"
    );
    assert!(
        requests[1].to_lowercase().contains("if-none-match: \"one\""),
        "{requests:?}"
    );
    assert!(
        requests[0].contains(&format!("host: 127.0.0.1:{}", server.port)),
        "{requests:?}"
    );
}

#[tokio::test]
async fn a_chunked_body_without_a_tag_is_taken() {
    let script = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    let server = Server::start(vec![Script::Answer(script.to_vec())]).await;
    let bytes = b"abcdef".to_vec();
    let looked = look(&server.source("http"), None, SMALL).await.unwrap();
    assert_eq!(looked, Look::Changed { bytes, tag: None });
}

#[tokio::test]
async fn hostile_and_broken_servers_are_given_up_on() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n".to_vec();
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let status = b"HTTP/1.1 200 OK\r\n".to_vec();
    let drip = |head: &[u8]| Script::Drip(head.to_vec(), Duration::from_millis(20));
    let long = "x".repeat(20_000);
    for (what, script, expected) in [
        ("slow drip of the body", drip(&head), "not complete after"),
        ("slow drip of the head", drip(&status), "not complete after"),
        ("silence", Script::Silent, "not complete after"),
        (
            "endless body",
            Script::Endless(
                chunked,
                b"400\r\n"
                    .iter()
                    .copied()
                    .chain([b'x'; 1024])
                    .chain(*b"\r\n")
                    .collect(),
            ),
            "more than 10000 bytes",
        ),
        (
            "a body without a length",
            Script::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 1024]),
            "more than 10000 bytes",
        ),
        (
            "endless headers",
            Script::Endless(status.clone(), b"x-a: b\r\n".to_vec()),
            "cannot be read",
        ),
        (
            "a header without an end",
            Script::Endless(b"HTTP/1.1 200 OK\r\nx-a: ".to_vec(), vec![b'x'; 1024]),
            "cannot be read",
        ),
        ("too large", answer("200 OK\r\n", &long), "more than 10000 bytes"),
        (
            "a length beyond all bounds",
            Script::Answer(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999999999\r\n\r\nx".to_vec()),
            "more than 10000 bytes",
        ),
        (
            "cut short",
            Script::Answer(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc".to_vec()),
            "cut short",
        ),
        ("no answer", Script::Answer(Vec::new()), "cannot be read"),
        (
            "no HTTP",
            Script::Answer(b"220 smtp ready\r\n\r\n".to_vec()),
            "cannot be read",
        ),
        (
            "500",
            answer("500 Internal Server Error\r\n", "x"),
            "answered 500",
        ),
        ("503", answer("503 Service Unavailable\r\n", "x"), "answered 503"),
        ("404", answer("404 Not Found\r\n", "x"), "answered 404"),
        ("206", answer("206 Partial Content\r\n", "x"), "answered 206"),
        ("304 unasked", answer("304 Not Modified\r\n", ""), "answered 304"),
        (
            "encoded",
            answer("200 OK\r\ncontent-encoding: gzip\r\n", "x"),
            "encoded",
        ),
    ] {
        let error = refused(script).await;
        assert!(error.contains(expected), "{what}: {error}");
    }
    let error = look(&source("http://127.0.0.1:1/"), None, SMALL)
        .await
        .unwrap_err();
    assert!(format!("{error:#}").contains("cannot connect"), "{error:#}");
}

#[tokio::test]
async fn redirects_stay_on_the_server() {
    let to = |location: &str| answer(&format!("302 Found\r\nlocation: {location}\r\n"), "");
    let server = Server::start(vec![to("/other.cordon"), good("\"x\"", "bundle")]).await;
    assert!(matches!(
        look(&server.source("http"), None, SMALL).await.unwrap(),
        Look::Changed { .. }
    ));
    assert!(
        server.requests()[1].starts_with("GET /other.cordon "),
        "{:?}",
        server.requests()
    );

    let other = Server::start(vec![good("\"x\"", "bundle")]).await;
    for (location, expected) in [
        (
            format!("http://127.0.0.1:{}/x", other.port),
            "not on the same server",
        ),
        (
            format!("http://localhost:{}/x", server.port),
            "not on the same server",
        ),
        (
            format!("https://127.0.0.1:{}/x", server.port),
            "not on the same server",
        ),
        ("//elsewhere.example/x".to_owned(), "not on the same server"),
        ("file:///etc/shadow".to_owned(), "not on the same server"),
        ("gopher://127.0.0.1/".to_owned(), "not on the same server"),
        ("/again".to_owned(), "more than 3 redirects"),
    ] {
        let error = refused(to(&location)).await;
        assert!(error.contains(expected), "{location}: {error}");
    }
    assert!(
        refused(answer("302 Found\r\n", ""))
            .await
            .contains("redirect to nowhere")
    );
    assert!(other.requests().is_empty(), "nobody else was asked");
}

/// What an engine was told.
type Told<T> = Arc<Mutex<Vec<T>>>;

/// An engine that gives these answers to candidates, and collects what it is told.
fn engine(mut answers: Vec<Result<Taken, Refusal>>) -> (Handle, Told<Vec<u8>>, Told<SourceRow>) {
    let (events, mut inbox) = mpsc::channel(4);
    let (_, names) = watch::channel(Arc::new(Naming::default()));
    let (_, snapshot) = watch::channel(Arc::new(Status::starting()));
    let candidates: Told<Vec<u8>> = Arc::default();
    let rows: Told<SourceRow> = Arc::default();
    let told = (Arc::clone(&candidates), Arc::clone(&rows));
    tokio::spawn(async move {
        while let Some(event) = inbox.recv().await {
            match event {
                Event::Candidate(candidate, reply) => {
                    told.0.lock().unwrap().push(candidate.bytes);
                    drop(reply.send(answers.remove(0)));
                }
                Event::Source(_, row) => told.1.lock().unwrap().push(row),
                other => panic!("{other:?}"),
            }
        }
    });
    let handle = Handle {
        events,
        snapshot,
        hub: Hub::new(names),
        pages: crate::daemon::metrics::Pages::of_nothing(),
    };
    (handle, candidates, rows)
}

#[tokio::test]
async fn a_tag_is_kept_across_restarts_once_the_bundle_was_taken() {
    let server = Server::start(vec![
        good("\"bad\"", "refused"),
        good("\"one\"", "bundle"),
        Script::Answer(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()),
    ])
    .await;
    let dir = tempfile::tempdir().unwrap();
    let memory = Memory::new(dir.path());
    let refusal = Refusal::input("bad-signature", Vec::new());
    let (handle, candidates, rows) = engine(vec![Err(refusal), Ok(Taken::Accepted)]);
    let mut puller = Puller::new(0, server.source("http"), &memory);
    puller.pull(&handle, &memory, SMALL).await;
    assert_eq!(
        puller.remembered,
        Remembered::default(),
        "nothing is known of what was refused"
    );
    puller.pull(&handle, &memory, SMALL).await;

    let mut again = Puller::new(0, server.source("http"), &memory);
    assert_eq!(again.remembered.tag.as_deref(), Some("\"one\""));
    again.pull(&handle, &memory, SMALL).await;
    assert_eq!(
        *candidates.lock().unwrap(),
        [b"refused".to_vec(), b"bundle".to_vec()]
    );
    let requests = server.requests();
    let shown: Vec<bool> = requests
        .iter()
        .map(|head| head.contains("if-none-match"))
        .collect();
    assert_eq!(shown, [false, false, true], "{requests:?}");

    drop(handle);
    tokio::task::yield_now().await;
    let rows = rows.lock().unwrap();
    let problem = rows[0].problem.as_deref().unwrap();
    assert!(
        problem.contains("bad-signature") && rows[0].n_failures == 1,
        "{rows:?}"
    );
    assert!(
        rows[0].last_success.is_none() && rows[1].last_success.is_some(),
        "{rows:?}"
    );
    assert!(
        rows[1..]
            .iter()
            .all(|row| row.problem.is_none() && row.n_failures == 0),
        "{rows:?}"
    );
}

#[tokio::test]
async fn a_tag_that_is_a_day_old_is_not_shown() {
    let server = Server::start(vec![good("\"one\"", "bundle")]).await;
    let dir = tempfile::tempdir().unwrap();
    let memory = Memory::new(dir.path());
    let source = server.source("http");
    let day_old = Remembered {
        tag: Some("\"one\"".to_owned()),
        tag_since_s: Some(Instant::now().0 - MAX_TAG_AGE_S - 10),
        last_success_s: Some(1),
    };
    memory.write(&source, &day_old).unwrap();
    let (handle, candidates, _) = engine(vec![Ok(Taken::Idle)]);
    let mut puller = Puller::new(0, source.clone(), &memory);
    puller.pull(&handle, &memory, SMALL).await;
    assert!(!server.requests()[0].contains("if-none-match"));
    assert_eq!(candidates.lock().unwrap().len(), 1);
    let since = memory.read(&source).unwrap().tag_since_s.unwrap();
    assert!(
        since > day_old.tag_since_s.unwrap() + MAX_TAG_AGE_S,
        "its age begins anew"
    );
}
