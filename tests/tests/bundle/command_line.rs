//! The verbs `bundle` and `key` as their users run them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use integration_tests::cordon_process::binary;
use serde_json::Value;

use super::cases;

/// A directory in which somebody works with bundles.
pub(super) struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory for the test");
        Self { dir }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.dir().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir().join(name)).unwrap()
    }

    /// Makes and builds a bundle, `NAME-1.cordon`.
    pub fn built(&self, name: &str) {
        self.ok(&["bundle", "new", name]);
        self.ok(&["bundle", "build", name]);
    }

    /// The id of a key, by the comment in its public file.
    pub fn key_id(&self, key: &str) -> String {
        let text = String::from_utf8(self.read(&format!("{key}.pub"))).unwrap();
        let comment = text.lines().next().unwrap();
        comment.rsplit(' ').next().unwrap().to_owned()
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let output = Command::new(binary().unwrap())
            .args(args)
            .current_dir(self.dir())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// Runs a verb that must succeed.
    pub fn ok(&self, args: &[&str]) -> String {
        let (status, out, err) = self.run(args);
        assert_eq!(status, Some(0), "cordon {args:?}: {out}{err}");
        out
    }

    /// Runs a verb that must succeed, for its JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let mut with_json = args.to_vec();
        with_json.extend(["-o", "json"]);
        serde_json::from_str(&self.ok(&with_json)).unwrap()
    }

    /// Runs a verb that must fail, and say why.
    pub fn fails(&self, args: &[&str], why: &str) {
        let (status, out, err) = self.run(args);
        assert_eq!(status, Some(1), "cordon {args:?}: {out}{err}");
        assert!(err.contains(why), "cordon {args:?} should say `{why}`: {err}");
    }
}

#[test]
fn a_policy_goes_from_hand_to_host() {
    let desk = Desk::new();
    desk.ok(&["key", "new", "alice", "--no-password"]);
    desk.ok(&["key", "new", "bob", "--no-password"]);
    let mode = |name: &str| fs::metadata(desk.dir().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("alice.key"), 0o600);
    desk.ok(&[
        "key",
        "trust",
        "alice.pub",
        "--keys",
        "keys",
        "--threshold",
        "apply=2",
    ]);
    desk.ok(&[
        "key",
        "trust",
        "bob.pub",
        "--keys",
        "keys",
        "--verbs",
        "apply,halt",
    ]);

    desk.ok(&["bundle", "new", "edge"]);
    desk.write("edge/lists/office.txt", "203.0.113.0/24\n");
    desk.write(
        "edge/groups.toml",
        "[[group]]\nname = \"near\"\ncountries = [\"DE\"]\n",
    );
    let built = desk.json(&["bundle", "build", "edge"]);
    assert_eq!(
        built["sections"],
        serde_json::json!(["groups", "list:office", "policy"])
    );
    let verify = ["bundle", "verify", "edge-1.cordon", "--keys", "keys"];
    desk.fails(&verify, "unsigned");
    desk.ok(&["bundle", "sign", "edge-1.cordon", "--key", "alice.key"]);
    desk.fails(&verify, "1 of 2 trusted keys signed");
    desk.ok(&["bundle", "sign", "edge-1.cordon", "--key", "alice.key"]);
    desk.fails(&verify, "1 of 2 trusted keys signed");
    desk.ok(&["bundle", "sign", "edge-1.cordon", "--key", "bob.key"]);
    let verified = desk.json(&verify);
    assert_eq!(verified["votes"]["needed"], 2);
    assert_eq!(verified["sha256"], built["sha256"], "signing changes nothing");
    let inspected = desk.json(&["bundle", "inspect", "edge-1.cordon", "--keys", "keys"]);
    assert_eq!(inspected["signatures"][1]["is_valid"], true);
    let list = desk.ok(&["bundle", "inspect", "edge-1.cordon", "--section", "list:office"]);
    assert_eq!(list, "203.0.113.0/24\n");

    let bob = desk.key_id("bob");
    let revoked = desk.json(&["key", "revoke", &bob, "--reason", "laptop lost", "--keys", "keys"]);
    assert_eq!(revoked["out_of_reach"], serde_json::json!(["apply"]));
    desk.fails(&verify, "revoked-key");
    desk.fails(&["key", "trust", "bob.pub", "--keys", "keys"], "laptop lost");
    let listed = desk.json(&["key", "list", "--keys", "keys"]);
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1);
    assert_eq!(listed["revoked"][0]["reason"], "laptop lost");
}

#[test]
fn building_twice_gives_the_same_bytes() {
    let desk = Desk::new();
    desk.ok(&["bundle", "new", "edge"]);
    desk.ok(&["bundle", "build", "edge", "--to", "one.cordon"]);
    // Another time of day, another order of the directory.
    let policy = desk.read("edge/policy.toml");
    fs::remove_file(desk.dir().join("edge/policy.toml")).unwrap();
    desk.write("edge/policy.toml", policy);
    desk.ok(&["bundle", "build", "edge", "--to", "two.cordon"]);
    assert_eq!(desk.read("one.cordon"), desk.read("two.cordon"));
    desk.ok(&[
        "bundle",
        "build",
        "edge",
        "--to",
        "three.cordon",
        "--revision",
        "2",
    ]);
    assert_ne!(desk.read("one.cordon"), desk.read("three.cordon"));
}

#[test]
fn files_are_neither_lost_nor_left_out() {
    let desk = Desk::new();
    desk.built("edge");
    desk.fails(&["bundle", "build", "edge"], "--force");
    desk.ok(&["bundle", "build", "edge", "--force"]);
    desk.fails(&["bundle", "new", "edge"], "exists");
    desk.write("edge/notes.txt", "x");
    desk.fails(
        &["bundle", "build", "edge", "--force"],
        "notes.txt is no part of a policy bundle",
    );
    fs::remove_file(desk.dir().join("edge/notes.txt")).unwrap();
    desk.write("edge/lists/Office.txt", "x");
    desk.fails(&["bundle", "build", "edge", "--force"], "Office.txt is no list");
    desk.ok(&["key", "new", "alice", "--no-password"]);
    desk.fails(&["key", "new", "alice", "--no-password"], "alice.key exists");
    fs::set_permissions(desk.dir().join("alice.key"), fs::Permissions::from_mode(0o640)).unwrap();
    desk.fails(
        &["bundle", "sign", "edge-1.cordon", "--key", "alice.key"],
        "chmod 600",
    );
    desk.fails(
        &["bundle", "sign", "edge-1.cordon", "--key", "alice.pub"],
        "alice.pub",
    );
    desk.fails(&["key", "new", "bob"], "--password-file");
    let leftovers: Vec<PathBuf> = fs::read_dir(desk.dir())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "new"))
        .collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

#[test]
fn what_is_no_regular_file_is_not_waited_for() {
    let desk = Desk::new();
    nix::unistd::mkfifo(
        &desk.dir().join("pipe"),
        nix::sys::stat::Mode::from_bits_truncate(0o600),
    )
    .unwrap();
    fs::create_dir(desk.dir().join("dir.cordon")).unwrap();
    for path in ["pipe", "dir.cordon", "/dev/zero"] {
        for verb in ["verify", "inspect", "split"] {
            let args: &[&str] = match verb {
                "verify" => &["bundle", "verify", path, "--keys", "keys"],
                "inspect" => &["bundle", "inspect", path, "--keys", "keys"],
                _ => &["bundle", "split", path],
            };
            desk.fails(args, "not a regular file");
        }
    }
    desk.fails(
        &["bundle", "verify", "absent.cordon", "--keys", "keys"],
        "No such file",
    );
}

#[test]
fn the_real_binary_refuses_the_corpus() {
    let desk = Desk::new();
    for key in ["one", "two"] {
        desk.write(
            &format!("{key}.pub"),
            integration_tests::bundle_writer::Signer::public(key),
        );
        desk.ok(&["key", "trust", &format!("{key}.pub"), "--keys", "keys"]);
    }
    // Those whose refusal depends on nothing but the file.
    let of_the_file = cases::all()
        .into_iter()
        .filter(|case| case.class == "S6" || case.class.starts_with("S7"));
    for case in of_the_file {
        desk.write("bad.cordon", &case.bytes);
        let verify = [
            "bundle",
            "verify",
            "bad.cordon",
            "--keys",
            "keys",
            "--at",
            "2026-11-20T12:00:00Z",
        ];
        desk.fails(&verify, &format!("bad.cordon is refused: {}", case.reason));
    }
}
