//! Addresses, interfaces and leases that come while the daemon runs.

use std::{
    fs,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use integration_tests::{
    cordon_process::{Cordon, HostFile, binary},
    frames::{FrameSocket, udp_frame},
    images::BLOCK_RU,
    lab::{EDGE_IFNAME, INTERNET_IFNAME, Lab},
    netns::spawn_bound,
};

use super::{Edge, edge, problem, says, wait_for};

const RU: &str = "81.0.7.7";
const NL: &str = "82.0.7.7";

/// Sends one frame from a source; says whether it got through.
fn gets_through(lab: &Lab, source: &str) -> bool {
    let sender = FrameSocket::open(&lab.internet, INTERNET_IFNAME).unwrap();
    let receiver = FrameSocket::open(&lab.edge, EDGE_IFNAME).unwrap();
    let payload = [&[0; 100], source.as_bytes()].concat();
    sender
        .send(&udp_frame(source.parse().unwrap(), 9, &payload))
        .unwrap();
    let arrived = receiver.receive(1, Duration::from_millis(300)).unwrap();
    arrived.iter().any(|frame| frame.ends_with(source.as_bytes()))
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_address_that_this_host_gets_is_nobody_elses() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_RU).unwrap();
    assert!(gets_through(&edge.lab, NL), "not this host's yet");
    let martians = |cordon: &Cordon<'_>| cordon.counters().unwrap().packets("martian");
    let before = martians(&cordon);

    let batch = |verb: &str| format!("address {verb} {NL}/32 dev {EDGE_IFNAME}\n");
    edge.lab.edge.ip_batch(&batch("add")).unwrap();
    wait_until("the address is never taken note of", || {
        !gets_through(&edge.lab, NL)
    });
    assert!(martians(&cordon) > before);
    edge.lab.edge.ip_batch(&batch("del")).unwrap();
    wait_until("the address is never given up", || gets_through(&edge.lab, NL));
}

#[test]
fn a_host_that_lets_martians_pass_judges_them_like_others() {
    let edge = edge();
    let host = HostFile {
        settings: "martians = \"pass\"\n".to_owned(),
        ..edge.host.clone()
    };
    edge.lab
        .edge
        .ip_batch(&format!("address add {NL}/32 dev {EDGE_IFNAME}\n"))
        .unwrap();
    let cordon = Cordon::start(&edge.lab, &host).unwrap();
    cordon.apply(BLOCK_RU).unwrap();
    assert!(gets_through(&edge.lab, NL));
    assert_eq!(cordon.counters().unwrap().packets("martian"), 0);
}

#[test]
fn dhcp_servers_of_the_host_file_pass_whatever_the_policy_says() {
    let edge = edge();
    let host = HostFile {
        settings: format!("dhcp_servers = [{RU:?}]\n"),
        ..edge.host.clone()
    };
    let cordon = Cordon::start(&edge.lab, &host).unwrap();
    cordon.apply(BLOCK_RU).unwrap();
    assert!(gets_through(&edge.lab, RU));
    assert!(!gets_through(&edge.lab, "81.0.7.8"), "nobody else from there");
}

/// A daemon that sees a lease directory of its own, in a mount namespace of its own.
fn start_with_leases(edge: &Edge, cordon: &Cordon<'_>, leases: &std::path::Path) -> Child {
    let mut command = edge.lab.edge.command("unshare");
    command
        .args(["--mount", "sh", "-c"])
        .arg("mkdir -p /run/systemd/netif/leases && mount --bind \"$0\" /run/systemd/netif/leases && exec \"$@\"")
        .arg(leases)
        .arg(binary().unwrap())
        .arg("-c")
        .arg(cordon.dir().join("cordon.toml"))
        .arg("run")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = spawn_bound(command).unwrap();
    wait_until("the daemon does not start", || {
        cordon.cordon(&["status"]).unwrap().status == 0
    });
    child
}

#[test]
fn servers_of_leases_pass_from_the_start_and_new_ones_within_a_minute() {
    let edge = edge();
    let cordon = Cordon::new(&edge.lab, &edge.host).unwrap();
    let leases = cordon.dir().join("leases");
    fs::create_dir(&leases).unwrap();
    fs::write(leases.join("2"), format!("SERVER_ADDRESS={RU}\n")).unwrap();
    let mut child = start_with_leases(&edge, &cordon, &leases);
    cordon.apply(BLOCK_RU).unwrap();
    wait_for(&cordon, |status| status["state"] == "ok");
    assert!(gets_through(&edge.lab, RU), "its server");
    let next = "81.0.7.9";
    assert!(!gets_through(&edge.lab, next), "not its server yet");
    fs::write(leases.join("2"), format!("SERVER_ADDRESS={next}\n")).unwrap();
    wait_until("the new lease is never read", || gets_through(&edge.lab, next));
    assert!(!gets_through(&edge.lab, RU), "its server no more");
    child.kill().unwrap();
    child.wait().unwrap();
}

const REDIRECT_RU: &str = r#"
version = 1
default = "pass"
unknown = "pass"
[[tier]]
name = "elsewhere"
action = "redirect"
interface = "extra0"
next_hop = "02:00:00:00:00:07"
[[order]]
id = "test-1"
authority = "Test Authority"
[[order.rule]]
action = "elsewhere"
countries = ["RU"]
"#;

#[test]
fn a_redirect_follows_its_target() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    let applied = cordon.apply(REDIRECT_RU).unwrap();
    says(
        &applied.stdout,
        &["problem: interface extra0 does not exist", "is in force"],
    );
    let wait_problem = |what: &str| {
        let status = wait_for(&cordon, |status| {
            status["state"] == "degraded" && status["problems"].to_string().contains(what)
        });
        says(problem(&status), &["extra0", "elsewhere", "redirect_gone", what]);
    };
    let wait_ok = || wait_for(&cordon, |status| status["state"] == "ok");
    wait_problem("does not exist");
    let reason_of_one = || {
        let before = cordon.counters().unwrap();
        assert!(!gets_through(&edge.lab, RU));
        let counted = cordon.counters().unwrap().since(&before);
        let reasons = ["policy_redirect", "redirect_gone", "redirect_too_long"];
        reasons.into_iter().find(|reason| counted.packets(reason) == 1)
    };
    let wait_reason = |reason: &str, what: &str| wait_until(what, || reason_of_one() == Some(reason));
    assert_eq!(reason_of_one(), Some("redirect_gone"), "it does not exist yet");
    let batch = |lines: &str| edge.lab.edge.ip_batch(lines).unwrap();
    batch("link add extra0 type veth peer name extra1\nlink set extra1 up\nlink set extra0 up\n");
    wait_reason("policy_redirect", "the target is never taken note of");
    wait_ok();
    // The packet has 20 bytes of IPv4, 8 of UDP and more than 100 of payload.
    batch("link set extra0 mtu 128\n");
    wait_reason("redirect_too_long", "the MTU is never taken note of");
    batch("link set extra0 mtu 1500\n");
    wait_reason("policy_redirect", "the MTU is never taken note of again");
    batch("link set extra0 down\n");
    wait_reason("redirect_gone", "that the target is down is never taken note of");
    wait_problem("is down");
    batch("link set extra0 up\n");
    wait_reason("policy_redirect", "that the target is up is never taken note of");
    wait_ok();
    batch("link del extra0\n");
    wait_reason("redirect_gone", "that the target is gone is never taken note of");
    wait_problem("does not exist");
    cordon.apply(BLOCK_RU).unwrap();
    assert_eq!(
        cordon.status().unwrap()["state"],
        "ok",
        "this policy redirects nothing"
    );
}
