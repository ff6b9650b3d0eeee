use std::{fs, os::unix::fs::symlink};

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
