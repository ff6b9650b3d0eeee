//! The command line through the real binary: wrong arguments, broken inputs, `init`, an absent daemon. Nothing
//! here touches the kernel.

/// What `init` makes of a machine.
mod init;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use integration_tests::cordon_process::binary;
use serde_json::Value;

/// A directory with a host file that points into it, so that no test reads or writes the machine's own.
struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    fn new(extra: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let host = Self { dir };
        let path = |name: &str| host.path(name).display().to_string();
        let text = format!(
            "interfaces = [\"probe0\"]\n{extra}\npin_dir = {:?}\nstate_dir = {:?}\nrun_dir = {:?}\n",
            path("pins"),
            path("state"),
            path("run")
        );
        host.write("cordon.toml", &text);
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("its directory");
        fs::write(&path, content).expect("a file for the test");
        path
    }

    fn cordon(&self, args: &[&str]) -> Answer {
        let config = self.path("cordon.toml").display().to_string();
        let mut all = vec!["-c", &config];
        all.extend(args);
        cordon(&all)
    }
}

/// What the binary answered.
#[derive(Debug)]
struct Answer {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn command() -> Command {
    let mut command = Command::new(binary().expect("the cordon binary"));
    command
        .stdin(Stdio::null())
        .env_remove("SSH_CONNECTION")
        .env_remove("SSH_CLIENT");
    command
}

fn cordon(args: &[&str]) -> Answer {
    answer(command().args(args).output().expect("cordon runs"))
}

fn answer(output: Output) -> Answer {
    Answer {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

const VERBS: [&str; 23] = [
    "init", "observe", "apply", "confirm", "status", "explain", "halt", "resume", "check", "run", "doctor",
    "history", "rollback", "exempt", "lift", "unlift", "watch", "detach", "bundle", "key", "audit", "import",
    "support",
];

/// A policy that needs nothing of the database.
const PASS: &str = "version = 1\nname = \"pass\"\ndefault = \"pass\"\nunknown = \"pass\"\n";

#[test]
fn a_wrong_command_line_is_status_2_and_says_what_is_wrong() {
    let table: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["frobnicate"], "frobnicate"),
        (&["--frobnicate"], "--frobnicate"),
        (&["-o", "yaml", "status"], "yaml"),
        (&["-c"], "--config"),
        (&["init", "surplus"], "surplus"),
        (&["observe"], "IFNAME"),
        (&["observe", "eth0", "--for", "10"], "unit is missing"),
        (&["observe", "eth0", "--for", "0s"], "at least one second"),
        (&["observe", "eth0", "--for", "2w"], "no unit of time"),
        (&["run", "surplus"], "surplus"),
        (&["check"], "FILE"),
        (&["check", "one.toml", "two.toml"], "two.toml"),
        (&["apply"], "FILE"),
        (&["apply", "p.toml", "--confirm"], "--confirm"),
        (&["apply", "p.toml", "--confirm", "soon"], "soon"),
        (
            &["apply", "p.toml", "--confirm", "9s", "--no-confirm"],
            "--no-confirm",
        ),
        (&["confirm", "surplus"], "surplus"),
        (&["status", "--chekc"], "--check"),
        (&["explain"], "ADDRESS"),
        (&["explain", "192.0.2"], "192.0.2"),
        (&["explain", "192.0.2.0/24"], "192.0.2.0/24"),
        (
            &["explain", "192.0.2.1", "--at", "2026-01-01T00:00:00Z"],
            "--policy",
        ),
        (
            &["explain", "192.0.2.1", "--policy", "p.toml", "--at", "tomorrow"],
            "tomorrow",
        ),
        (&["halt"], "--reason"),
        (&["halt", "--reason"], "--reason"),
        (&["halt", "--for", "-1h", "--reason", "x"], "-1"),
        (&["resume", "--for", "1h"], "--for"),
        (&["detach", "eth0"], "eth0"),
    ];
    for (args, expected) in table {
        let answer = cordon(args);
        assert_eq!(answer.status, Some(2), "cordon {args:?}: {answer:?}");
        assert!(
            answer.stderr.contains(expected),
            "cordon {args:?} should name `{expected}`: {answer:?}"
        );
        assert_eq!(answer.stdout, "", "cordon {args:?}");
    }
}

#[test]
fn every_verb_has_help() {
    let help = cordon(&["--help"]);
    assert_eq!(help.status, Some(0), "{help:?}");
    let mut last = 0;
    for verb in VERBS {
        let at = help
            .stdout
            .find(&format!("\n  {verb}"))
            .unwrap_or_else(|| panic!("{verb} is not in the help"));
        assert!(
            at > last,
            "the verbs of the first day come first; {verb} is out of order"
        );
        last = at;
        let answer = cordon(&[verb, "--help"]);
        assert_eq!(answer.status, Some(0), "{verb}: {answer:?}");
        assert!(answer.stdout.contains("Usage: cordon"), "{verb}: {answer:?}");
    }
    assert_eq!(cordon(&["--version"]).status, Some(0));
}

#[test]
fn a_broken_input_is_status_1_and_names_the_file() {
    let good = Host::new("");
    let policy = good.write("good.toml", PASS).display().to_string();
    let broken = good
        .write("broken.toml", "version = 1\ndefault = \"maybe\"\n")
        .display()
        .to_string();
    let binary = good
        .write("binary.toml", [0xff, 0xfe, 0x00])
        .display()
        .to_string();
    let absent = good.path("absent.toml").display().to_string();

    let bad_host = Host::new("xdp_mode = \"turbo\"");
    let html = Host::new("database = \"DB\"");
    let database = html.write("geo.mmdb", "<!DOCTYPE html><title>Sign in</title>");
    let text = fs::read_to_string(html.path("cordon.toml")).expect("the host file");
    html.write(
        "cordon.toml",
        text.replace("\"DB\"", &format!("{:?}", database.display().to_string())),
    );

    let table: &[(&Host, &[&str], &str)] = &[
        (&good, &["check", &broken], "broken.toml:2"),
        (&good, &["check", &absent], "absent.toml"),
        (&good, &["check", &binary], "binary.toml"),
        (&good, &["apply", &absent], "absent.toml"),
        (
            &good,
            &["explain", "192.0.2.1", "--policy", &broken],
            "broken.toml:2",
        ),
        (
            &good,
            &["explain", "192.0.2.1", "--policy", &absent],
            "absent.toml",
        ),
        (&bad_host, &["check", &policy], "cordon.toml:2"),
        (&bad_host, &["status"], "cordon.toml:2"),
        (&bad_host, &["run"], "cordon.toml:2"),
        (&bad_host, &["detach", "--yes"], "cordon.toml:2"),
        (&html, &["check", &policy], "geo.mmdb"),
        (&html, &["observe", "lo"], "geo.mmdb"),
    ];
    for (host, args, expected) in table {
        let text = host.cordon(args);
        assert_eq!(text.status, Some(1), "cordon {args:?}: {text:?}");
        assert!(
            text.stderr.contains(expected),
            "cordon {args:?} should name `{expected}`: {text:?}"
        );
        assert!(text.stderr.contains("error: "), "cordon {args:?}: {text:?}");
        if args[0] == "run" {
            continue;
        }
        let mut with_json = args.to_vec();
        with_json.extend(["-o", "json"]);
        let json = host.cordon(&with_json);
        assert_eq!(json.status, Some(1), "cordon {with_json:?}: {json:?}");
        let value: Value = serde_json::from_str(&json.stdout).expect("an error as JSON");
        assert!(
            value["error"].is_string() && value["diagnostics"].is_array(),
            "{value}"
        );
    }
}

/// Runs the binary with bounded memory and time: an input that is read without end must fail a test, not the
/// machine.
fn cordon_bounded(args: &[&str]) -> Answer {
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -v 4000000; exec \"$@\"", "sh"])
        .arg(binary().expect("the cordon binary"))
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cordon runs");
    let deadline = Instant::now() + Duration::from_secs(30);
    while child.try_wait().expect("the state of the child").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
            panic!("cordon {args:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    answer(child.wait_with_output().expect("the child's output"))
}

#[test]
fn what_is_no_readable_text_is_refused_at_once_wherever_a_file_is_named() {
    let host = Host::new("");
    let policy = host.write("good.toml", PASS).display().to_string();
    let config = host.path("cordon.toml").display().to_string();
    let latin1 = host.write("latin1.toml", b"version = 1\nname = \"caf\xe9\"\n");
    let large = host.path("large.toml");
    fs::File::create(&large)
        .and_then(|file| file.set_len(3 << 30))
        .expect("a sparse file");
    let fifo = host.path("fifo.toml");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let dir = host.dir.path().to_owned();
    let inputs: &[(&Path, &str, u64)] = &[
        (&latin1, "not UTF-8", 2),
        (&large, "too large", 0),
        (&fifo, "not a regular file", 0),
        (&dir, "not a regular file", 0),
        (Path::new("/dev/zero"), "not a regular file", 0),
    ];
    for (path, message, line) in inputs {
        let path = path.display().to_string();
        let uses: [&[&str]; 7] = [
            &["-c", &config, "check", &path],
            &["-c", &config, "apply", &path],
            &["-c", &config, "explain", "192.0.2.1", "--policy", &path],
            &["-c", &path, "check", &policy],
            &["-c", &path, "status"],
            &["-c", &path, "run"],
            &["-c", &path, "detach", "--yes"],
        ];
        for args in uses {
            let text = cordon_bounded(args);
            assert_eq!(text.status, Some(1), "cordon {args:?}: {text:?}");
            for expected in [path.as_str(), message, "fix: ", "error: cannot read the "] {
                assert!(
                    text.stderr.contains(expected),
                    "cordon {args:?} should say `{expected}`: {text:?}"
                );
            }
            let mut with_json = args.to_vec();
            with_json.extend(["-o", "json"]);
            let json = cordon_bounded(&with_json);
            assert_eq!(json.status, Some(1), "cordon {with_json:?}: {json:?}");
            let value: Value = serde_json::from_str(&json.stdout).expect("an error as JSON");
            let remark = &value["diagnostics"][0];
            assert_eq!(
                (remark["file"].as_str(), remark["line"].as_u64()),
                (Some(path.as_str()), Some(*line)),
                "{value}"
            );
            assert!(
                remark["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(message)),
                "{value}"
            );
        }
    }
}

#[test]
fn a_missing_host_file_is_refused_where_it_was_named() {
    let answer = cordon(&["-c", "/nonexistent/cordon.toml", "status"]);
    assert_eq!(answer.status, Some(1), "{answer:?}");
    assert!(answer.stderr.contains("/nonexistent/cordon.toml"), "{answer:?}");
    assert!(answer.stderr.contains("cordon init"), "{answer:?}");
}

#[test]
fn sources_that_no_policy_is_asked_about_are_explained_offline() {
    let host = Host::new("");
    let drop = "version = 1\ndefault = \"drop\"\nunknown = \"drop\"\nlan = \"drop\"\n";
    let drop = host.write("drop.toml", drop).display().to_string();
    let pass = host.write("pass.toml", PASS).display().to_string();
    for (address, policy, expected, status) in [
        ("169.254.7.7", &drop, "always passes: link-local", 0),
        ("fe80::7", &drop, "always passes: link-local", 0),
        (
            "::ffff:192.0.2.1",
            &pass,
            "always dropped: an IPv4-mapped source",
            10,
        ),
    ] {
        let answer = host.cordon(&["explain", address, "--policy", policy]);
        assert_eq!(answer.status, Some(0), "{answer:?}");
        assert!(answer.stdout.contains(expected), "{answer:?}");
        let quiet = host.cordon(&["explain", address, "--policy", policy, "--quiet"]);
        assert_eq!(
            (quiet.status, quiet.stdout.as_str()),
            (Some(status), ""),
            "{address}"
        );
    }
}

#[test]
fn an_absent_daemon_is_named_with_the_fix() {
    let host = Host::new("");
    let policy = host.write("good.toml", PASS).display().to_string();
    let verbs: &[&[&str]] = &[
        &["status"],
        &["apply", &policy],
        &["confirm"],
        &["explain", "192.0.2.1"],
        &["halt", "--reason", "drill"],
        &["resume"],
    ];
    for args in verbs {
        let answer = host.cordon(args);
        assert_eq!(answer.status, Some(1), "cordon {args:?}: {answer:?}");
        assert!(
            answer.stderr.contains("run/control.sock"),
            "cordon {args:?}: {answer:?}"
        );
        assert!(
            answer.stderr.contains("systemctl start cordon"),
            "cordon {args:?}: {answer:?}"
        );
    }
    assert_eq!(host.cordon(&["status", "--check"]).status, Some(3), "unknown");
}

#[test]
fn a_daemon_without_a_bpffs_refuses_to_start_and_leaves_no_socket() {
    let host = Host::new("");
    let answer = host.cordon(&["run"]);
    assert_eq!(answer.status, Some(1), "{answer:?}");
    assert!(answer.stderr.contains("mount -t bpf bpf"), "{answer:?}");
    assert!(!host.path("run/control.sock").exists());
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let mut child = command()
        .args(["init", "--stdout", "--root", "/nonexistent"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cordon runs");
    drop(child.stdout.take());
    let answer = answer(child.wait_with_output().expect("cordon ends"));
    assert_eq!(
        (answer.status, answer.stderr.as_str()),
        (Some(0), ""),
        "a broken pipe is success"
    );
}
