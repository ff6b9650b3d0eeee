use std::{fs, path::Path};

use serde_json::Value;

use super::{answer, command};

/// A system as `init` sees it: an interface up, one down, a gateway that is the resolver too, a session, a lease.
fn made_up_root(root: &Path) {
    let put = |path: &str, content: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("its directory");
        fs::write(path, content).expect("a file");
    };
    for (name, kind, flags) in [
        ("lo", "772", "0x9"),
        ("ens3", "1", "0x1003"),
        ("ens4", "1", "0x1002"),
    ] {
        put(&format!("sys/class/net/{name}/type"), &format!("{kind}\n"));
        put(&format!("sys/class/net/{name}/flags"), &format!("{flags}\n"));
    }
    put(
        "proc/net/route",
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\nens3\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n",
    );
    put("etc/resolv.conf", "nameserver 127.0.0.53\n");
    put(
        "run/systemd/resolve/resolv.conf",
        "nameserver 192.0.2.1\nnameserver 2001:db8::53\n",
    );
    put(
        "run/systemd/netif/leases/2",
        "ADDRESS=192.0.2.10\nSERVER_ADDRESS=192.0.2.2\n",
    );
    put(
        "proc/net/tcp",
        "  sl  local_address rem_address   st\n   0: 0A0200C0:0016 097100CB:C55A 01 0:0 0:0 0 0 0 1\n   \
         1: 0A0200C0:0016 0A7100CB:C55A 01 0:0 0:0 0 0 0 1\n",
    );
    // Of the two, one has logged in.
    put(
        "run/systemd/sessions/4",
        "STATE=active\nREMOTE_HOST=203.0.113.9\n",
    );
}

#[test]
#[cfg(target_endian = "little")]
fn init_makes_failsafe_what_the_machine_depends_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("root");
    made_up_root(&root);
    let file = dir.path().join("etc/cordon.toml").display().to_string();
    let root = root.display().to_string();
    let init = |more: &[&str]| {
        let mut args = vec!["-c", &file, "init", "--root", &root];
        args.extend(more);
        answer(
            command()
                .env("SSH_CONNECTION", "2001:db8::77 50522 2001:db8::1 22")
                .args(args)
                .output()
                .expect("cordon runs"),
        )
    };

    let first = init(&[]);
    assert_eq!(first.status, Some(0), "{first:?}");
    assert!(
        first.stdout.contains("next:") && first.stdout.contains("cordon observe ens3"),
        "{first:?}"
    );
    let text = fs::read_to_string(&file).expect("the host file");
    let said: Vec<&str> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    assert_eq!(
        said,
        [
            "interfaces = [\"ens3\"]",
            "[[failsafe]]",
            "prefix = \"192.0.2.1/32\"",
            "comment = \"default gateway and resolver, found by init\"",
            "[[failsafe]]",
            "prefix = \"192.0.2.2/32\"",
            "comment = \"DHCP server, found by init\"",
            "[[failsafe]]",
            "prefix = \"203.0.113.9/32\"",
            "comment = \"SSH peer, found by init\"",
            "[[failsafe]]",
            "prefix = \"2001:db8::53/128\"",
            "comment = \"resolver, found by init\"",
            "[[failsafe]]",
            "prefix = \"2001:db8::77/128\"",
            "comment = \"SSH peer, found by init\"",
        ]
    );

    fs::write(&file, "# by hand\n").expect("the host file");
    let second = init(&[]);
    assert_eq!(second.status, Some(1), "{second:?}");
    assert!(second.stderr.contains("--force"), "{second:?}");
    assert_eq!(
        fs::read_to_string(&file).expect("the host file"),
        "# by hand\n",
        "never overwritten"
    );

    let shown = init(&["--stdout"]);
    assert_eq!((shown.status, shown.stdout), (Some(0), text.clone()));
    let forced = init(&["--force", "-o", "json"]);
    let value: Value = serde_json::from_str(&forced.stdout).expect("JSON");
    assert_eq!(value["interfaces"][0], "ens3");
    assert_eq!(fs::read_to_string(&file).expect("the host file"), text);
}
