//! The root file system of a host: the base system, and in memory what differs from it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::{
    lab::{EDGE_IFNAME, EDGE_V4, EDGE_V6, INTERNET_V4, INTERNET_V6},
    scratch::Scratch,
    small_disk,
};

/// A host's bpffs: systemd mounts it on real hardware; in a container there is only a place for it. And its interfaces in
/// /sys: those that a container shows are those of whoever started it.
const BPFFS_UNIT: &str = "\
[Unit]
DefaultDependencies=no
Before=systemd-tmpfiles-setup.service sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/mount -t bpf -o mode=700 bpf /sys/fs/bpf
ExecStart=/bin/mkdir /run/lab-sys
ExecStart=/bin/mount -t sysfs sysfs /run/lab-sys
ExecStart=/bin/mount --bind /run/lab-sys/class/net /sys/class/net
ExecStart=/bin/mount --bind /run/lab-sys/devices/virtual/net /sys/devices/virtual/net
[Install]
WantedBy=sysinit.target
";

/// What every network manager does: wait for network-pre.target, then bring the interface up. In a container the
/// interface is there before the boot, so it is taken down at the end of the one before.
const NETWORK_UNIT: &str = "\
[Unit]
Wants=network-pre.target
After=network-pre.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/lab-network up
ExecStop=/usr/local/sbin/lab-network down
[Install]
WantedBy=multi-user.target
";

/// The root file system; unmounted when dropped.
#[derive(Debug)]
pub struct Root {
    scratch: Scratch,
}

impl Root {
    /// Lays a file system in memory over the base system.
    pub fn new(base: &Path) -> anyhow::Result<Self> {
        let root = Self {
            scratch: Scratch::new()?,
        };
        // A killed harness leaves it; the next one sweeps it away with the rest of the directory.
        let memory = root.scratch.path().join(small_disk::DIR);
        fs::create_dir(&memory).context("cannot make a directory")?;
        mount(
            Some("tmpfs"),
            &memory,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("size=1G,mode=755"),
        )
        .context("cannot mount a tmpfs")?;
        for dir in ["upper", "work", "root"] {
            fs::create_dir(memory.join(dir)).with_context(|| format!("cannot make {dir}"))?;
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            base.display(),
            memory.join("upper").display(),
            memory.join("work").display()
        );
        mount(
            Some("overlay"),
            &root.path(),
            Some("overlay"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .context("cannot mount an overlay")?;
        root.add_lab()?;
        Ok(root)
    }

    /// The directory.
    pub fn path(&self) -> PathBuf {
        self.scratch.path().join(small_disk::DIR).join("root")
    }

    /// Where the console's text goes.
    pub fn console(&self) -> PathBuf {
        self.scratch.path().join("console.log")
    }

    fn add_lab(&self) -> anyhow::Result<()> {
        let script = format!(
            "#!/bin/sh\n\
             ip link set {EDGE_IFNAME} $1\n\
             [ $1 = down ] && exit 0\n\
             ip address replace {EDGE_V4}/15 dev {EDGE_IFNAME}\n\
             ip -6 address replace {EDGE_V6}/48 dev {EDGE_IFNAME} nodad\n\
             ip route replace default via {INTERNET_V4} dev {EDGE_IFNAME}\n\
             ip -6 route replace default via {INTERNET_V6} dev {EDGE_IFNAME}\n"
        );
        let root = self.path();
        let network = root.join("usr/local/sbin/lab-network");
        fs::write(&network, script).context("cannot write a script")?;
        fs::set_permissions(&network, fs::Permissions::from_mode(0o755))?;
        let units = root.join("etc/systemd/system");
        for (name, text, target) in [
            ("lab-bpffs.service", BPFFS_UNIT, "sysinit.target"),
            ("lab-network.service", NETWORK_UNIT, "multi-user.target"),
        ] {
            fs::write(units.join(name), text).with_context(|| format!("cannot write {name}"))?;
            let wants = units.join(format!("{target}.wants"));
            fs::create_dir_all(&wants)?;
            symlink(units_path(name), wants.join(name)).with_context(|| format!("cannot enable {name}"))?;
        }
        Ok(())
    }
}

/// As the host sees it.
fn units_path(name: &str) -> String {
    format!("/etc/systemd/system/{name}")
}

impl Drop for Root {
    fn drop(&mut self) {
        if let Err(errno) = umount2(&self.path(), MntFlags::MNT_DETACH) {
            eprintln!("warning: cannot unmount {}: {errno}", self.path().display());
        }
    }
}
