//! The session that applies a policy is found by its environment, and is not cut off by accident.

use std::{net::TcpListener, process::Command};

use integration_tests::{
    cordon_process::{Cordon, HostFile},
    images::BLOCK_RU,
    lab::Lab,
    mmdb_writer::MmdbWriter,
    scratch::Scratch,
};

const PEER: &str = "81.0.7.7";

#[test]
fn a_policy_that_drops_the_ssh_peer_of_the_caller_is_refused_unless_overridden() {
    let scratch = Scratch::new().unwrap();
    let database = scratch.path().join("countries.mmdb");
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .country("82.0.0.0/16", "NL")
        .write(&database)
        .unwrap();
    let lab = Lab::new().unwrap();
    let host = HostFile {
        database: Some(database),
        ..HostFile::default()
    };
    let cordon = Cordon::start(&lab, &host).unwrap();
    let policy = cordon.write_policy(BLOCK_RU).unwrap();
    let apply_from = |peer: &str, more: &[&str]| {
        let mut args = vec!["apply", "--no-confirm"];
        args.extend(more);
        args.push(&policy);
        cordon
            .command(&args)
            .unwrap()
            .env("SSH_CONNECTION", format!("{peer} 50522 198.18.0.1 22"))
            .output()
            .unwrap()
    };

    let refused = apply_from(PEER, &[]);
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    for expected in [PEER, "--override-lockout"] {
        assert!(stderr.contains(expected), "`{expected}` is missing: {stderr}");
    }
    assert!(
        cordon.status().unwrap()["generation"].is_null(),
        "nothing was published"
    );

    let forced = apply_from(PEER, &["--override-lockout"]);
    let stdout = String::from_utf8_lossy(&forced.stdout).into_owned();
    assert_eq!(forced.status.code(), Some(0), "{forced:?}");
    assert!(stdout.contains(&format!("overridden: {PEER}")), "{stdout}");
    let judged = cordon.cordon(&["explain", PEER, "--quiet"]).unwrap();
    assert_eq!(judged.status, 10, "the peer is dropped now: {judged:?}");

    let other = apply_from("82.0.7.7", &[]);
    assert_eq!(other.status.code(), Some(0), "a peer that passes: {other:?}");
}

/// Anybody may open a connection to the SSH port. Whoever has logged in by one counts, and whoever has not is only said.
#[test]
fn a_connection_to_the_ssh_port_vetoes_nothing_unless_somebody_logged_in_by_it() {
    let scratch = Scratch::new().unwrap();
    let database = scratch.path().join("countries.mmdb");
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .country("82.0.0.0/16", "NL")
        .write(&database)
        .unwrap();
    let lab = Lab::new().unwrap();
    let host = HostFile {
        database: Some(database),
        settings: "ssh_ports = [22, 2222]\n".to_owned(),
        ..HostFile::default()
    };
    let cordon = Cordon::start(&lab, &host).unwrap();
    let listener = lab.edge.run(|| TcpListener::bind("0.0.0.0:2222")).unwrap();
    let _stranger = lab.connect(PEER.parse().unwrap(), 2222).unwrap();
    let _accepted = listener.accept().unwrap();
    cordon.apply(BLOCK_RU).unwrap();
    let halt = |more: &[&str]| {
        let args = [&["halt", "--reason", "drill"], more].concat();
        cordon.cordon(&args).unwrap()
    };
    let halted = halt(&[]);
    assert_eq!(halted.status, 0, "{halted:?}");
    assert!(
        halted.stdout.contains(PEER),
        "a halt says whom it cuts off: {halted:?}"
    );
    cordon.cordon_ok(&["resume"]).unwrap();

    // What an SSH server gives to those whom it knows.
    let mut session = Command::new("sleep")
        .arg("60")
        .env("SSH_CONNECTION", format!("{PEER} 50522 198.18.0.1 2222"))
        .spawn()
        .unwrap();
    let refused = halt(&[]);
    let policy = cordon
        .write_policy(&format!(
            "{BLOCK_RU}[[deny]]\nprefixes = [\"81.0.9.0/24\"]\nreason = \"x\"\n"
        ))
        .unwrap();
    let apply = cordon.cordon(&["apply", "--no-confirm", &policy]).unwrap();
    session.kill().unwrap();
    session.wait().unwrap();
    for refused in [refused, apply] {
        assert!(
            refused.status == 1 && refused.stderr.contains(PEER),
            "{refused:?}"
        );
    }
}
