//! Who may do what over the control socket: real processes of real users, and requests that are none.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use cordon::{
    audit::{Record, log},
    daemon::api::MAX_BODY_BYTES,
};
use integration_tests::{
    cordon_process::{Cordon, HostFile},
    images::BLOCK_RU,
    lab::Lab,
    mmdb_writer::MmdbWriter,
    rng::Rng,
    scratch::Scratch,
};

const NOBODY: u32 = 65_534;
/// Users, a group each, one for every role.
const FIRST_USER: u32 = 4001;
const FIRST_GROUP: u32 = 5001;
const ROLES: [&str; 6] = ["read", "apply", "exempt", "halt", "lift", "keys"];
/// Every route, and the role each needs. The daemon's own tests see to it that every route is documented.
const API: &str = include_str!("../../docs/api.md");

/// Method, path and role of every route.
fn routes() -> Vec<(&'static str, String, &'static str)> {
    let sections = API.split("\n## `").skip(1);
    let routes: Vec<_> = sections
        .filter_map(|section| {
            let (heading, rest) = section.split_once('`')?;
            let (method, path) = heading.split_once(' ')?;
            let role = rest.trim_start().strip_prefix("Role `");
            let role = role.unwrap_or_else(|| panic!("{heading} names no role"));
            let (role, _) = role.split_once('`')?;
            // It would go on for ever.
            let query = match path {
                "/v1/events" => "?action=nothing",
                _ => "",
            };
            Some((method, format!("{path}{query}"), role))
        })
        .collect();
    assert!(routes.len() >= 19, "{routes:?}");
    routes
}

/// Makes 40 connections and says nothing.
const HOLD: &str = "use IO::Socket::UNIX; my @s; for (1..40) { push @s, IO::Socket::UNIX->new(Peer => $ARGV[0]) } \
                    $| = 1; print \"ready\\n\"; sleep 60";

fn daemon(lab: &Lab, settings: String) -> (Cordon<'_>, Scratch) {
    let scratch = Scratch::new().unwrap();
    let database = scratch.path().join("countries.mmdb");
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .write(&database)
        .unwrap();
    let host = HostFile {
        database: Some(database),
        settings,
        ..HostFile::default()
    };
    (Cordon::start(lab, &host).unwrap(), scratch)
}

fn socket(cordon: &Cordon<'_>) -> PathBuf {
    cordon.dir().join("run/control.sock")
}

/// Lets every user reach the socket, as membership of the group `cordon` would: what is tested is the daemon.
fn open_the_way(cordon: &Cordon<'_>) {
    let mut path = socket(cordon);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    while path.pop() && path != std::env::temp_dir() && path.parent().is_some() {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode | 0o011)).unwrap();
    }
}

/// HTTP status of a request by a process of another user.
fn ask(cordon: &Cordon<'_>, prefix: &[&str], method: &str, path: &str) -> String {
    ask_with(cordon, prefix, method, path, "{}")
}

fn ask_with(cordon: &Cordon<'_>, prefix: &[&str], method: &str, path: &str, body: &str) -> String {
    let mut command = Command::new(prefix[0]);
    command
        .args(&prefix[1..])
        .args([
            "curl",
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--max-time",
            "20",
        ])
        .args(["-X", method, "--unix-socket"])
        .arg(socket(cordon))
        .arg(format!("http://cordon{path}"))
        .current_dir("/");
    if method != "GET" {
        command.args(["-d", body]);
    }
    let output = command.output().unwrap();
    let code = String::from_utf8_lossy(&output.stdout).into_owned();
    match code.as_str() {
        "000" => String::from_utf8_lossy(&output.stderr).into_owned(),
        _ => code,
    }
}

fn as_user(user: u32, groups: &str) -> Vec<String> {
    let words = [
        "setpriv",
        "--reuid",
        &user.to_string(),
        "--regid",
        &NOBODY.to_string(),
    ]
    .map(str::to_owned);
    let groups = match groups {
        "" => vec!["--clear-groups".to_owned()],
        groups => vec!["--groups".to_owned(), groups.to_owned()],
    };
    words.into_iter().chain(groups).collect()
}

#[test]
fn each_verb_needs_its_role_and_a_process_has_those_of_its_user_and_groups() {
    let lab = Lab::new().unwrap();
    let mut settings = String::new();
    for (idx, role) in (0..).zip(ROLES) {
        settings.push_str(&format!(
            "[[access]]\nroles = [\"{role}\"]\nusers = [{}]\ngroups = [{}]\n",
            FIRST_USER + idx,
            FIRST_GROUP + idx
        ));
    }
    let (cordon, _scratch) = daemon(&lab, settings);
    let nobody = as_user(NOBODY, "");
    let nobody: Vec<&str> = nobody.iter().map(String::as_str).collect();
    let before = ask(&cordon, &nobody, "GET", "/v1/status");
    assert!(before.contains("curl"), "the socket keeps others out: {before}");
    open_the_way(&cordon);

    for (method, path, needed) in routes() {
        let path = path.as_str();
        for (idx, role) in (0..).zip(ROLES) {
            for (user, groups) in [
                (FIRST_USER + idx, String::new()),
                (NOBODY, format!("7,{}", FIRST_GROUP + idx)),
            ] {
                let prefix = as_user(user, &groups);
                let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
                let code = ask(&cordon, &prefix, method, path);
                assert_eq!(
                    code == "403",
                    role != needed,
                    "{method} {path} by user {user}, groups {groups:?}, role {role}: {code}"
                );
            }
        }
        let nobody = as_user(NOBODY, "");
        let mut nobody: Vec<&str> = nobody.iter().map(String::as_str).collect();
        assert_eq!(
            ask(&cordon, &nobody, method, path),
            "403",
            "{method} {path} by nobody"
        );
        // Root in a user namespace of one's own is nobody here.
        nobody.extend(["unshare", "--user", "--map-root-user"]);
        assert_eq!(
            ask(&cordon, &nobody, method, path),
            "403",
            "{method} {path} from a user namespace"
        );
        let root = ask(&cordon, &["env"], method, path);
        assert_ne!(root, "403", "{method} {path} by root");
    }
}

/// To break the glass sets aside what the keys are there for: an account that pushes signed bundles may not.
#[test]
fn to_break_the_glass_needs_the_keys_role_and_who_is_denied_is_on_record() {
    let lab = Lab::new().unwrap();
    let access = "[[access]]\nroles = [\"apply\"]\nusers = [4002]\n\
                  [[access]]\nroles = [\"keys\"]\nusers = [4006]\n\
                  [[access]]\nroles = [\"apply\", \"keys\"]\nusers = [4007]\n";
    let (mut cordon, _scratch) = daemon(&lab, access.to_owned());
    let name = cordon.dir().join("alice").to_str().unwrap().to_owned();
    cordon.cordon_ok(&["key", "new", &name, "--no-password"]).unwrap();
    cordon
        .cordon_ok(&["key", "trust", &format!("{name}.pub")])
        .unwrap();
    open_the_way(&cordon);
    let body = serde_json::json!({
        "file": "p.toml", "text": BLOCK_RU, "break_glass": {"reason": "drill", "for_s": 3600},
    })
    .to_string();
    let apply = |user: u32| {
        let prefix = as_user(user, "");
        let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
        ask_with(&cordon, &prefix, "POST", "/v1/apply", &body)
    };
    for _ in 0..3 {
        assert_eq!(apply(4002), "403", "whoever pushes bundles");
    }
    assert_eq!(apply(4006), "403", "whoever keeps the keys");
    assert!(cordon.status().unwrap()["break_glass"].is_null());
    assert_eq!(apply(4007), "200", "whoever has both");
    assert_eq!(cordon.status().unwrap()["break_glass"]["actor"]["uid"], 4007);

    cordon.signal(nix::sys::signal::Signal::SIGTERM).unwrap();
    cordon.forget().unwrap();
    let dir = log::dir(&cordon.dir().join("state"));
    let mut denied = Vec::new();
    for name in log::segments(&dir).unwrap() {
        let bytes = log::read_segment(&dir, &name).unwrap();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let record = Record::from_line(line).unwrap().0;
            if record.event_name() == "reject" && record.what["verb"] == "access" {
                denied.push((
                    record.actor["uid"].as_u64().unwrap(),
                    record.what["source"].as_str().unwrap().to_owned(),
                    record.what["count"].as_u64().unwrap_or(1),
                ));
            }
        }
    }
    denied.sort();
    let apply = "POST /v1/apply".to_owned();
    assert_eq!(denied, [(4002, apply.clone(), 3), (4006, apply, 1)]);
}

#[test]
fn a_user_who_takes_all_connections_does_not_keep_others_out() {
    let lab = Lab::new().unwrap();
    let (cordon, _scratch) = daemon(
        &lab,
        "[[access]]\nroles = [\"read\"]\nusers = [4001, 4002]\n".to_owned(),
    );
    open_the_way(&cordon);
    let mut greedy = Command::new("setpriv")
        .args([
            "--reuid",
            "4001",
            "--regid",
            "65534",
            "--clear-groups",
            "perl",
            "-e",
            HOLD,
        ])
        .arg(socket(&cordon))
        .current_dir("/")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    greedy.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    let other = as_user(4002, "");
    let other: Vec<&str> = other.iter().map(String::as_str).collect();
    assert_eq!(ask(&cordon, &other, "GET", "/v1/status"), "200");
    let same = as_user(4001, "");
    let same: Vec<&str> = same.iter().map(String::as_str).collect();
    // Only so many are told at a time, and the greedy ones do not listen.
    let mut refused = String::new();
    for _ in 0..50 {
        refused = ask(&cordon, &same, "GET", "/v1/status");
        if !refused.contains("curl") {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    greedy.kill().unwrap();
    greedy.wait().unwrap();
    assert_eq!(refused, "503");
    cordon.status().expect("root gets in");
}

/// Sends bytes; gives what comes back, if anything does.
fn exchange(cordon: &Cordon<'_>, bytes: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket(cordon)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The daemon may answer and close before it has read all of it.
    drop(stream.write_all(bytes));
    drop(stream.shutdown(std::net::Shutdown::Write));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    answer
}

#[test]
fn half_open_oversized_and_fuzzed_requests_end_nothing() {
    let lab = Lab::new().unwrap();
    let (mut cordon, _scratch) = daemon(&lab, String::new());
    cordon.apply(BLOCK_RU).unwrap();
    let before = cordon.status().unwrap();

    let head = |path: &str, len: u64| {
        format!("POST {path} HTTP/1.1\r\nhost: cordon\r\ncontent-length: {len}\r\n\r\n")
    };
    let half_open: Vec<UnixStream> = (0..60)
        .map(|n| {
            let mut stream = UnixStream::connect(socket(&cordon)).unwrap();
            let text = [
                "",
                "GET /v1/st",
                &head("/v1/apply", 1000),
                "POST /v1/halt HTTP/1.1\r\nx: ",
            ][n % 4]
                .to_owned();
            stream.write_all(text.as_bytes()).unwrap();
            stream
        })
        .collect();
    cordon.status().expect("60 half-open connections leave room");
    drop(half_open);

    let status = |bytes: Vec<u8>| {
        let mut answer = exchange(&cordon, &bytes);
        while answer.starts_with(b"HTTP/1.1 503") {
            // The connections above have not all ended yet.
            std::thread::sleep(Duration::from_millis(50));
            answer = exchange(&cordon, &bytes);
        }
        String::from_utf8_lossy(&answer)
            .split(' ')
            .nth(1)
            .unwrap_or("nothing")
            .to_owned()
    };
    let long_body = |path: &str, len: usize| [head(path, len as u64).into_bytes(), vec![b' '; len]].concat();
    let long_head = format!(
        "GET /v1/status HTTP/1.1\r\nhost: cordon\r\nx: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    // A caller that still writes when the daemon closes may not hear the answer, but never gets another one.
    for (what, bytes, expected) in [
        ("a halt", long_body("/v1/halt", (64 << 10) + 1), "413"),
        (
            "an apply of the same length",
            long_body("/v1/apply", (64 << 10) + 1),
            "400",
        ),
        ("an apply", long_body("/v1/apply", MAX_BODY_BYTES + 1), "413"),
        ("a head", long_head.into_bytes(), "431"),
    ] {
        let found = status(bytes);
        assert!(found == expected || found == "nothing", "{what}: {found}");
    }

    let seeds = [
        "GET /v1/status HTTP/1.1\r\nhost: cordon\r\n\r\n".to_owned(),
        "GET /v1/explain?ip=81.0.7.7&protocol=6&port=443&vlan=7 HTTP/1.1\r\nhost: cordon\r\n\r\n".to_owned(),
        "GET /v1/locate?ip=2001:db8::1 HTTP/1.1\r\nhost: cordon\r\n\r\n".to_owned(),
        {
            let body = r#"{"file":"p.toml","text":"version = 1\ndefault = \"maybe\"","confirm_s":60,"confirm_auto":true}"#;
            format!("{}{body}", head("/v1/apply", body.len() as u64))
        },
        {
            let body = r#"{"for_s":0,"reason":"","override_lockout":false,"ssh_peer":"192.0.2.1"}"#;
            format!("{}{body}", head("/v1/halt", body.len() as u64))
        },
        "POST /v1/confirm HTTP/1.1\r\nhost: cordon\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_owned(),
    ];
    let mut rng = Rng::new(7);
    let mut n_answered = 0;
    for n in 0..10_000 {
        let mut bytes = seeds[n % seeds.len()].clone().into_bytes();
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(bytes.len());
            match rng.below(4) {
                0 => bytes[at] = rng.below(256) as u8,
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, rng.below(256) as u8),
                _ => {
                    let part = bytes[at..].to_vec();
                    bytes.extend(part);
                }
            }
        }
        n_answered += usize::from(!exchange(&cordon, &bytes).is_empty());
    }
    assert!(n_answered > 1000, "most are answered in some way: {n_answered}");
    assert!(cordon.is_running());
    let after = cordon.status().unwrap();
    assert_eq!(
        (&after["generation"], &after["halted"]),
        (&before["generation"], &before["halted"])
    );
    assert!(!cordon.log().contains("panicked"), "{}", cordon.log());
}

#[test]
fn locate_gives_the_decision_that_the_kernel_comes_to() {
    let lab = Lab::new().unwrap();
    let (cordon, _scratch) = daemon(&lab, String::new());
    let locate = |ip: &str| -> serde_json::Value {
        let mut stream = UnixStream::connect(socket(&cordon)).unwrap();
        write!(
            stream,
            "GET /v1/locate?ip={ip} HTTP/1.1\r\nhost: cordon\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let text = String::from_utf8(answer).unwrap();
        serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    assert!(locate("81.0.7.7")["error"].is_string(), "nothing is in force");
    let policy = format!(
        "{BLOCK_RU}\n[[exemption]]\nprefixes = [\"81.0.9.0/24\"]\nreference = \"customer 7\"\nreason = \"contract\"\n\
         until = 2100-01-01T00:00:00Z\n"
    );
    cordon.apply(&policy).unwrap();
    let blocked = locate("81.0.7.7");
    assert_eq!(
        (
            &blocked["class"],
            &blocked["decision"],
            &blocked["reason"],
            &blocked["until"]
        ),
        (
            &"RU".into(),
            &"drop".into(),
            &"policy_drop".into(),
            &serde_json::Value::Null
        ),
        "{blocked:#}"
    );
    assert_eq!(blocked["orders"][0]["action"], "drop");
    let exempt = locate("81.0.9.9");
    assert_eq!(
        (&exempt["decision"], &exempt["until"]),
        (&"pass".into(), &"2100-01-01T00:00:00Z".into())
    );
    assert!(
        exempt["exemption"].as_str().unwrap().contains("customer 7"),
        "{exempt:#}"
    );
    for ip in [
        "82.0.7.7",
        "10.0.0.1",
        "169.254.7.7",
        "127.0.0.1",
        "198.18.0.1",
        "2001:db8::7",
        "81.0.9.9",
    ] {
        let explained = cordon
            .cordon_ok(&["explain", ip, "-o", "json"])
            .unwrap()
            .json()
            .unwrap();
        let located = locate(ip);
        assert_eq!(
            (&located["decision"], &located["reason"]),
            (&explained["live"]["action"], &explained["live"]["reason"]),
            "{ip}: {located:#}"
        );
    }
    cordon
        .cordon_ok(&["halt", "--reason", "drill", "--for", "1h"])
        .unwrap();
    let halted = locate("82.0.7.7");
    assert_eq!(
        (&halted["decision"], &halted["reason"]),
        (&"drop".into(), &"halted".into())
    );
    assert!(halted["until"].is_string(), "{halted:#}");
}
