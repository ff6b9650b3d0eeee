use std::net::IpAddr;

use integration_tests::{
    booted::{BootedHost, Observer},
    lab::{EDGE_IFNAME, Lab},
    probes::Outcome,
    stream::{Always, Stream},
};

use super::{NEXT, Packages, can_boot};
use crate::traffic::edge::address;

/// An address of a blocked country and one of another, in the database inside the program.
const KP: &str = "175.45.176.1";
const DE: &str = "217.0.0.1";

const PASS: Outcome = Outcome::Passed;
const DROP: Outcome = Outcome::Blocked;

const POLICY: &str = r#"version = 1
default = "pass"
unknown = "pass"

[[order]]
id = "embargo"
authority = "Test Authority"

[[order.rule]]
action = "drop"
countries = ["KP"]
"#;

/// What KP and DE meet by every protocol.
fn met(lab: &Lab) -> [Outcome; 2] {
    [KP, DE].map(|source| {
        let reach = lab.reach_from(address(source)).unwrap();
        reach.uniform().unwrap_or_else(|| panic!("{source}: {reach:?}"))
    })
}

/// Packets from both places while something is done; none may meet the other verdict.
fn under_load(lab: &Lab, what: &str, act: impl FnOnce()) {
    let sources: [(IpAddr, Always); 2] = [(address(KP), Always::Blocked), (address(DE), Always::Passed)];
    let stream = Stream::start(lab, &sources).unwrap();
    act();
    let reports = stream.stop().unwrap();
    for report in &reports {
        println!(
            "{what}: {} sent {}, answered {}, wrong {}",
            report.source,
            report.n_sent,
            report.n_answered,
            report.n_wrong()
        );
        assert!(report.n_sent > 100, "hardly a load: {report:?}");
        assert_eq!(report.n_wrong(), 0, "{what}: {report:?}");
    }
}

fn daemon(host: &BootedHost<'_>) -> String {
    host.ok("systemctl show --property MainPID --value cordon")
        .unwrap()
}

/// Waits for another daemon than this one, started and ready.
fn wait_for_another(host: &BootedHost<'_>, before: &str) {
    let before = before.trim();
    host.wait(&format!(
        "systemctl is-active --quiet cordon && [ $(systemctl show --property MainPID --value cordon) != {before} ]"
    ))
    .unwrap();
}

fn reboot(host: &mut BootedHost<'_>) -> [integration_tests::booted::Seen; 2] {
    let observer = Observer::start(host.lab(), &[address(KP), address(DE)]).unwrap();
    host.reboot().unwrap();
    host.wait("systemctl is-active --quiet lab-network").unwrap();
    // Some packets after the network is up for sure.
    std::thread::sleep(std::time::Duration::from_millis(500));
    observer.stop().unwrap().try_into().unwrap()
}

#[test]
fn from_install_to_purge_with_packets_all_the_while() {
    if !can_boot() {
        return;
    }
    let packages = Packages::get();
    let lab = Lab::new().unwrap();
    let mut host = BootedHost::boot(&lab).unwrap();
    host.put(&packages.deb(), "/srv/cordon.deb").unwrap();
    host.put(&packages.next_deb(), "/srv/next.deb").unwrap();

    install(&host);
    control(&mut host);
    first_policy(&host);
    restart(&host);
    upgrade(&host);
    reboot_in_force(&mut host);
    stop_and_failed_start(&host);
    remove_and_purge(&host);
}

/// Installing attaches to nothing and starts nothing.
fn install(host: &BootedHost<'_>) {
    let said = host
        .ok("apt-get install --yes --no-install-recommends /srv/cordon.deb 2>&1")
        .unwrap();
    assert!(said.contains("attached to nothing"), "{said}");
    assert_eq!(met(host.lab()), [PASS; 2]);
    for unit in ["cordon", "cordon-restore"] {
        assert_ne!(
            host.sh(&format!("systemctl is-enabled {unit}")).unwrap().status,
            0
        );
        assert_ne!(host.sh(&format!("systemctl is-active {unit}")).unwrap().status, 0);
    }
    let said = host.ok("cordon init").unwrap();
    assert!(said.contains(EDGE_IFNAME), "{said}");
    host.ok("systemctl enable --now cordon-restore cordon").unwrap();
    let status = host.ok("systemctl show --property StatusText cordon").unwrap();
    assert!(status.contains("not enforcing"), "{status}");
    assert_eq!(met(host.lab()), [PASS; 2]);
    println!(
        "{}",
        host.ok("systemd-analyze security --no-pager cordon | tail -1")
            .unwrap()
    );
}

/// Without a policy the packets of a boot get their answers: the observer would see a hole.
fn control(host: &mut BootedHost<'_>) {
    let [kp, de] = reboot(host);
    println!("reboot without a policy: KP {kp:?}, DE {de:?}");
    assert!(kp.n_answered > 0 && de.n_answered > 0);
}

/// A policy is signed and pushed, and the daemon is nobody with three capabilities.
fn first_policy(host: &BootedHost<'_>) {
    for line in [
        "cordon key new alice --no-password",
        "cordon key trust alice.pub",
        "cordon bundle new edge",
        &format!("cat > edge/policy.toml <<'END'\n{POLICY}END\n"),
        "cordon bundle build edge",
        "cordon bundle sign edge-1.cordon --key alice.key",
        "cordon bundle push edge-1.cordon",
    ] {
        host.ok(line).unwrap();
    }
    assert_eq!(met(host.lab()), [DROP, PASS]);
    let status = host
        .ok("cat /proc/$(systemctl show -P MainPID cordon)/status")
        .unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    let uid = host.ok("id -u cordon").unwrap();
    assert_eq!(
        field("Uid:").split_whitespace().next(),
        Some(uid.trim()),
        "{status}"
    );
    // CAP_NET_ADMIN is 12, CAP_PERFMON 38, CAP_BPF 39 (capability.h).
    let expected = format!("{:016x}", 1u64 << 12 | 1 << 38 | 1 << 39);
    for set in ["CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), expected, "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    println!("{}", host.ok("cordon status | head -8").unwrap());
}

fn restart(host: &BootedHost<'_>) {
    under_load(host.lab(), "restart", || {
        for _ in 0..3 {
            host.ok("systemctl restart cordon").unwrap();
        }
    });
    // Stopped for good by somebody, the watchdog ends it and systemd starts another.
    under_load(host.lab(), "watchdog", || {
        let before = daemon(host);
        host.ok("systemctl kill --kill-whom=main --signal STOP cordon")
            .unwrap();
        wait_for_another(host, &before);
    });
}

fn upgrade(host: &BootedHost<'_>) {
    let generation = |host: &BootedHost<'_>| {
        host.ok("cordon status -o json | tr , '\\n' | grep number")
            .unwrap()
    };
    let in_force = generation(host);
    under_load(host.lab(), "upgrade", || {
        let before = daemon(host);
        host.ok("dpkg --install /srv/next.deb").unwrap();
        wait_for_another(host, &before);
    });
    let version = host
        .ok("dpkg-query --show --showformat '${Version}' cordon")
        .unwrap();
    assert_eq!(version, NEXT);
    assert_eq!(generation(host), in_force, "adopted, not rebuilt");
}

/// The policy holds before the first packet.
fn reboot_in_force(host: &mut BootedHost<'_>) {
    let [kp, de] = reboot(host);
    println!("reboot with a policy: KP {kp:?}, DE {de:?}");
    assert!(de.n_answered > 0, "nothing came up");
    assert!(kp.n_sent > 100);
    assert_eq!(kp.n_answered, 0, "a hole:\n{}", host.journal());
    let restore = host
        .ok("systemctl show --property Result cordon-restore \
             --property ExecMainStartTimestampMonotonic --property ExecMainExitTimestampMonotonic")
        .unwrap();
    println!("restore: {}", restore.replace('\n', " "));
    assert!(
        restore.contains("Result=success"),
        "{restore}\n{}",
        host.journal()
    );
    let order = host.ok("systemctl show -P Before cordon-restore").unwrap();
    assert!(order.contains("network-pre.target"), "{order}");
    host.wait("systemctl is-active --quiet cordon").unwrap();
    host.ok("cordon status").unwrap();
}

fn stop_and_failed_start(host: &BootedHost<'_>) {
    under_load(host.lab(), "stop", || {
        host.ok("systemctl stop cordon").unwrap();
    });
    assert_eq!(met(host.lab()), [DROP, PASS]);

    host.ok("cp /etc/cordon/cordon.toml . && echo nonsense >> /etc/cordon/cordon.toml")
        .unwrap();
    under_load(host.lab(), "failed start", || {
        host.sh("timeout 5 systemctl start cordon").unwrap();
        assert_ne!(host.sh("systemctl is-active cordon").unwrap().status, 0);
        host.ok("dpkg --install /srv/next.deb").unwrap();
        host.ok("dpkg --audit && dpkg-query --show --showformat '${Status}' cordon | grep -q 'ok installed'")
            .unwrap();
    });
    host.ok("cp cordon.toml /etc/cordon/cordon.toml").unwrap();
    host.ok("systemctl restart cordon").unwrap();
}

fn remove_and_purge(host: &BootedHost<'_>) {
    let said = host.ok("apt-get remove --yes cordon 2>&1").unwrap();
    assert!(
        said.contains(&format!("detached from {EDGE_IFNAME}"))
            && said.contains("nothing is blocked any more"),
        "{said}"
    );
    assert_eq!(met(host.lab()), [PASS; 2]);
    let recorded = host
        .ok("grep -h 'the package was removed' /var/lib/cordon/audit/*")
        .unwrap();
    assert!(recorded.contains(EDGE_IFNAME), "{recorded}");

    // Host file and policy are still there: installing attaches to nothing all the same.
    host.ok("dpkg --install /srv/cordon.deb").unwrap();
    host.ok("test -e /var/lib/cordon/policy.toml").unwrap();
    assert_eq!(met(host.lab()), [PASS; 2]);

    host.ok("apt-get purge --yes cordon 2>&1").unwrap();
    let left = host
        .ok("rm -rf /srv/*; find / -xdev -name '*cordon*' -not -path '/proc/*'; ls /sys/fs/bpf | grep -v debug; \
             getent passwd cordon; getent group cordon; systemctl list-unit-files --no-legend 'cordon*'; ls -d /etc/cordon; true")
        .unwrap();
    assert_eq!(left, "", "purge leaves nothing");
}
