use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use integration_tests::lab::INTERNET_V4;

use super::*;

fn move_in(cordon: &Cordon<'_>, name: &str, bytes: &[u8]) {
    let outside = write(cordon, "outside", bytes);
    fs::rename(outside, cordon.dir().join("state/incoming").join(name)).unwrap();
}

fn wait_gone(cordon: &Cordon<'_>, name: &str) {
    let path = cordon.dir().join("state/incoming").join(name);
    wait(cordon, &format!("{name} is taken"), |_| {
        fs::symlink_metadata(&path).is_err()
    });
}

fn reason(cordon: &Cordon<'_>, name: &str) -> String {
    let rejected = cordon.dir().join("state/rejected");
    assert!(
        fs::symlink_metadata(rejected.join(name)).is_ok(),
        "{name} is kept"
    );
    let text = fs::read_to_string(rejected.join(format!("{name}.reason.json"))).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    value["reason"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_moved_in_is_taken_or_put_aside_with_the_reason() {
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    move_in(
        &cordon,
        "edge-3.cordon",
        &Issue::new(3, &drops(&["RU"])).bytes(&["one"]),
    );
    wait(&cordon, "it is in force", |status| {
        status["bundle"]["revision"] == 3
    });
    wait_gone(&cordon, "edge-3.cordon");
    let digest = status(&cordon)["bundle"]["digest"].as_str().unwrap().to_owned();
    let kept = cordon.dir().join(format!("state/bundles/{digest}.cordon"));
    assert!(kept.exists(), "it is kept whole");
    let generation = status(&cordon)["generation"].clone();

    move_in(
        &cordon,
        "old.cordon",
        &Issue::new(2, &drops(&["NL"])).bytes(&["one"]),
    );
    move_in(
        &cordon,
        "unsigned.cordon",
        &Issue::new(4, &drops(&["NL"])).bytes(&[]),
    );
    move_in(&cordon, "page.cordon", b"<!DOCTYPE html>");
    let secret = write(&cordon, "secret", b"precious");
    symlink(&secret, cordon.dir().join("state/incoming/link.cordon")).unwrap();
    fs::write(cordon.dir().join("state/incoming/notes.txt"), "mine").unwrap();
    for (name, expected) in [
        ("old.cordon", "older-revision"),
        ("unsigned.cordon", "unsigned"),
        ("page.cordon", "not-a-bundle"),
        ("link.cordon", "unreadable"),
    ] {
        wait_gone(&cordon, name);
        assert_eq!(reason(&cordon, name), expected);
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), "precious");
    assert!(
        cordon.dir().join("state/incoming/notes.txt").exists(),
        "it is no bundle"
    );
    move_in(&cordon, "again.cordon", &fs::read(&kept).unwrap());
    wait_gone(&cordon, "again.cordon");
    let after = status(&cordon);
    assert_eq!(
        (&after["generation"], after["state"].as_str()),
        (&generation, Some("ok")),
        "{after:#}"
    );
}

#[test]
fn what_lies_there_at_the_start_is_taken_and_a_directory_for_everybody_is_not_read() {
    let edge = edge();
    let mut cordon = managed(&edge, &["one"]);
    cordon.kill().unwrap();
    move_in(
        &cordon,
        "edge-1.cordon",
        &Issue::new(1, &drops(&["RU"])).bytes(&["one"]),
    );
    cordon.run().unwrap();
    wait(&cordon, "it is in force", |status| {
        status["bundle"]["revision"] == 1
    });

    let dir = cordon.dir().join("state/incoming");
    fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o733)).unwrap();
    move_in(
        &cordon,
        "edge-2.cordon",
        &Issue::new(2, &drops(&["NL"])).bytes(&["one"]),
    );
    let after = wait(&cordon, "it is a problem", |status| {
        status["problems"].to_string().contains("chmod o-w")
    });
    assert_eq!(after["bundle"]["revision"], 1, "{after:#}");
}

/// Nobody waits for it: where the host file asks for it, the probes say whether it stays.
#[test]
fn what_is_moved_in_is_confirmed_by_the_probes_where_the_host_file_says_so() {
    let mut edge = edge();
    edge.host.settings += &format!("confirm_unattended = 12\n[[probe]]\ntcp = \"{INTERNET_V4}:8081\"\n");
    let listener = edge
        .lab
        .internet
        .run(|| TcpListener::bind((INTERNET_V4, 8081)))
        .unwrap();
    let cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU", "NL"])));
    cordon.wait_attached().unwrap();
    let arrives = |revision, countries: &[&str]| {
        let name = format!("edge-{revision}.cordon");
        let bytes = Issue::new(revision, &drops(countries)).bytes(&["one"]);
        move_in(&cordon, &name, &bytes);
        wait(&cordon, "it waits", |status| {
            status["bundle"]["revision"] == revision && !status["confirm_left_s"].is_null()
        });
    };
    arrives(2, &["RU"]);
    wait(&cordon, "it is confirmed", |status| {
        status["confirm_left_s"].is_null()
    });
    assert_eq!(status(&cordon)["bundle"]["revision"], 2);
    arrives(3, &["NL"]);
    drop(listener);
    let after = wait(&cordon, "it is reverted", |status| {
        status["reverted"] == true && status["bundle"]["revision"] == 2
    });
    assert!(after["problems"].to_string().contains("8081"), "{after:#}");
    assert_eq!((judged(&cordon, RU), judged(&cordon, NL)), (10, 0));
}

#[test]
fn the_directories_are_made_again_when_somebody_removed_them() {
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(3, &drops(&["RU"])));
    let rejected = cordon.dir().join("state/rejected");
    fs::remove_dir_all(&rejected).unwrap();
    move_in(
        &cordon,
        "old.cordon",
        &Issue::new(2, &drops(&["NL"])).bytes(&["one"]),
    );
    wait_gone(&cordon, "old.cordon");
    assert_eq!(reason(&cordon, "old.cordon"), "older-revision");
    assert_eq!(
        fs::metadata(&rejected).unwrap().permissions().mode() & 0o777,
        0o700
    );
    assert_eq!(problems(&cordon), "");

    let incoming = cordon.dir().join("state/incoming");
    fs::remove_dir_all(&incoming).unwrap();
    wait(&cordon, "it is there again", |_| incoming.exists());
    move_in(
        &cordon,
        "edge-4.cordon",
        &Issue::new(4, &drops(&["NL"])).bytes(&["one"]),
    );
    wait(&cordon, "it is taken", |status| status["bundle"]["revision"] == 4);
    wait(&cordon, "all is well", |status| status["state"] == "ok");
}

/// Something that is wrong on the host holds up no other bundle, and the bundle stays.
#[test]
fn what_cannot_be_taken_now_waits_and_lets_the_others_by() {
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    accepted(&cordon, &Issue::new(1, &drops(&["RU"])));
    let second = Issue::new(2, &drops(&["NL"])).write(&cordon);
    let (_, waiting) = push_with(&cordon, &second, &["--confirm", "10m"]);
    assert_eq!(waiting["outcome"], "accepted", "{waiting:#}");
    move_in(&cordon, "a-geo.cordon", &geo_bundle(7));
    let long = format!("{}.cordon", "n".repeat(240));
    move_in(&cordon, &long, b"garbage");
    move_in(
        &cordon,
        "z-halt.cordon",
        &directive(1, "verb = \"halt\"", &["one"]),
    );
    let halted = wait(&cordon, "the halt is followed", |status| {
        !status["halted"].is_null()
    });
    wait_gone(&cordon, "z-halt.cordon");
    wait_gone(&cordon, &long);
    assert!(problems(&cordon).contains("a-geo.cordon"), "{halted:#}");
    assert!(cordon.dir().join("state/incoming/a-geo.cordon").exists());
    assert!(!cordon.dir().join("state/rejected/a-geo.cordon").exists());
    // What is opened is written with what was refused before.
    cordon.cordon_ok(&["resume"]).unwrap();
    let records = records(&cordon);
    let is_refused = |record: &Record| {
        let source = record.what["source"].as_str().unwrap_or_default();
        record.event_name() == "reject" && source.ends_with("a-geo.cordon")
    };
    assert!(records.iter().any(is_refused), "{records:?}");
    cordon.cordon_ok(&["confirm"]).unwrap();
    // Under another name it is tried at once.
    let incoming = cordon.dir().join("state/incoming");
    fs::rename(incoming.join("a-geo.cordon"), incoming.join("geo.cordon")).unwrap();
    wait_gone(&cordon, "geo.cordon");
    wait(&cordon, "all is well", |status| {
        !status["problems"].to_string().contains("geo")
    });
}

#[test]
fn keys_that_cannot_be_read_reject_nothing() {
    let edge = edge();
    let cordon = managed(&edge, &["one"]);
    let rules = cordon.dir().join("state/keys/trust.toml");
    let good = fs::read(&rules).unwrap();
    fs::write(&rules, "version = 99\n").unwrap();
    let bundle = Issue::new(1, &drops(&["RU"])).bytes(&["one"]);
    move_in(&cordon, "edge.cordon", &bundle);
    wait(&cordon, "it is a problem", |status| {
        status["problems"].to_string().contains("edge.cordon")
    });
    fs::write(&rules, good).unwrap();
    let incoming = cordon.dir().join("state/incoming");
    fs::rename(incoming.join("edge.cordon"), incoming.join("again.cordon")).unwrap();
    wait(&cordon, "it is in force", |status| {
        status["bundle"]["revision"] == 1
    });
}
