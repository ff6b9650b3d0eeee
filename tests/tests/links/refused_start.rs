//! A daemon that cannot do its work says at its start what is missing.

use std::{
    ffi::OsStr,
    process::{Command, Stdio},
};

use integration_tests::{
    cordon_process::{Cordon, binary},
    scratch::Scratch,
};

use super::{Edge, edge, says};

/// What `cordon run` says when it is started by another program and ends at once.
fn run_by(edge: &Edge, cordon: &Cordon<'_>, program: &str, args: &[&OsStr]) -> String {
    let mut command: Command = edge.lab.edge.command(program);
    command
        .args(args)
        .arg(binary().unwrap())
        .arg("-c")
        .arg(cordon.dir().join("cordon.toml"))
        .arg("run")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn without_capabilities_the_error_names_them() {
    let edge = edge();
    let cordon = Cordon::new(&edge.lab, &edge.host).unwrap();
    let text = run_by(
        &edge,
        &cordon,
        "setpriv",
        &["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"].map(OsStr::new),
    );
    says(&text, &["lack of privilege", "CAP_BPF", "CAP_NET_ADMIN"]);
}

#[test]
fn without_a_bpffs_the_error_names_the_mount() {
    let edge = edge();
    let cordon = Cordon::new(&edge.lab, &edge.host).unwrap();
    let bpffs = cordon.dir().join("bpf");
    let text = run_by(
        &edge,
        &cordon,
        "unshare",
        &[
            OsStr::new("--mount"),
            OsStr::new("sh"),
            OsStr::new("-c"),
            OsStr::new("umount \"$0\" && exec \"$@\""),
            bpffs.as_os_str(),
        ],
    );
    says(
        &text,
        &[
            "not on a BPF filesystem",
            "mount -t bpf bpf /sys/fs/bpf",
            "pin_dir",
        ],
    );
}

#[test]
fn two_daemons_do_not_share_a_state_directory() {
    let edge = edge();
    let running = Cordon::start(&edge.lab, &edge.host).unwrap();
    let other = Cordon::new(&edge.lab, &edge.host).unwrap();
    let scratch = Scratch::new().unwrap();
    let text = std::fs::read_to_string(other.dir().join("cordon.toml")).unwrap();
    let own = format!("state_dir = {:?}", other.dir().join("state"));
    let theirs = format!("state_dir = {:?}", running.dir().join("state"));
    assert!(text.contains(&own));
    let config = scratch.path().join("cordon.toml");
    std::fs::write(&config, text.replace(&own, &theirs)).unwrap();
    let output = edge
        .lab
        .edge
        .command(binary().unwrap())
        .arg("-c")
        .arg(&config)
        .arg("run")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    says(&text, &["in use by another cordon daemon", "state_dir"]);
    running.cordon_ok(&["status"]).unwrap();
}
