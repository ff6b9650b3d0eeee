//! `apply --confirm auto` against a real kernel: what holds is confirmed, what does not is reverted by the kernel.

/// Halts and amendments meanwhile.
mod halt;

use std::{net::TcpListener, thread, time::Duration};

use integration_tests::{
    cordon_process::{Answer, Cordon, HostFile},
    images::BLOCK_RU,
    lab::{EDGE_V4, INTERNET_V4, Lab},
    mmdb_writer::MmdbWriter,
    scratch::Scratch,
};
use serde_json::Value;

/// Drops the gateway's answers too.
const CUT_OFF: &str =
    "version = 1\nname = \"cut-off\"\ndefault = \"drop\"\nunknown = \"drop\"\nreplies = false\n";

struct Edge {
    lab: Lab,
    host: HostFile,
    _scratch: Scratch,
}

fn edge(settings: &str) -> Edge {
    let scratch = Scratch::new().unwrap();
    let database = scratch.path().join("countries.mmdb");
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .write(&database)
        .unwrap();
    Edge {
        lab: Lab::new().unwrap(),
        host: HostFile {
            database: Some(database),
            settings: settings.to_owned(),
            ..HostFile::default()
        },
        _scratch: scratch,
    }
}

fn apply(cordon: &Cordon<'_>, policy: &str, window: &str) -> Answer {
    let path = cordon.write_policy(policy).unwrap();
    let confirm = format!("--confirm=auto={window}");
    cordon
        .cordon(&["apply", &confirm, "--override-lockout", "-o", "json", &path])
        .unwrap()
}

fn status(cordon: &Cordon<'_>) -> Value {
    cordon.status().unwrap()
}

#[test]
fn a_policy_under_which_the_gateway_answers_is_confirmed_and_another_one_reverted() {
    let edge = edge("");
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    let answer = apply(&cordon, BLOCK_RU, "12s");
    assert_eq!(answer.status, 0, "{answer:?}\n{}", cordon.log());
    let applied = answer.json().unwrap();
    let gateway = format!("gateway {INTERNET_V4}");
    let probes = applied["probing"]["probes"].as_array().unwrap();
    assert!(
        probes
            .iter()
            .any(|row| row["probe"] == gateway.as_str() && row["holds"] == true),
        "{applied:#}"
    );
    assert_eq!(
        (&applied["confirm_left_s"], &applied["probing"]["settle_s"]),
        (&Value::Null, &6.into())
    );
    let good = status(&cordon);
    assert_eq!(
        (good["state"].as_str(), &good["probing"]),
        (Some("ok"), &Value::Null),
        "{good:#}"
    );

    let answer = apply(&cordon, CUT_OFF, "12s");
    assert_eq!(answer.status, 1, "{answer:?}");
    let error = answer.json().unwrap()["error"].as_str().unwrap().to_owned();
    assert!(
        error.contains("cut-off was not confirmed in time") && error.contains(&gateway),
        "{error}"
    );
    let reverted = status(&cordon);
    assert_eq!(
        reverted["generation"]["number"], good["generation"]["number"],
        "{reverted:#}"
    );
    assert_eq!(reverted["policy"]["name"], good["policy"]["name"]);
    assert!(cordon.log().contains("ProbeFailed"), "it is recorded");
    apply(&cordon, BLOCK_RU, "12s");
    assert_eq!(status(&cordon)["state"], "ok", "an earlier revert is forgotten");
}

#[test]
fn a_probe_that_failed_before_does_not_count_and_one_that_fails_after_does() {
    let edge = edge(&format!(
        "[[probe]]\ntcp = \"{INTERNET_V4}:8081\"\n[[probe]]\ntcp = \"{INTERNET_V4}:8082\"\n"
    ));
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    let none = apply(&cordon, BLOCK_RU, "12s");
    assert_eq!(none.status, 1, "{none:?}");
    let error = none.json().unwrap()["error"].as_str().unwrap().to_owned();
    assert!(
        error.contains("no probe holds") && error.contains("8081"),
        "{error}"
    );
    assert_eq!(status(&cordon)["state"], "not_enforcing", "nothing was published");

    let listener = edge
        .lab
        .internet
        .run(|| TcpListener::bind((INTERNET_V4, 8081)))
        .unwrap();
    let applied = apply(&cordon, BLOCK_RU, "12s");
    assert_eq!(applied.status, 0, "{applied:?}");
    let left_out = &applied.json().unwrap()["probing"]["left_out"];
    assert!(left_out[0].as_str().unwrap().contains("8082"), "{left_out}");

    // Gone while the probes run: the policy is not confirmed, though it is not to blame.
    let good = status(&cordon)["generation"]["number"].clone();
    let dies = thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                if !status(&cordon)["probing"].is_null() {
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
            drop(listener);
        });
        apply(
            &cordon,
            "version = 1\ndefault = \"pass\"\nunknown = \"pass\"\nlan = \"drop\"\n",
            "12s",
        )
    });
    assert_eq!(dies.status, 1, "{dies:?}");
    assert!(dies.stdout.contains("8081: no connection"), "{dies:?}");
    assert_eq!(status(&cordon)["generation"]["number"], good);
}

#[test]
fn a_policy_that_drops_far_more_than_before_is_reverted() {
    let edge = edge("[[probe]]\nmax_drop_share = 0.3\n");
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon
        .apply("version = 1\ndefault = \"pass\"\nunknown = \"pass\"\n")
        .unwrap();
    cordon.wait_attached().unwrap();
    let sending = std::sync::atomic::AtomicBool::new(true);
    let answer = thread::scope(|scope| {
        scope.spawn(|| {
            edge.lab.internet.run(|| {
                let socket = std::net::UdpSocket::bind("81.0.7.7:0").unwrap();
                while sending.load(std::sync::atomic::Ordering::Relaxed) {
                    // Nobody listens: the answer to that ends up as an error of the next call.
                    drop(socket.send_to(b"x", (EDGE_V4, 9)));
                    thread::sleep(Duration::from_millis(1));
                }
            });
        });
        let answer = apply(&cordon, BLOCK_RU, "12s");
        sending.store(false, std::sync::atomic::Ordering::Relaxed);
        answer
    });
    assert_eq!(answer.status, 1, "{answer:?}");
    assert!(answer.stdout.contains("drop share"), "{answer:?}");
    let quiet = apply(&cordon, BLOCK_RU, "12s");
    assert_eq!(quiet.status, 0, "few packets say nothing: {quiet:?}");
}
