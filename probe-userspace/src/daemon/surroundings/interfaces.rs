//! `/sys/class/net`: which interfaces carry the host's traffic.

use std::{fs, path::Path};

/// `ARPHRD_ETHER` (include/uapi/linux/if_arp.h).
const ETHERNET: &str = "1";
/// `IFF_UP`.
const UP: u32 = 0x1;
/// `IFF_LOOPBACK`.
const LOOPBACK: u32 = 0x8;

/// Ethernet interfaces that are up: those with hardware (or a hypervisor) behind them if there are any, else all
/// but bridges and tunnels, as in a container, where the uplink is a veth. Sorted by name.
pub fn uplinks(root: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root.join("sys/class/net")) else {
        return Vec::new();
    };
    let mut found: Vec<(String, bool)> = entries
        .filter_map(Result::ok)
        .filter(|entry| is_candidate(&entry.path()))
        .filter_map(|entry| {
            let has_device = entry.path().join("device").exists();
            Some((entry.file_name().into_string().ok()?, has_device))
        })
        .collect();
    if found.iter().any(|(_, has_device)| *has_device) {
        found.retain(|(_, has_device)| *has_device);
    }
    let mut names: Vec<String> = found.into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names
}

fn is_candidate(dir: &Path) -> bool {
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
    let flags = read("flags");
    let flags = flags.trim().trim_start_matches("0x");
    let flags = u32::from_str_radix(flags, 16).unwrap_or(0);
    read("type").trim() == ETHERNET
        && flags & UP != 0
        && flags & LOOPBACK == 0
        && !dir.join("bridge").exists()
        && !dir.join("tun_flags").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(root: &Path, name: &str, kind: &str, flags: &str, extra: &[&str]) {
        let dir = root.join("sys/class/net").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("type"), format!("{kind}\n")).unwrap();
        fs::write(dir.join("flags"), format!("{flags}\n")).unwrap();
        for name in extra {
            fs::create_dir(dir.join(name)).unwrap();
        }
    }

    #[test]
    fn hardware_goes_first() {
        let root = tempfile::tempdir().unwrap();
        add(root.path(), "lo", "772", "0x9", &[]);
        add(root.path(), "eth1", "1", "0x1003", &["device"]);
        add(root.path(), "eth0", "1", "0x1003", &["device"]);
        add(root.path(), "eth2", "1", "0x1002", &["device"]);
        add(root.path(), "veth9", "1", "0x1003", &[]);
        add(root.path(), "br0", "1", "0x1003", &["bridge"]);
        assert_eq!(uplinks(root.path()), ["eth0", "eth1"], "eth2 is down");
    }

    #[test]
    fn without_hardware_a_veth_is_the_uplink() {
        let root = tempfile::tempdir().unwrap();
        add(root.path(), "lo", "772", "0x9", &[]);
        add(root.path(), "veth9", "1", "0x1003", &[]);
        add(root.path(), "br0", "1", "0x1003", &["bridge"]);
        add(root.path(), "tap0", "1", "0x1003", &["tun_flags"]);
        assert_eq!(uplinks(root.path()), ["veth9"]);
        assert_eq!(uplinks(&root.path().join("absent")), Vec::<String>::new());
    }
}
