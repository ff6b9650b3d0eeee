//! `cordon doctor` and `cordon support dump` on hosts on which something really is wrong, and what `status --check` says.

use std::{
    fs,
    net::{IpAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use integration_tests::{
    cordon_process::{Cordon, HostFile},
    images::BLOCK_RU,
    lab::{EDGE_IFNAME, EDGE_V4, Lab},
    mmdb_writer::MmdbWriter,
    scratch::Scratch,
};
use serde_json::Value;

struct Bench {
    lab: Lab,
    host: HostFile,
    scratch: Scratch,
}

fn bench() -> Bench {
    let scratch = Scratch::new().unwrap();
    let database = scratch.path().join("countries.mmdb");
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .write(&database)
        .unwrap();
    Bench {
        lab: Lab::new().unwrap(),
        host: HostFile {
            database: Some(database),
            failsafe: vec!["198.51.100.7/32".to_owned()],
            ..HostFile::default()
        },
        scratch,
    }
}

/// Exit status, and the findings.
fn examine(cordon: &Cordon<'_>) -> (i32, Vec<Value>) {
    let answer = cordon.cordon(&["doctor", "-o", "json"]).unwrap();
    let examined = answer.json().unwrap();
    (answer.status, examined["findings"].as_array().unwrap().clone())
}

/// Whether a finding of this topic says, or advises, this.
fn has(findings: &[Value], topic: &str, text: &str) -> bool {
    let mut of_topic = findings.iter().filter(|finding| finding["topic"] == topic);
    of_topic.any(|finding| finding.to_string().contains(text))
}

/// What this machine itself is to blame for.
fn without_clock(findings: &[Value]) -> Vec<&Value> {
    let is_counted = |finding: &&Value| finding["grade"] != "note" && finding["topic"] != "clock";
    findings.iter().filter(is_counted).collect()
}

#[test]
fn a_host_that_enforces_has_no_findings_and_one_without_a_daemon_has() {
    let bench = bench();
    let mut cordon = Cordon::start(&bench.lab, &bench.host).unwrap();
    cordon.apply(BLOCK_RU).unwrap();
    cordon.wait_attached().unwrap();
    let (_, findings) = examine(&cordon);
    // The database of the lab is as old as its writer says.
    let found: Vec<_> = without_clock(&findings)
        .into_iter()
        .filter(|finding| finding["topic"] != "database")
        .cloned()
        .collect();
    assert!(found.is_empty(), "{found:#?}");

    cordon.kill().unwrap();
    let (status, findings) = examine(&cordon);
    assert_eq!(status, 1);
    assert!(has(&findings, "daemon", "stays enforced"), "{findings:#?}");
    assert!(
        has(&findings, "daemon", "systemctl start cordon"),
        "{findings:#?}"
    );
    let text = cordon.cordon(&["doctor"]).unwrap();
    assert!(
        text.stdout.contains("fix: `systemctl start cordon`"),
        "{}",
        text.stdout
    );
}

#[test]
fn each_thing_that_is_wrong_is_found() {
    let bench = bench();
    let edge = &bench.lab.edge;
    edge.ip_batch(&format!(
        "link add dum0 type ifb\nlink set dum0 up\nlink set {EDGE_IFNAME} mtu 9000\n\
         link add br0 type bridge\nlink set br0 up\n"
    ))
    .unwrap();
    let host = HostFile {
        interfaces: [EDGE_IFNAME, "dum0", "br0", "eth9"].map(str::to_owned).to_vec(),
        failsafe: Vec::new(),
        ..bench.host.clone()
    };
    let cordon = Cordon::new(&bench.lab, &host).unwrap();
    let load = edge
        .command("xdp-filter")
        .args(["load", "--mode", "skb", EDGE_IFNAME])
        .output();
    let load = load.expect("package xdp-tools, which `cargo xtask setup` installs");
    assert!(load.status.success(), "{load:?}");
    let pins = cordon.dir().join("bpf/cordon");
    fs::create_dir_all(pins.join("v99")).unwrap();
    fs::create_dir_all(pins.join("somebody")).unwrap();

    let (status, findings) = examine(&cordon);
    let unload = edge.command("xdp-filter").args(["unload", EDGE_IFNAME]).output();
    assert!(unload.is_ok_and(|output| output.status.success()));
    assert_eq!(status, 1);
    for (topic, text) in [
        ("xdp", "not cordon's"),
        ("native", "mtu 3498"),
        ("native", "dum0"),
        ("native", "br0"),
        ("interface", "eth9 does not exist"),
        ("host file", "[[failsafe]]"),
        ("pins", "v99"),
        ("pins", "somebody"),
        ("daemon", "nothing is enforced"),
    ] {
        assert!(has(&findings, topic, text), "{topic}: {text}: {findings:#?}");
    }

    // No bpffs, and a key that is none.
    let elsewhere = cordon.dir().join("no-bpffs");
    fs::create_dir_all(&elsewhere).unwrap();
    let file = cordon.dir().join("cordon.toml");
    let text = fs::read_to_string(&file).unwrap();
    let line = text.lines().find(|line| line.starts_with("pin_dir")).unwrap();
    fs::write(&file, text.replace(line, &format!("pin_dir = {elsewhere:?}"))).unwrap();
    fs::create_dir_all(cordon.dir().join("state/keys")).unwrap();
    fs::write(cordon.dir().join("state/keys/broken.pub"), "no key\n").unwrap();
    let (_, findings) = examine(&cordon);
    assert!(has(&findings, "bpffs", "mount -t bpf"), "{findings:#?}");
    assert!(has(&findings, "keys", "broken.pub"), "{findings:#?}");

    fs::write(&file, "interfaces = [\"edge0\"\n").unwrap();
    let (status, findings) = examine(&cordon);
    assert!(
        status == 1 && has(&findings, "host file", "cordon.toml"),
        "{findings:#?}"
    );
    fs::remove_file(&file).unwrap();
    assert!(has(&examine(&cordon).1, "host file", "cordon init"));
}

#[test]
fn many_connections_from_few_sources_are_a_proxy() {
    let bench = bench();
    let cordon = Cordon::new(&bench.lab, &bench.host).unwrap();
    let server = bench.lab.edge.run(|| TcpListener::bind((EDGE_V4, 8443)).unwrap());
    let mut open: Vec<TcpStream> = Vec::new();
    for n in 0..40 {
        let source: IpAddr = format!("81.0.7.{}", n % 2 + 1).parse().unwrap();
        open.push(bench.lab.connect(source, 8443).unwrap());
        open.push(server.accept().unwrap().0);
    }
    let (_, findings) = examine(&cordon);
    assert!(has(&findings, "front", "hold 40 of the 40"), "{findings:#?}");
    assert!(!has(&findings, "front", "81.0.7"), "no address is told");
}

#[test]
fn every_exit_of_status_check() {
    let bench = bench();
    let mut cordon = Cordon::start(&bench.lab, &bench.host).unwrap();
    let check = |cordon: &Cordon<'_>| {
        let answer = cordon.cordon(&["status", "--check"]).unwrap();
        (answer.status, answer.stdout + &answer.stderr)
    };
    let (status, said) = check(&cordon);
    assert!(status == 2 && said.starts_with("not enforcing"), "{said}");

    cordon.apply(BLOCK_RU).unwrap();
    cordon.wait_attached().unwrap();
    // The lab's interface may be in skb mode, and its database is old: neither is a problem.
    let (status, said) = check(&cordon);
    assert!(
        status == 0 && said.starts_with("enforcing policy"),
        "{status} {said}"
    );
    assert!(
        said.contains("on 1 interface, ") && said.contains("no problems"),
        "{said}"
    );

    cordon
        .cordon_ok(&["lift", "--order", "test-1", "--for", "1h", "--reason", "drill"])
        .unwrap();
    let (status, said) = check(&cordon);
    assert!(
        status == 1 && said.contains("order test-1 lifted until"),
        "{status} {said}"
    );
    cordon.cordon_ok(&["unlift", "--order", "test-1"]).unwrap();
    assert_eq!(check(&cordon).0, 0);

    cordon
        .cordon_ok(&["halt", "--for", "1h", "--reason", "drill", "--override-lockout"])
        .unwrap();
    let (status, said) = check(&cordon);
    assert!(
        status == 1 && said.starts_with("halted over policy"),
        "{status} {said}"
    );
    cordon.cordon_ok(&["resume"]).unwrap();
    assert_eq!(check(&cordon).0, 0);

    bench
        .lab
        .edge
        .ip_batch(&format!("link del {EDGE_IFNAME}\n"))
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while check(&cordon).0 == 0 {
        assert!(Instant::now() < deadline, "an interface that is gone is noticed");
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(check(&cordon).0, 2, "{}", check(&cordon).1);

    cordon.kill().unwrap();
    let (status, said) = check(&cordon);
    assert!(
        status == 3 && said.contains("cannot reach the daemon"),
        "{status} {said}"
    );
    fs::write(cordon.dir().join("cordon.toml"), "interfaces = 1\n").unwrap();
    assert_eq!(check(&cordon).0, 3, "whoever cannot ask does not know");
}

#[test]
fn a_support_dump_has_everything_but_addresses_and_secrets() {
    const SECRETS: [&str; 9] = [
        "203.0.113.77",
        "2001:db8:77::77",
        "198.51.100.7",
        "81.0.9.0",
        "02:00:00:00:00:01",
        "hunter2",
        "topsecret",
        "sig=abcdef",
        "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3",
    ];
    let bench = bench();
    let host = HostFile {
        settings: "bundle_servers = [\"203.0.113.77:443\"]\n\
            # token = \"topsecret\", key RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n\
            # 02:00:00:00:00:01 is the gateway\n\
            # https://me:hunter2@example.net/b?sig=abcdef\n"
            .to_owned(),
        ..bench.host.clone()
    };
    let cordon = Cordon::start(&bench.lab, &host).unwrap();
    let policy = format!(
        "{BLOCK_RU}\n[[exemption]]\nprefixes = [\"2001:db8:77::77/128\"]\nreference = \"case 203.0.113.77\"\n\
         reason = \"https://me:hunter2@example.net/?sig=abcdef\"\nuntil = 2100-01-01T00:00:00Z\n"
    );
    cordon.apply(&policy).unwrap();
    let exempt =
        "exempt add 81.0.9.0/24 --reference 203.0.113.77 --reason password=hunter2 --approver me --for 2h";
    cordon.cordon_ok(&exempt.split(' ').collect::<Vec<_>>()).unwrap();
    let file = bench.scratch.path().join("dump.txt");
    cordon
        .cordon_ok(&["support", "dump", &file.to_string_lossy()])
        .unwrap();
    let dump = fs::read_to_string(&file).unwrap();
    for secret in SECRETS {
        let line = dump.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} is in: {line:?}");
    }
    for wanted in [
        "===== status =====",
        "===== doctor =====",
        "===== metrics =====",
        "===== host file =====",
        "===== policy.toml =====",
        "===== history =====",
        "===== audit log, its end =====",
        "cordon_generation 1",
        "\"enforcing policy",
        "test-1",
    ] {
        assert!(dump.contains(wanted), "{wanted} is missing in:\n{dump}");
    }
    assert!(!dump.contains("(not to be had"), "{dump}");
    // The same address has the same number everywhere.
    let numbered = dump
        .lines()
        .find(|line| line.starts_with("bundle_servers"))
        .unwrap();
    let number = numbered.split('"').nth(1).unwrap().trim_end_matches(":443");
    assert!(
        dump.matches(&format!("case {number}")).count() >= 1,
        "{numbered}\n{dump}"
    );

    // Without a daemon, there is less, and it is said.
    let mut cordon = cordon;
    cordon.kill().unwrap();
    let answer = cordon.cordon_ok(&["support", "dump", "-"]).unwrap();
    assert!(
        answer.stdout.contains("(not to be had: cannot reach the daemon"),
        "{}",
        answer.stdout
    );
    assert!(answer.stdout.contains("===== audit log"));
    let again = cordon
        .cordon(&["support", "dump", &file.to_string_lossy()])
        .unwrap();
    assert_eq!(again.status, 1, "a file that is there is kept: {again:?}");
}
