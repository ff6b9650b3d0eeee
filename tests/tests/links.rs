//! What stands in the way of attaching gets an error of its own that names the fix, and what changes in the network
//! reaches the kernel while the daemon runs.

mod network;
mod refused_start;

use std::time::{Duration, Instant};

use aya::{
    Ebpf,
    programs::{Xdp, XdpMode},
};
use integration_tests::{
    cordon_process::{Cordon, HostFile},
    images::BLOCK_RU,
    lab::{EDGE_IFNAME, Lab},
    mmdb_writer::MmdbWriter,
    scratch::Scratch,
};
use serde_json::Value;

const EXTRA: &str = "extra0";

struct Edge {
    lab: Lab,
    host: HostFile,
    _scratch: Scratch,
}

/// A lab whose internet is silent, and a database in which 81.0.0.0/16 is RU and 82.0.0.0/16 is NL.
fn edge() -> Edge {
    let scratch = Scratch::new().unwrap();
    let database = scratch.path().join("countries.mmdb");
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .country("82.0.0.0/16", "NL")
        .write(&database)
        .unwrap();
    let lab = Lab::new().unwrap();
    lab.silence_internet().unwrap();
    Edge {
        lab,
        host: HostFile {
            database: Some(database),
            ..HostFile::default()
        },
        _scratch: scratch,
    }
}

impl Edge {
    fn host(&self, interfaces: &[&str], xdp_mode: &str) -> HostFile {
        HostFile {
            interfaces: interfaces.iter().map(ToString::to_string).collect(),
            xdp_mode: xdp_mode.to_owned(),
            ..self.host.clone()
        }
    }

    /// Starts a daemon for the interfaces and applies a policy; gives the status.
    fn status_with(&self, interfaces: &[&str], xdp_mode: &str) -> Value {
        let cordon = Cordon::start(&self.lab, &self.host(interfaces, xdp_mode)).unwrap();
        cordon.apply(BLOCK_RU).unwrap();
        cordon.status().unwrap()
    }
}

fn problems(status: &Value) -> Vec<&str> {
    let problems = status["problems"].as_array().unwrap();
    problems.iter().filter_map(Value::as_str).collect()
}

/// The one problem there is.
#[track_caller]
fn problem(status: &Value) -> &str {
    let found = problems(status);
    assert_eq!(found.len(), 1, "{status:#}");
    found[0]
}

#[track_caller]
fn says(text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(text.contains(wanted), "{wanted:?} is missing: {text}");
    }
}

fn mode(status: &Value, ifname: &str) -> Option<String> {
    let interfaces = status["interfaces"].as_array().unwrap();
    let found = interfaces
        .iter()
        .find(|interface| interface["ifname"] == ifname)?;
    found["mode"].as_str().map(str::to_owned)
}

fn wait_for(cordon: &Cordon<'_>, what: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let status = cordon.status().unwrap();
        if what(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{status:#}\n{}", cordon.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_large_mtu_is_no_obstacle_where_the_driver_takes_frames_in_parts() {
    let edge = edge();
    for (netns, ifname) in [(&edge.lab.edge, EDGE_IFNAME), (&edge.lab.internet, "inet0")] {
        netns
            .ip_batch(&format!("link set dev {ifname} mtu 9000\n"))
            .unwrap();
    }
    let status = edge.status_with(&[EDGE_IFNAME], "require-native");
    assert_eq!(
        mode(&status, EDGE_IFNAME).as_deref(),
        Some("native"),
        "{status:#}"
    );
    assert_eq!(problems(&status), [""; 0]);
}

#[test]
fn too_few_channels_name_the_command_that_changes_them() {
    let edge = edge();
    edge.lab
        .edge
        .ip_batch(&format!(
            "link add {EXTRA} numtxqueues 1 numrxqueues 1 type veth peer name extra1 numtxqueues 2 numrxqueues 2\n\
             link set {EXTRA} up\nlink set extra1 up\n"
        ))
        .unwrap();
    let status = edge.status_with(&[EXTRA], "require-native");
    assert_eq!(mode(&status, EXTRA), None, "{status:#}");
    assert_eq!(status["state"], "not_enforcing");
    says(
        problem(&status),
        &[
            "cannot attach",
            "channels",
            "`ethtool -L extra0 rx N`",
            "allow-skb",
        ],
    );
    let status = edge.status_with(&[EXTRA], "allow-skb");
    assert_eq!(mode(&status, EXTRA).as_deref(), Some("skb"), "{status:#}");
    assert_eq!(status["state"], "degraded", "slower than it could be");
    says(problem(&status), &["slower skb mode", "`ethtool -L extra0 rx N`"]);
    let status = edge.status_with(&[EXTRA], "skb");
    assert_eq!(mode(&status, EXTRA).as_deref(), Some("skb"), "{status:#}");
    assert_eq!(status["state"], "ok", "as it was asked for");
}

#[test]
fn an_interface_of_software_is_named_as_what_it_is() {
    let edge = edge();
    edge.lab
        .edge
        .ip_batch(&format!(
            "link add {EXTRA} type ifb\nlink set {EXTRA} up\nlink add br7 type bridge\nlink set br7 up\n\
             tuntap add mode tun name tun7\nlink set tun7 up\n"
        ))
        .unwrap();
    let status = edge.status_with(&[EXTRA], "require-native");
    assert_eq!(mode(&status, EXTRA), None, "{status:#}");
    says(problem(&status), &["an interface of kind ifb", "allow-skb"]);
    let status = edge.status_with(&["br7"], "require-native");
    says(problem(&status), &["the bridge br7", "name its ports"]);
    let status = edge.status_with(&["tun7"], "allow-skb");
    assert_eq!(
        mode(&status, "tun7"),
        None,
        "it would be read wrongly: {status:#}"
    );
    says(problem(&status), &["tun7", "without an Ethernet header"]);
    let status = edge.status_with(&["lo"], "allow-skb");
    assert_eq!(mode(&status, "lo").as_deref(), Some("skb"), "{status:#}");
    says(problem(&status), &["an interface of kind loopback"]);
}

#[test]
fn why_an_interface_runs_in_skb_mode_is_known_after_a_restart() {
    let edge = edge();
    edge.lab
        .edge
        .ip_batch(&format!("link add {EXTRA} type ifb\nlink set {EXTRA} up\n"))
        .unwrap();
    let mut cordon = Cordon::start(&edge.lab, &edge.host(&[EXTRA], "allow-skb")).unwrap();
    cordon.apply(BLOCK_RU).unwrap();
    let before = problem(&cordon.status().unwrap()).to_owned();
    says(&before, &["slower skb mode", "ifb"]);
    cordon.kill().unwrap();
    cordon.run().unwrap();
    let status = cordon.status().unwrap();
    assert_eq!(problem(&status), before);
    assert_eq!(status["state"], "degraded");
}

#[test]
fn somebody_elses_program_stays_and_is_named() {
    let edge = edge();
    let mut peers = Ebpf::load(cordon::dataplane::PEERS).unwrap();
    let other: &mut Xdp = peers.program_mut("pass_only").unwrap().try_into().unwrap();
    other.load().unwrap();
    let id = other.info().unwrap().id();
    let link = edge
        .lab
        .edge
        .run(|| other.attach(EDGE_IFNAME, XdpMode::Driver))
        .unwrap();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_RU).unwrap();
    let status = cordon.status().unwrap();
    assert_eq!(mode(&status, EDGE_IFNAME), None, "{status:#}");
    says(
        problem(&status),
        &[
            &format!("(id {id})"),
            "never replaces",
            "`ip link show edge0`",
            "`bpftool net show dev edge0`",
        ],
    );
    says(&edge.lab.edge_link().unwrap(), &[&format!("id {id}")]);
    // Taken off, the interface is cordon's within a second, without anybody's doing.
    other.detach(link).unwrap();
    let status = wait_for(&cordon, |status| mode(status, EDGE_IFNAME).is_some());
    assert_eq!(problems(&status), [""; 0]);
}
