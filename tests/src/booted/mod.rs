//! A whole host: a Debian booted with systemd in a container, whose network is the edge of a lab.
//!
//! The servers of the lab answer on its addresses from the start, so a packet that is not judged while the host boots
//! gets an answer. The root file system is thrown away: what is written to it lies in memory.

mod base;
mod observer;
mod root;

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use self::root::Root;
pub use self::{
    base::missing,
    observer::{Observer, Seen},
};
use crate::{cordon_process::Answer, lab::Lab, netns::spawn_bound};

/// How long a boot, a shutdown or a unit may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// By this exit status systemd-nspawn says that the host wants to boot anew.
const START_AGAIN: i32 = 133;

/// The host. Dropping it ends it.
#[derive(Debug)]
pub struct BootedHost<'lab> {
    lab: &'lab Lab,
    nspawn: Child,
    // After the container: its file system.
    root: Root,
}

impl<'lab> BootedHost<'lab> {
    /// Boots a fresh host and waits until its units are started.
    pub fn boot(lab: &'lab Lab) -> anyhow::Result<Self> {
        let root = Root::new(&base::directory()?)?;
        let host = Self {
            lab,
            nspawn: start(lab, &root)?,
            root,
        };
        host.wait_until_up()?;
        Ok(host)
    }

    /// The lab.
    pub fn lab(&self) -> &'lab Lab {
        self.lab
    }

    /// Copies a file into the host.
    pub fn put(&self, from: &Path, to: &str) -> anyhow::Result<()> {
        let to = self.root.path().join(to.trim_start_matches('/'));
        fs::copy(from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        Ok(())
    }

    /// Runs a line of shell on the host, as root in its home.
    pub fn sh(&self, line: &str) -> anyhow::Result<Answer> {
        let pid = self.init().context("the host does not run")?;
        let output = Command::new("nsenter")
            .args(["--all", "--root", "--wd", "--target", &pid.to_string(), "--"])
            .args([
                "env",
                "-i",
                "HOME=/srv",
                "LC_ALL=C.UTF-8",
                "DEBIAN_FRONTEND=noninteractive",
            ])
            .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["sh", "-c", &format!("cd /srv && {line}")])
            .stdin(Stdio::null())
            .output()
            .context("cannot run nsenter")?;
        let signal = output.status.signal().map(|signal| 128 + signal);
        Ok(Answer {
            status: output.status.code().or(signal).unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// As [`Self::sh`]; any exit status but 0 is an error. Gives standard output.
    pub fn ok(&self, line: &str) -> anyhow::Result<String> {
        let answer = self.sh(line)?;
        if answer.status != 0 {
            bail!(
                "`{line}` failed with status {}:\n{}{}\nits journal:\n{}",
                answer.status,
                answer.stdout,
                answer.stderr,
                self.journal()
            );
        }
        Ok(answer.stdout)
    }

    /// Waits until a line of shell succeeds.
    pub fn wait(&self, line: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.sh(line)?;
            if answer.status == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "`{line}` does not come true: {answer:?}\nthe journal:\n{}",
                    self.journal()
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Boots it anew. With the container goes its bpffs and whatever was pinned there, as with a kernel.
    pub fn reboot(&mut self) -> anyhow::Result<()> {
        self.ok("systemctl --no-block reboot")?;
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.nspawn.try_wait().context("cannot wait for systemd-nspawn")? {
                break status;
            }
            if Instant::now() > deadline {
                bail!("the host does not go down:\n{}", self.console());
            }
            thread::sleep(Duration::from_millis(20));
        };
        if status.code() != Some(START_AGAIN) {
            bail!("systemd-nspawn ended with {status}:\n{}", self.console());
        }
        self.nspawn = start(self.lab, &self.root)?;
        self.wait_until_up()
    }

    /// What cordon's units wrote.
    pub fn journal(&self) -> String {
        let lines = "journalctl --no-pager -o cat -n 60 -u cordon -u cordon-restore";
        self.sh(lines)
            .map_or_else(|error| format!("{error:#}"), |answer| answer.stdout)
    }

    fn console(&self) -> String {
        fs::read_to_string(self.root.console()).unwrap_or_default()
    }

    fn wait_until_up(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // `degraded`: up, and a unit has failed; those that count are looked at by the tests.
            let state = self.sh("systemctl is-system-running");
            if state.is_ok_and(|answer| ["running", "degraded"].contains(&answer.stdout.trim())) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the host does not come up:\n{}", self.console());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The first process of the host: the one child of systemd-nspawn that is the first of its process namespace.
    fn init(&self) -> Option<u32> {
        let nspawn = self.nspawn.id();
        let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
        children.split_whitespace().find_map(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
            (ids.split_whitespace().nth(1) == Some("1")).then(|| pid.parse().ok())?
        })
    }
}

impl Drop for BootedHost<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the journal of cordon's units:\n{}", self.journal());
        }
        self.nspawn.kill().ok();
        self.nspawn.wait().ok();
    }
}

/// Starts the container.
fn start(lab: &Lab, root: &Root) -> anyhow::Result<Child> {
    let console = File::options()
        .create(true)
        .append(true)
        .open(root.console())
        .context("cannot open a file for the console")?;
    let mut command = Command::new("systemd-nspawn");
    command
        .args(["--quiet", "--boot", "--register=no", "--keep-unit"])
        .args(["--console=read-only", "--link-journal=no", "--resolv-conf=off"])
        .args(["--timezone=off", "--machine=edge"])
        // What a host's root may do anyway.
        .arg("--system-call-filter=bpf")
        .arg("--capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN")
        .arg("--tmpfs=/sys/fs/bpf")
        .arg(format!("--network-namespace-path={}", lab.edge.path()))
        .arg("--directory")
        .arg(root.path())
        .stdin(Stdio::null())
        .stdout(console.try_clone().context("cannot share the console")?)
        .stderr(console);
    spawn_bound(command)
}
