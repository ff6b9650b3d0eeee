//! Stock minisign, Debian's package, and cordon take each other's keys and signatures.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use super::command_line::Desk;

fn minisign(dir: &Path, args: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new("minisign")
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("minisign is installed: `cargo xtask setup`");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn stock_minisign_checks_what_cordon_signed() {
    let desk = Desk::new();
    desk.write("password", "a password\n");
    desk.ok(&["key", "new", "plain", "--no-password"]);
    desk.ok(&["key", "new", "protected", "--password-file", "password"]);
    desk.built("edge");
    desk.ok(&["bundle", "sign", "edge-1.cordon", "--key", "plain.key"]);
    let protected = [
        "bundle",
        "sign",
        "edge-1.cordon",
        "--key",
        "protected.key",
        "--password-file",
        "password",
    ];
    desk.ok(&protected);
    let split = desk.json(&["bundle", "split", "edge-1.cordon", "--to", "parts"]);
    let signatures = split["signatures"].as_array().unwrap();
    assert_eq!(signatures.len(), 2);
    for key in ["plain", "protected"] {
        let id = desk.key_id(key);
        let signature = format!("parts/edge-1.{id}.minisig");
        let check = |payload: &str| {
            let public = format!("{key}.pub");
            minisign(
                desk.dir(),
                &["-V", "-p", &public, "-m", payload, "-x", &signature],
                "",
            )
        };
        let (is_good, said) = check("parts/edge-1.payload");
        assert!(
            is_good && said.contains("Signature and comment signature verified"),
            "{said}"
        );
        fs::copy(
            desk.dir().join("parts/edge-1.payload"),
            desk.dir().join("altered"),
        )
        .unwrap();
        let mut altered = fs::OpenOptions::new()
            .append(true)
            .open(desk.dir().join("altered"))
            .unwrap();
        altered.write_all(b"\n").unwrap();
        let (is_good, said) = check("altered");
        assert!(!is_good, "{said}");
    }
    desk.ok(&[
        "bundle",
        "join",
        "parts/edge-1.payload",
        "--to",
        "unsigned.cordon",
    ]);
    let files: Vec<&str> = signatures.iter().map(|file| file.as_str().unwrap()).collect();
    let mut join = vec!["bundle", "join", "parts/edge-1.payload", "--to", "again.cordon"];
    join.extend(files);
    desk.ok(&join);
    assert_eq!(
        desk.read("again.cordon"),
        desk.read("edge-1.cordon"),
        "join is the reverse of split"
    );
    desk.fails(
        &["bundle", "verify", "unsigned.cordon", "--keys", "keys"],
        "no-trusted-key",
    );
}

#[test]
fn cordon_takes_the_keys_and_signatures_of_stock_minisign() {
    let desk = Desk::new();
    desk.built("edge");
    desk.ok(&["bundle", "split", "edge-1.cordon", "--to", "."]);
    for (key, args, typed) in [
        (
            "plain",
            &["-G", "-W", "-p", "plain.pub", "-s", "plain.key"][..],
            "",
        ),
        (
            "protected",
            &["-G", "-p", "protected.pub", "-s", "protected.key"],
            "pass word\npass word\n",
        ),
    ] {
        let (is_made, said) = minisign(desk.dir(), args, typed);
        assert!(is_made, "{said}");
        let keys = format!("{key}-keys");
        desk.ok(&["key", "trust", &format!("{key}.pub"), "--keys", &keys]);

        let secret = format!("{key}.key");
        let (is_signed, said) = minisign(desk.dir(), &["-S", "-s", &secret, "-m", "edge-1.payload"], typed);
        assert!(is_signed, "{said}");
        let joined = format!("{key}.cordon");
        desk.ok(&[
            "bundle",
            "join",
            "edge-1.payload",
            "edge-1.payload.minisig",
            "--to",
            &joined,
        ]);
        desk.ok(&["bundle", "verify", &joined, "--keys", &keys]);

        desk.write("password", "pass word\n");
        let signed = format!("{key}-by-cordon.cordon");
        let sign = [
            "bundle",
            "sign",
            "edge-1.cordon",
            "--to",
            &signed,
            "--key",
            &secret,
            "--password-file",
            "password",
        ];
        desk.ok(&sign);
        desk.ok(&["bundle", "verify", &signed, "--keys", &keys]);
    }
    let (is_signed, said) = minisign(
        desk.dir(),
        &["-S", "-l", "-s", "plain.key", "-m", "edge-1.payload"],
        "",
    );
    assert!(is_signed, "{said}");
    let join = [
        "bundle",
        "join",
        "edge-1.payload",
        "edge-1.payload.minisig",
        "--to",
        "legacy.cordon",
    ];
    desk.fails(&join, "malformed-signature");
}
