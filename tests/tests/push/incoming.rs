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
    let rejected = cordon.dir().join("state/incoming/rejected");
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
