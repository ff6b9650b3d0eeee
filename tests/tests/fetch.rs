//! Pulled bundles and a watched database, by the real daemon: what is judged follows what is good, and stays with
//! whatever else comes.

/// Policies and directives.
mod bundles;

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    bundle_writer::{Draft, GEO_MANIFEST, RawSection, Signer},
    cordon_process::{Cordon, HostFile},
    images::BLOCK_RU,
    lab::{INTERNET_V4, Lab},
    mmdb_writer::MmdbWriter,
    scratch::Scratch,
};
use serde_json::Value;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

const PATIENCE: Duration = Duration::from_secs(60);
const A: &str = "81.0.7.7";
const B: &str = "82.0.7.7";

/// 0 pass, 10 drop, by the live program.
fn judged(cordon: &Cordon<'_>, address: &str) -> i32 {
    cordon.cordon(&["explain", address, "--quiet"]).unwrap().status
}

fn wait(cordon: &Cordon<'_>, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = cordon.status().unwrap();
        if status["busy"].is_null() && is_so(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{what}: {status:#}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn has_problem(status: &Value, text: &str) -> bool {
    let problems = status["problems"].as_array().unwrap();
    problems
        .iter()
        .any(|problem| problem.as_str().is_some_and(|problem| problem.contains(text)))
}

fn countries(a: &str, b: &str) -> Vec<u8> {
    MmdbWriter::new()
        .country("81.0.0.0/16", a)
        .country("82.0.0.0/16", b)
        .to_bytes()
}

fn geo_bundle(revision: u64, database: Vec<u8>, signer: &str) -> Vec<u8> {
    let draft = Draft {
        manifest: GEO_MANIFEST.replace("revision = 7", &format!("revision = {revision}")),
        sections: vec![RawSection::raw("database", database)],
        ..Draft::geo()
    };
    draft.signed(&[&Signer::named(signer)]).to_bytes()
}

/// Gives what it is told to give, with a tag, until dropped; then nobody listens.
struct Server {
    content: Arc<Mutex<Vec<u8>>>,
    n_unchanged: Arc<Mutex<usize>>,
    listener: TcpListener,
    thread: Option<thread::JoinHandle<()>>,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Server {
    fn start(lab: &Lab, content: Vec<u8>) -> Self {
        Self::start_with(lab, content, None)
    }

    /// With a configuration, over TLS.
    fn start_with(lab: &Lab, content: Vec<u8>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = lab
            .internet
            .run(|| TcpListener::bind((INTERNET_V4, 8081)))
            .unwrap();
        let content = Arc::new(Mutex::new(content));
        let n_unchanged = Arc::new(Mutex::new(0));
        let (served, unchanged) = (Arc::clone(&content), Arc::clone(&n_unchanged));
        let accepting = listener.try_clone().unwrap();
        let thread = thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                stream.set_read_timeout(Some(Duration::from_secs(5))).ok();
                let mut stream: Box<dyn Stream> = match &tls {
                    Some(config) => {
                        let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                        Box::new(StreamOwned::new(connection, stream))
                    }
                    None => Box::new(stream),
                };
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    head.push(byte[0]);
                }
                let body = served.lock().unwrap().clone();
                let tag = format!("\"{}\"", cordon::bundle::Digest::of(&body));
                let answer = if String::from_utf8_lossy(&head).contains(&tag) {
                    *unchanged.lock().unwrap() += 1;
                    b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()
                } else {
                    let head = format!(
                        "HTTP/1.1 200 OK\r\netag: {tag}\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    [head.into_bytes(), body].concat()
                };
                drop(stream.write_all(&answer));
            }
        });
        Self {
            content,
            n_unchanged,
            listener,
            thread: Some(thread),
        }
    }

    fn give(&self, content: Vec<u8>) {
        *self.content.lock().unwrap() = content;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Wakes `accept` with an error.
        nix::sys::socket::shutdown(
            std::os::fd::AsRawFd::as_raw_fd(&self.listener),
            nix::sys::socket::Shutdown::Both,
        )
        .ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

#[test]
fn a_geo_bundle_is_pulled_and_judged_by_and_bad_ones_change_nothing() {
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab, geo_bundle(1, countries("RU", "NL"), "one"));
    let host = HostFile {
        settings: format!(
            "[[source]]\nurl = \"http://{INTERNET_V4}:8081/geo.cordon\"\nkind = \"geo\"\ninterval = \"5s\"\n"
        ),
        failsafe: vec!["83.0.9.0/24".to_owned()],
        ..HostFile::default()
    };
    let mut cordon = Cordon::new(&lab, &host).unwrap();
    let keys = cordon.dir().join("state/keys");
    fs::create_dir(&keys).unwrap();
    cordon.run().unwrap();
    let refused = wait(&cordon, "no key is trusted", |status| {
        has_problem(status, "no-trusted-key")
    });
    assert_eq!(refused["sources"][0]["last_success"], Value::Null, "{refused:#}");
    assert_eq!(refused["sources"][0]["kind"], "geo");
    // With the first key, plain files are refused.
    cordon.apply(BLOCK_RU).unwrap();
    fs::write(keys.join("one.pub"), Signer::public("one")).unwrap();

    wait(&cordon, "the first bundle", |status| {
        let origin = status["database"]["origin"].as_str();
        status["sources"][0]["age_s"].is_number()
            && origin.is_some_and(|origin| origin.contains("state/geo/"))
    });
    assert_eq!((judged(&cordon, A), judged(&cordon, B)), (10, 0));
    let before = cordon.status().unwrap();
    let origin = before["database"]["origin"].as_str().unwrap();
    assert!(origin.contains("state/geo/"), "{origin}");

    server.give(geo_bundle(2, countries("NL", "RU"), "one"));
    wait(&cordon, "the second bundle", |status| {
        status["generation"] != before["generation"]
    });
    assert_eq!((judged(&cordon, A), judged(&cordon, B)), (0, 10));
    let good = cordon.status().unwrap();
    assert!(*server.n_unchanged.lock().unwrap() > 0 || good["sources"][0]["n_failures"] == 0);

    let cuts_off = MmdbWriter::new().country("83.0.0.0/16", "RU").to_bytes();
    let page = b"<html>not found</html>".to_vec();
    let garbage = [b"\xab\xcd\xefMaxMind.com".to_vec(), vec![0; 64]].concat();
    for (what, bundle, reason) in [
        (
            "older",
            geo_bundle(1, countries("RU", "NL"), "one"),
            "older-revision",
        ),
        (
            "same revision",
            geo_bundle(2, countries("RU", "NL"), "one"),
            "same-revision-other-content",
        ),
        (
            "another signer",
            geo_bundle(3, countries("RU", "NL"), "two"),
            "unknown-key",
        ),
        ("a page", page, "not-a-bundle"),
        ("no database", geo_bundle(3, garbage, "one"), "wrong-geo-data"),
        (
            "who works here is cut off",
            geo_bundle(3, cuts_off, "one"),
            "83.0.9.",
        ),
    ] {
        server.give(bundle);
        let status = wait(&cordon, what, |status| {
            has_problem(status, reason) || (reason == "not-a-bundle" && has_problem(status, "refused"))
        });
        assert_eq!(status["generation"], good["generation"], "{what}: {status:#}");
        assert_eq!((judged(&cordon, A), judged(&cordon, B)), (0, 10), "{what}");
        assert!(
            status["sources"][0]["age_s"].is_number(),
            "the last success stays: {status:#}"
        );
        assert_eq!(status["state"], "degraded", "{what}");
        let files = fs::read_dir(cordon.dir().join("state/geo")).unwrap();
        let files = files.filter(|file| {
            let name = file.as_ref().unwrap().file_name();
            !name.to_string_lossy().starts_with("last-good")
        });
        assert_eq!(files.count(), 2, "{what}: what was refused is not kept");
        // A restart looks at once, instead of after the back-off, and takes up what was in force.
        cordon.kill().unwrap();
        cordon.run().unwrap();
    }
    drop(server);
    let status = wait(&cordon, "the server is gone", |status| {
        has_problem(status, "cannot connect")
    });
    assert_eq!(
        status["generation"], good["generation"],
        "adopted after every restart: {status:#}"
    );
    assert_eq!((judged(&cordon, A), judged(&cordon, B)), (0, 10));

    // As after a boot, with a record or a database that is damaged: the copy of what was in force holds.
    let database = std::path::PathBuf::from(status["database"]["origin"].as_str().unwrap());
    let record = cordon.dir().join("state/geo/accepted.json");
    for (path, expected) in [(&database, "countries"), (&record, "accepted.json")] {
        let bytes = fs::read(path).unwrap();
        cordon.kill().unwrap();
        cordon.cordon_ok(&["detach", "--yes"]).unwrap();
        fs::write(path, "{").unwrap();
        cordon.run().unwrap();
        wait(&cordon, expected, |status| {
            has_problem(status, "the copy kept of the database in force last is used")
        });
        assert_eq!((judged(&cordon, A), judged(&cordon, B)), (0, 10), "{expected}");
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_database_that_is_replaced_is_taken_up_and_a_broken_one_is_not() {
    let lab = Lab::new().unwrap();
    let scratch = Scratch::new().unwrap();
    let path = scratch.path().join("countries.mmdb");
    let replace = |bytes: &[u8]| {
        let new = scratch.path().join("new");
        fs::write(&new, bytes).unwrap();
        fs::rename(&new, &path).unwrap();
    };
    let good = countries("RU", "NL");
    replace(&good);
    let host = HostFile {
        database: Some(path.clone()),
        failsafe: vec!["83.0.9.0/24".to_owned()],
        ..HostFile::default()
    };
    let cordon = Cordon::start(&lab, &host).unwrap();
    let test = "\n[[test]]\naddress = \"81.0.7.7\"\nexpect = \"drop\"\n";
    let policy = cordon.write_policy(&format!("{BLOCK_RU}{test}")).unwrap();
    cordon.cordon_ok(&["apply", "--no-confirm", &policy]).unwrap();
    let before = cordon.status().unwrap();
    assert_eq!((judged(&cordon, A), judged(&cordon, B)), (10, 0));

    let half = &good[..good.len() / 2];
    let cuts_off = MmdbWriter::new().country("83.0.0.0/16", "RU").to_bytes();
    for (what, bytes, expected) in [
        ("half", half, "the database read last stays"),
        ("a page", b"<html>", "the database read last stays"),
        ("who works here is cut off", &cuts_off[..], "83.0.9."),
    ] {
        replace(bytes);
        let status = wait(&cordon, what, |status| has_problem(status, expected));
        assert_eq!(status["generation"], before["generation"], "{what}");
        assert_eq!((judged(&cordon, A), judged(&cordon, B)), (10, 0), "{what}");
    }
    fs::remove_file(&path).unwrap();
    wait(&cordon, "gone", |status| has_problem(status, "is gone"));
    assert_eq!(judged(&cordon, A), 10);
    replace(&good);
    let healed = wait(&cordon, "back", |status| status["state"] == "ok");
    assert_eq!(
        healed["generation"], before["generation"],
        "the same database needs no publish"
    );

    replace(&countries("NL", "RU"));
    let after = wait(&cordon, "another one", |status| {
        status["generation"] != before["generation"]
    });
    assert_eq!((judged(&cordon, A), judged(&cordon, B)), (0, 10));
    assert!(
        has_problem(&after, "test"),
        "the policy's own test is told, no more: {after:#}"
    );
}

#[test]
fn a_database_waits_for_the_policy_that_waits_for_confirmation() {
    let lab = Lab::new().unwrap();
    let scratch = Scratch::new().unwrap();
    let path = scratch.path().join("countries.mmdb");
    fs::write(&path, countries("RU", "NL")).unwrap();
    let host = HostFile {
        database: Some(path.clone()),
        ..HostFile::default()
    };
    let cordon = Cordon::start(&lab, &host).unwrap();
    let policy = cordon.write_policy(BLOCK_RU).unwrap();
    cordon.cordon_ok(&["apply", "--confirm", "1h", &policy]).unwrap();
    let before = cordon.status().unwrap();
    fs::write(&path, countries("NL", "RU")).unwrap();
    // Longer than a change takes otherwise.
    thread::sleep(Duration::from_secs(5));
    assert_eq!(cordon.status().unwrap()["generation"], before["generation"]);
    assert_eq!(judged(&cordon, A), 10);
    cordon.cordon_ok(&["confirm"]).unwrap();
    wait(&cordon, "after the confirmation", |status| {
        status["generation"] != before["generation"]
    });
    assert_eq!((judged(&cordon, A), judged(&cordon, B)), (0, 10));
}
