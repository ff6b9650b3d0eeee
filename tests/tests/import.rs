//! `cordon import`: sets made and printed by the real tools become lists that cordon takes.

use std::{fs, net::IpAddr, path::Path, process::Stdio};

use integration_tests::{
    cordon_process::{Answer, Cordon, HostFile},
    lab::{EDGE_IFNAME, Lab},
    mmdb_writer::MmdbWriter,
    netns::Netns,
    scratch::Scratch,
};
use ipnet::IpNet;

const RULESET: &str = "table inet filter {
 set bad4 {
  type ipv4_addr; flags interval, timeout
  elements = { 192.0.2.0/24, 198.51.100.1-198.51.100.7, 203.0.113.5 timeout 1h comment \"x, } y\" }
 }
 set bad6 {
  type ipv6_addr; flags interval
  elements = { 2001:db8::/48, 2001:db8:1::5-2001:db8:1::9 }
 }
 set counted {
  type ipv4_addr; counter; elements = { 192.0.2.77, 100.64.0.9 }
 }
 set pairs {
  type ipv4_addr . inet_service; elements = { 192.0.2.1 . 22 }
 }
 chain input {
  type filter hook input priority 0
  ip saddr @bad4 drop
  ip saddr { 10.1.0.0/16, 10.3.0.0-10.3.0.9 } drop
 }
}
";

const IPSETS: &str = "create n4 hash:net comment timeout 0
add n4 192.0.2.0/24 comment \"one two\"
add n4 192.0.2.128/25 nomatch
add n4 203.0.113.0/24 timeout 600
create i4 hash:ip
add i4 198.51.100.1-198.51.100.6
create i6 hash:net family inet6
add i6 2001:db8::/32
create bits bitmap:ip range 10.0.0.0/24
add bits 10.0.0.3-10.0.0.9
create ports hash:ip,port
add ports 192.0.2.4,tcp:80
";

/// What a tool prints inside the namespace.
fn run(netns: &Netns, program: &str, args: &[&str], input: &str) -> String {
    use std::io::Write as _;
    let mut child = netns
        .command(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}, which `cargo xtask setup` installs: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

struct Bench {
    lab: Lab,
    scratch: Scratch,
    host: HostFile,
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
            ..HostFile::default()
        },
        scratch,
    }
}

fn import(cordon: &Cordon<'_>, dir: &Path, tool: &str, printed: &str, more: &[&str]) -> Answer {
    let file = dir.join("printed");
    fs::write(&file, printed).unwrap();
    let (file, dir) = (file.to_string_lossy(), dir.to_string_lossy());
    let args = ["import", tool, &file, "--dir", &dir, "--force", "-o", "json"];
    cordon.cordon(&[&args, more].concat()).unwrap()
}

fn listed(dir: &Path) -> Vec<IpNet> {
    let text = fs::read_to_string(dir.join("lists/imported.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.parse().unwrap()).collect()
}

/// The addresses that a list covers, out of these.
fn covered<'a>(list: &[IpNet], addresses: &[&'a str]) -> Vec<&'a str> {
    let is_covered = |text: &str| {
        let address: IpAddr = text.parse().unwrap();
        list.iter().any(|prefix| prefix.contains(&address))
    };
    addresses
        .iter()
        .copied()
        .filter(|address| is_covered(address))
        .collect()
}

#[test]
fn sets_of_nftables_become_a_list_that_drops() {
    let bench = bench();
    let netns = Netns::new().unwrap();
    run(&netns, "nft", &["-f", "-"], RULESET);
    let cordon = Cordon::start(&bench.lab, &bench.host).unwrap();
    let dir = bench.scratch.path();
    let inside = [
        "192.0.2.255",
        "198.51.100.1",
        "198.51.100.7",
        "203.0.113.5",
        "100.64.0.9",
        "2001:db8:0:ffff::",
        "2001:db8:1::9",
    ];
    let outside = [
        "192.0.3.0",
        "198.51.100.0",
        "198.51.100.8",
        "203.0.113.4",
        "10.1.0.1",
        "10.3.0.1",
        "2001:db8:1::4",
        "2001:db8:1::a",
    ];
    for args in [&["list", "ruleset"][..], &["-j", "list", "ruleset"]] {
        let printed = run(&netns, "nft", args, "");
        let answer = import(&cordon, dir, "nft", &printed, &[]);
        assert_eq!(answer.status, 0, "{answer:?}");
        let list = listed(dir);
        assert_eq!(covered(&list, &inside), inside, "{list:?}");
        assert_eq!(covered(&list, &outside), [""; 0], "{list:?}");
        let told = answer.json().unwrap()["diagnostics"].to_string();
        assert!(
            told.contains("pairs") && told.contains("end by themselves"),
            "{told}"
        );
    }
    let one = import(
        &cordon,
        dir,
        "nft",
        &run(&netns, "nft", &["list", "ruleset"], ""),
        &["--set", "counted"],
    );
    assert_eq!((one.status, listed(dir).len()), (0, 2), "{one:?}");

    let policy = dir.join("imported.toml");
    cordon.cordon_ok(&["check", &policy.to_string_lossy()]).unwrap();
    cordon
        .cordon_ok(&["apply", "--no-confirm", &policy.to_string_lossy()])
        .unwrap();
    assert_eq!(
        cordon
            .cordon(&["explain", "100.64.0.9", "--quiet"])
            .unwrap()
            .status,
        10
    );
    assert_eq!(
        cordon
            .cordon(&["explain", "192.0.2.1", "--quiet"])
            .unwrap()
            .status,
        0
    );
}

#[test]
fn sets_of_ipset_become_a_list() {
    let bench = bench();
    let netns = Netns::new().unwrap();
    run(&netns, "ipset", &["restore"], IPSETS);
    let printed = run(&netns, "ipset", &["save"], "");
    let cordon = Cordon::new(&bench.lab, &bench.host).unwrap();
    let answer = import(&cordon, bench.scratch.path(), "ipset", &printed, &[]);
    assert_eq!(answer.status, 0, "{answer:?}");
    let list = listed(bench.scratch.path());
    let inside = [
        "192.0.2.127",
        "203.0.113.255",
        "198.51.100.1",
        "198.51.100.6",
        "10.0.0.3",
        "10.0.0.9",
        "2001:db8:ffff::",
    ];
    assert_eq!(covered(&list, &inside), inside, "{list:?}");
    let outside = [
        "192.0.2.128",
        "198.51.100.7",
        "10.0.0.10",
        "192.0.2.200",
        "2001:db9::",
    ];
    assert_eq!(covered(&list, &outside), [""; 0], "{list:?}");
    assert!(
        answer.json().unwrap()["diagnostics"]
            .to_string()
            .contains("hash:ip,port"),
        "{answer:?}"
    );
}

#[test]
fn the_list_of_xdp_filter_becomes_a_list() {
    let bench = bench();
    let edge = &bench.lab.edge;
    run(edge, "xdp-filter", &["load", "--mode", "skb", EDGE_IFNAME], "");
    for (address, mode) in [
        ("192.0.2.1", "src"),
        ("2001:db8::7", "src,dst"),
        ("198.51.100.9", "dst"),
    ] {
        run(edge, "xdp-filter", &["ip", address, "--mode", mode], "");
    }
    let printed = run(edge, "xdp-filter", &["status"], "");
    run(edge, "xdp-filter", &["unload", EDGE_IFNAME], "");
    let cordon = Cordon::new(&bench.lab, &bench.host).unwrap();
    let answer = import(&cordon, bench.scratch.path(), "xdp-filter", &printed, &[]);
    assert_eq!(answer.status, 0, "{answer:?}\n{printed}");
    let list: Vec<String> = listed(bench.scratch.path())
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(list, ["192.0.2.1/32", "2001:db8::7/128"], "{printed}");
    assert!(
        answer.json().unwrap()["diagnostics"]
            .to_string()
            .contains("198.51.100.9"),
        "{answer:?}"
    );
}

#[test]
fn what_is_no_set_is_refused_with_its_place() {
    let bench = bench();
    let cordon = Cordon::new(&bench.lab, &bench.host).unwrap();
    let dir = bench.scratch.path();
    let cases = [
        ("ipset", "create s hash:ip\nadd s 192.0.2\n", "printed:2:7"),
        (
            "ipset",
            "create s hash:net\nadd s 0.0.0.0/1\nadd s 128.0.0.0/1\n",
            "default = \\\"drop\\\"",
        ),
        (
            "nft",
            "table inet t {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { x }\n\t}\n}\n",
            "printed:4",
        ),
        ("nft", "table inet t {\n}\n", "no set of addresses"),
        ("xdp-filter", "hello\n", "xdp-filter status"),
    ];
    for (tool, printed, wanted) in cases {
        let answer = import(&cordon, dir, tool, printed, &[]);
        let error = answer.json().unwrap();
        let text = format!("{error}{}", place(&error));
        assert!(
            answer.status == 1 && text.contains(wanted),
            "{tool} {printed}: {text}"
        );
    }
    assert!(!dir.join("imported.toml").exists(), "nothing is written");
}

fn place(error: &serde_json::Value) -> String {
    let first = &error["diagnostics"][0];
    format!(
        "{}:{}:{}",
        first["file"].as_str().unwrap_or_default(),
        first["line"],
        first["column"]
    )
}
