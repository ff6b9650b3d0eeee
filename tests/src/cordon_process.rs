//! The real `cordon` binary with a host file and directories of its own.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs::{self, File},
    net::IpAddr,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    counters::Counters,
    lab::{EDGE_IFNAME, Lab},
    netns::spawn_bound,
    scratch::Scratch,
};

/// How long the daemon may take from its start to its first answer.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// What the kernel itself puts into every bpffs (`kernel/bpf/preload`).
const KERNELS_OWN: [&str; 2] = ["maps.debug", "progs.debug"];

/// Path of the binary: `CORDON_BIN` if set, else the one that cargo builds, in the profile of this code.
pub fn binary() -> anyhow::Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BINARY.get_or_init(|| find_or_build().map_err(|error| format!("{error:#}"))) {
        Ok(path) => Ok(path),
        Err(error) => bail!("there is no cordon binary: {error}"),
    }
}

fn find_or_build() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("CORDON_BIN") {
        return Ok(path.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // Together with this package, so that cargo chooses the same features as when it built the tests and has
    // nothing to build twice.
    command
        .args([
            "build",
            "--package",
            "probe-userspace",
            "--package",
            "integration-tests",
            "--bin",
            "cordon",
        ])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stderr(Stdio::piped());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo build failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo did not say where it put the binary")
}

/// What the host file says beside the directories.
#[derive(Clone, Debug)]
pub struct HostFile {
    /// `interfaces`.
    pub interfaces: Vec<String>,
    /// `[[failsafe]]` prefixes.
    pub failsafe: Vec<String>,
    /// `database`; `None`: the embedded one, unless the host has one in the usual places.
    pub database: Option<PathBuf>,
    /// `xdp_mode`.
    pub xdp_mode: String,
    /// Further settings, one a line.
    pub settings: String,
    /// What `/etc/resolv.conf` says to the daemon; `None`: what it says to all.
    pub resolv_conf: Option<String>,
}

impl Default for HostFile {
    fn default() -> Self {
        Self {
            interfaces: vec![EDGE_IFNAME.to_owned()],
            failsafe: Vec::new(),
            database: None,
            xdp_mode: "allow-skb".to_owned(),
            settings: String::new(),
            resolv_conf: None,
        }
    }
}

impl HostFile {
    fn text(&self, scratch: &Scratch) -> String {
        let mut text = String::new();
        let mut line =
            |key: &str, value: String| writeln!(text, "{key} = {value}").expect("writing to a string");
        line("interfaces", format!("{:?}", self.interfaces));
        if let Some(database) = &self.database {
            line("database", format!("{database:?}"));
        }
        line("xdp_mode", format!("{:?}", self.xdp_mode));
        line("pin_dir", format!("{:?}", scratch.bpffs().join("cordon")));
        line("state_dir", format!("{:?}", scratch.path().join("state")));
        line("run_dir", format!("{:?}", scratch.path().join("run")));
        text.push_str(&self.settings);
        for prefix in &self.failsafe {
            write!(
                text,
                "\n[[failsafe]]\nprefix = {prefix:?}\ncomment = \"the test's own way in\"\n"
            )
            .expect("writing to a string");
        }
        text
    }
}

/// What a verb of the command line answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Exit status; 128 + the signal's number if a signal ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Answer {
    /// Standard output as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("this is not JSON:\n{self:?}"))
    }
}

/// A daemon on the edge of a lab, and the command line beside it. Dropping it kills the daemon, detaches and
/// removes its directories.
#[derive(Debug)]
pub struct Cordon<'lab> {
    lab: &'lab Lab,
    child: Option<Child>,
    scratch: Scratch,
}

impl<'lab> Cordon<'lab> {
    /// Prepares the directories and the host file; nothing runs yet.
    pub fn new(lab: &'lab Lab, host_file: &HostFile) -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        for dir in ["state", "run"] {
            fs::create_dir(scratch.path().join(dir)).with_context(|| format!("cannot make {dir}"))?;
        }
        let cordon = Self {
            lab,
            child: None,
            scratch,
        };
        fs::write(cordon.host_path(), host_file.text(&cordon.scratch))
            .context("cannot write the host file")?;
        if let Some(text) = &host_file.resolv_conf {
            fs::write(cordon.resolv_conf_path(), text).context("cannot write a resolv.conf")?;
        }
        Ok(cordon)
    }

    /// As [`Self::new`], and starts the daemon.
    pub fn start(lab: &'lab Lab, host_file: &HostFile) -> anyhow::Result<Self> {
        let mut cordon = Self::new(lab, host_file)?;
        cordon.run()?;
        Ok(cordon)
    }

    /// Starts the daemon and waits until it answers.
    pub fn run(&mut self) -> anyhow::Result<()> {
        let command = match self.resolv_conf_path() {
            path if path.exists() => self.daemon_with(&path)?,
            _ => self.command(&["run"])?,
        };
        self.run_as(command)
    }

    /// As [`Self::run`], for a daemon to which the host has been up for so many seconds longer (Linux 6.3). For the one
    /// after it, the system's clock has been set ahead by as much.
    pub fn run_up_longer(&mut self, by_s: u32) -> anyhow::Result<()> {
        let mut command = self.lab.edge.command("unshare");
        command
            .args(["--time", "--boottime", &by_s.to_string()])
            .arg(binary()?)
            .arg("-c")
            .arg(self.host_path())
            .arg("run")
            .env("NO_COLOR", "1");
        self.run_as(command)
    }

    fn run_as(&mut self, mut command: Command) -> anyhow::Result<()> {
        if self.child.is_some() {
            bail!("the daemon runs already");
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .context("cannot open the daemon's log")?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot share the daemon's log")?)
            .stderr(log)
            // Ctrl-C is for the harness, which then ends the daemon itself.
            .process_group(0);
        self.child = Some(spawn_bound(command)?);
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let answer = self.cordon(&["status", "-o", "json"])?;
            // `busy` says that the daemon still adopts or loads what was in force before.
            if answer.status == 0 && answer.json()?["busy"].is_null() {
                return Ok(());
            }
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().transpose()) {
                self.child = None;
                bail!("the daemon ended with {:?} at its start:\n{}", status, self.log());
            }
            if Instant::now() > deadline {
                bail!("the daemon does not answer: {answer:?}\nits log:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs a verb of the command line, as a script would: without a terminal.
    pub fn cordon(&self, args: &[&str]) -> anyhow::Result<Answer> {
        let output = self
            .command(args)?
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run cordon {}", args.join(" ")))?;
        let signal = output.status.signal().map(|signal| 128 + signal);
        Ok(Answer {
            status: output.status.code().or(signal).unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// As [`Self::cordon`]; any exit status but 0 is an error that shows the daemon's log.
    pub fn cordon_ok(&self, args: &[&str]) -> anyhow::Result<Answer> {
        let answer = self.cordon(args)?;
        if answer.status != 0 {
            bail!(
                "cordon {} failed with status {}:\n{}{}\nthe daemon's log:\n{}",
                args.join(" "),
                answer.status,
                answer.stdout,
                answer.stderr,
                self.log()
            );
        }
        Ok(answer)
    }

    /// Writes a policy file and applies it without confirmation, even if it drops a failsafe address: that these
    /// pass all the same is what the lab wants to see.
    pub fn apply(&self, policy: &str) -> anyhow::Result<Answer> {
        let path = self.write_policy(policy)?;
        self.cordon_ok(&["apply", "--no-confirm", "--override-lockout", &path])
    }

    /// Writes a policy file; gives its path.
    pub fn write_policy(&self, policy: &str) -> anyhow::Result<String> {
        let path = self.scratch.path().join("policy.toml");
        fs::write(&path, policy).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// What `cordon status` says.
    pub fn status(&self) -> anyhow::Result<Value> {
        self.cordon_ok(&["status", "-o", "json"])?.json()
    }

    /// Number of the generation in force.
    pub fn generation(&self) -> anyhow::Result<u64> {
        let status = self.status()?;
        status["generation"]["number"]
            .as_u64()
            .with_context(|| format!("status names no generation: {status:#}"))
    }

    /// The counters now.
    pub fn counters(&self) -> anyhow::Result<Counters> {
        let status = self.status()?;
        let rows = status["counters"].as_array().context("status has no counters")?;
        Counters::from_rows(rows)
    }

    /// Waits until the daemon says that it is attached to the edge's interface; gives the XDP mode.
    pub fn wait_attached(&self) -> anyhow::Result<String> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let status = self.status()?;
            let mode = status["interfaces"].as_array().and_then(|interfaces| {
                let edge = interfaces
                    .iter()
                    .find(|interface| interface["ifname"] == EDGE_IFNAME)?;
                edge["mode"].as_str().map(str::to_owned)
            });
            if let Some(mode) = mode {
                return Ok(mode);
            }
            if Instant::now() > deadline {
                bail!("the daemon does not attach: {status:#}\nits log:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills the daemon with SIGKILL and waits for its end.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("no daemon runs")?;
        child.kill().context("cannot kill the daemon")?;
        child.wait().context("cannot wait for the daemon")?;
        Ok(())
    }

    /// Waits for the end of a daemon that somebody else killed.
    pub fn forget(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("no daemon runs")?;
        child.wait().context("cannot wait for the daemon")?;
        Ok(())
    }

    /// Process id of the daemon.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.child.as_ref().map(Child::id).context("no daemon runs")
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let child = self.child.as_ref().context("no daemon runs")?;
        let pid = i32::try_from(child.id()).context("a process id out of range")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("cannot send {signal} to the daemon"))
    }

    /// Whether the daemon runs.
    pub fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// What the daemon wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Everything that is pinned on the daemon's bpffs.
    pub fn pins(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut pins = Vec::new();
        let mut dirs = vec![self.scratch.bpffs()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
                let path = entry
                    .with_context(|| format!("cannot list {}", dir.display()))?
                    .path();
                if path.is_dir() {
                    dirs.push(path);
                } else if !KERNELS_OWN
                    .iter()
                    .any(|name| path == self.scratch.bpffs().join(name))
                {
                    pins.push(path);
                }
            }
        }
        pins.sort();
        Ok(pins)
    }

    /// The directory with everything of this daemon: host file, policy, log, state, pins.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// A verb of the command line that is not started yet: to give it an environment, or to let it run beside the
    /// test. Started, it ends with the test's process only by [`spawn_bound`].
    pub fn command(&self, args: &[&str]) -> anyhow::Result<Command> {
        let mut command = self.lab.edge.command(binary()?);
        command.args(self.args(args));
        // The log is read by people, but not on a terminal.
        command.env("NO_COLOR", "1");
        // Who sits at this terminal is no part of the lab: cordon would guard their way in.
        for variable in ["SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"] {
            command.env_remove(variable);
        }
        Ok(command)
    }

    /// Arguments of a verb, this daemon's host file among them.
    pub fn args(&self, args: &[&str]) -> Vec<OsString> {
        let config = [OsString::from("-c"), self.host_path().into()];
        config
            .into_iter()
            .chain(args.iter().map(OsString::from))
            .collect()
    }

    /// The daemon with a `resolv.conf` of its own, in a mount namespace of its own.
    fn daemon_with(&self, resolv_conf: &Path) -> anyhow::Result<Command> {
        let mut command = self.lab.edge.command("unshare");
        command
            .args(["--mount", "sh", "-c"])
            .arg("mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"")
            .arg(resolv_conf)
            .arg(binary()?)
            .arg("-c")
            .arg(self.host_path())
            .arg("run")
            .env("NO_COLOR", "1");
        Ok(command)
    }

    fn resolv_conf_path(&self) -> PathBuf {
        self.scratch.path().join("resolv.conf")
    }

    fn host_path(&self) -> PathBuf {
        self.scratch.path().join("cordon.toml")
    }

    fn log_path(&self) -> PathBuf {
        self.scratch.path().join("daemon.log")
    }
}

impl Drop for Cordon<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
        if thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
        // The pins would go with the bpffs; this gives the interface back in the documented way.
        match self.cordon(&["detach", "--yes"]) {
            Ok(answer) if answer.status == 0 => {}
            Ok(answer) => eprintln!("warning: cordon detach failed: {answer:?}"),
            Err(error) => eprintln!("warning: {error:#}"),
        }
    }
}

/// A failsafe prefix that covers one address.
pub fn host_prefix(address: IpAddr) -> String {
    ipnet::IpNet::from(address).to_string()
}
