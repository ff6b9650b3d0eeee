use super::*;
use crate::{
    daemon::api::{Health, Interface},
    diagnostic::Place,
    link::Kind,
};

/// A host where nothing is wrong.
fn healthy() -> Facts {
    let mut status = Status::starting();
    status.state = Health::Ok;
    status.interfaces.push(Interface {
        ifname: "eth0".to_owned(),
        ifindex: 2,
        mode: "native".to_owned(),
        egress: None,
    });
    Facts {
        kernel: "6.18.0".to_owned(),
        support: KernelSupport {
            has_btf: true,
            has_tcx: true,
            ..KernelSupport::default()
        },
        capabilities: Some(u64::MAX),
        pins: Pins {
            dir: "/sys/fs/bpf/cordon".to_owned(),
            is_bpffs: Some(Ok(true)),
            attached: vec![2],
            ..Pins::default()
        },
        host_file: Vec::new(),
        host_file_refused: None,
        host: HostFacts {
            interfaces: vec!["eth0".to_owned()],
            mode: ModeChoice::AllowSkb,
            n_failsafe: 1,
        },
        links: vec![nic("eth0", Kind::Hardware)],
        is_clock_kept: Some(true),
        now_s: 1_800_000_000,
        daemon: Ok(Box::new(status)),
        keys: Ok(1),
        peers: Peers::default(),
    }
}

fn nic(name: &str, kind: Kind) -> Nic {
    Nic {
        link: Link {
            ifindex: 2,
            name: name.to_owned(),
            mtu: 1500,
            kind,
            is_ethernet: true,
            is_up: true,
            xdp: Some(77),
            ..Link::default()
        },
        ..Nic::default()
    }
}

fn status(facts: &mut Facts) -> &mut Status {
    facts.daemon.as_mut().unwrap()
}

/// The one finding of a host on which one thing is changed.
fn only(change: impl FnOnce(&mut Facts)) -> (Grade, String) {
    let mut facts = healthy();
    change(&mut facts);
    match findings(&facts).as_slice() {
        [finding] => {
            assert!(!finding.fix.is_empty(), "{finding:?}");
            let text = format!("{}: {} / {}", finding.topic, finding.what, finding.fix);
            (finding.grade, text)
        }
        found => panic!("{found:#?}"),
    }
}

#[test]
fn a_healthy_host_has_no_findings() {
    assert_eq!(findings(&healthy()), []);
}

#[test]
fn each_fact_has_its_own_finding_with_its_fix() {
    type Change = fn(&mut Facts);
    let cases: [(Change, Grade, &str); 24] = [
        (
            |facts| facts.capabilities = Some(1 << 12),
            Grade::Problem,
            "CAP_PERFMON, CAP_BPF",
        ),
        (
            |facts| facts.support.has_btf = false,
            Grade::Problem,
            "CONFIG_DEBUG_INFO_BTF",
        ),
        (|facts| facts.support.has_tcx = false, Grade::Note, "clsact"),
        (
            |facts| facts.support.lacking.push("LPM tries".to_owned()),
            Grade::Problem,
            "no LPM tries",
        ),
        (
            |facts| facts.support.load_error = Some("EINVAL".to_owned()),
            Grade::Problem,
            "EINVAL",
        ),
        (
            |facts| facts.pins.is_bpffs = Some(Ok(false)),
            Grade::Problem,
            "mount -t bpf",
        ),
        (
            |facts| facts.pins.other_versions.push("v1".to_owned()),
            Grade::Warning,
            "another version",
        ),
        (
            |facts| facts.pins.foreign.push("x".to_owned()),
            Grade::Warning,
            "did not put there: x",
        ),
        (|facts| facts.host.n_failsafe = 0, Grade::Warning, "[[failsafe]]"),
        (
            |facts| facts.links[0].link.is_up = false,
            Grade::Warning,
            "ip link set eth0 up",
        ),
        (|facts| facts.pins.attached.clear(), Grade::Problem, "(id 77)"),
        (
            |facts| facts.is_clock_kept = Some(false),
            Grade::Warning,
            "timedatectl",
        ),
        (
            |facts| facts.keys = Err("a.pub is no key".to_owned()),
            Grade::Problem,
            "a.pub is no key",
        ),
        (
            |facts| facts.daemon = Err("refused".to_owned()),
            Grade::Problem,
            "stays enforced",
        ),
        (
            |facts| status(facts).state = Health::NotEnforcing,
            Grade::Problem,
            "cordon apply",
        ),
        (
            |facts| status(facts).problems.push("disk full".to_owned()),
            Grade::Problem,
            "disk full",
        ),
        (
            |facts| facts.links[0].driver = Some("virtio_net".to_owned()),
            Grade::Note,
            "guest_tso4",
        ),
        (
            |facts| {
                facts.links[0].driver = Some("ena".to_owned());
                facts.links[0].features.channels = Some((8, 8));
            },
            Grade::Warning,
            "`ethtool -L eth0 combined 4`",
        ),
        (
            |facts| {
                status(facts).interfaces[0].mode = "absent".to_owned();
                facts.links[0].link.mtu = 9000;
            },
            Grade::Warning,
            "mtu 3498",
        ),
        (
            |facts| {
                facts.host.mode = ModeChoice::RequireNative;
                status(facts).interfaces[0].mode = "absent".to_owned();
                facts.links[0].features.lro = true;
            },
            Grade::Problem,
            "lro off",
        ),
        (
            |facts| {
                status(facts).managed = true;
                facts.keys = Ok(0);
            },
            Grade::Problem,
            "cordon key trust",
        ),
        (
            |facts| facts.host.interfaces.push("eth9".to_owned()),
            Grade::Problem,
            "eth9 does not exist",
        ),
        (
            |facts| {
                let place = Place::file("cordon.toml");
                facts
                    .host_file
                    .push(Diagnostic::warning(place, "lo", "loopback", "name another"));
            },
            Grade::Warning,
            "cordon.toml: loopback (lo) / name another",
        ),
        (
            |facts| facts.peers = peers((0..40).map(|n| [192, 0, 2, u8::from(n % 10 == 0)].into())),
            Grade::Warning,
            "40 of the 40",
        ),
    ];
    for (change, grade, wanted) in cases {
        let (found, text) = only(change);
        assert!(text.contains(wanted), "{wanted}: {text}");
        assert_eq!(found, grade, "{text}");
    }
}

#[test]
fn attaching_for_the_first_time_resets_some_links() {
    let mut facts = healthy();
    facts.links[0].driver = Some("i40e".to_owned());
    assert_eq!(findings(&facts), [], "it is attached");
    facts.pins.attached.clear();
    facts.links[0].link.xdp = None;
    let found = findings(&facts);
    assert!(
        found
            .iter()
            .any(|finding| finding.grade == Grade::Note && finding.what.contains("i40e")),
        "{found:?}"
    );
}

#[test]
fn a_bond_that_has_no_native_xdp_and_tags_taken_off_are_told() {
    let mut facts = healthy();
    facts.links[0].link.kind = Kind::Bond(6);
    status(&mut facts).interfaces.clear();
    assert!(
        findings(&facts)[0].what.contains("balance-alb"),
        "{:?}",
        findings(&facts)
    );

    let mut facts = healthy();
    facts.links[0].features.rx_vlan = true;
    let mut vlan = nic("eth0.7", Kind::Vlan);
    vlan.link = Link {
        ifindex: 3,
        parent: Some(2),
        vlan_id: Some(7),
        xdp: None,
        ..vlan.link
    };
    facts.links.push(vlan);
    facts.host.interfaces = vec!["eth0.7".to_owned()];
    let found = findings(&facts);
    assert!(
        found.iter().any(|finding| finding.fix.contains("rxvlan off")),
        "{found:?}"
    );
}

#[test]
fn many_sources_and_few_connections_are_no_proxy() {
    let mut facts = healthy();
    facts.peers = peers((0..40).map(|n| [192, 0, 2, n].into()));
    assert_eq!((facts.peers.n_connections, facts.peers.n_of_top), (40, 3));
    assert_eq!(findings(&facts), []);
    facts.peers = peers((0..29).map(|_| [192, 0, 2, 1].into()));
    assert_eq!(findings(&facts), []);
    let same = peers(["2001:db8::1", "2001:db8::2", "::1"].map(|text| text.parse().unwrap()));
    assert_eq!((same.n_connections, same.n_sources), (2, 1));
}

#[test]
fn the_worst_comes_first() {
    let mut facts = healthy();
    facts.support.has_tcx = false;
    facts.is_clock_kept = Some(false);
    facts.support.has_btf = true;
    facts.keys = Err("broken".to_owned());
    let grades: Vec<Grade> = findings(&facts).iter().map(|finding| finding.grade).collect();
    assert_eq!(grades, [Grade::Problem, Grade::Warning, Grade::Note]);
}
