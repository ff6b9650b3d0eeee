//! `/proc/sys/net/mpls`: which interfaces take MPLS frames. Absent unless the kernel's MPLS router is loaded.

use std::{fs, path::Path};

/// Whether Linux unpacks MPLS frames that come in by an interface, by what the system under `root` (`/` outside
/// tests) says of the caller's network namespace.
pub fn takes_mpls(root: &Path, ifname: &str) -> bool {
    let path = root.join("proc/sys/net/mpls/conf").join(ifname).join("input");
    fs::read_to_string(path).is_ok_and(|text| !matches!(text.trim(), "" | "0"))
}

/// The setting as `sysctl` writes it: a dot within a name is a slash there.
pub fn mpls_sysctl(ifname: &str) -> String {
    format!("net.mpls.conf.{}.input", ifname.replace('.', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_takes_mpls_only_if_told_so() {
        let root = tempfile::tempdir().unwrap();
        for (ifname, value) in [("eth0", "1\n"), ("eth0.5", "1\n"), ("eth1", "0\n")] {
            let dir = root.path().join("proc/sys/net/mpls/conf").join(ifname);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("input"), value).unwrap();
        }
        let takes = |ifname| takes_mpls(root.path(), ifname);
        assert!(takes("eth0") && takes("eth0.5"));
        assert!(!takes("eth1") && !takes("absent0"));
        assert!(!takes_mpls(&root.path().join("absent"), "eth0"), "no MPLS router");
    }

    #[test]
    fn a_setting_is_named_as_sysctl_reads_it() {
        assert_eq!(mpls_sysctl("eth0"), "net.mpls.conf.eth0.input");
        assert_eq!(mpls_sysctl("eth0.5"), "net.mpls.conf.eth0/5.input");
    }
}
