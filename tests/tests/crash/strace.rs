use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use integration_tests::{netns::spawn_bound, scratch::Scratch};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long strace may take to attach.
const PATIENCE: Duration = Duration::from_secs(20);

/// What happens at the n-th call of a thread.
pub struct Fault {
    call: String,
    what: String,
    when: usize,
}

impl Fault {
    /// The daemon is killed.
    pub fn kill(call: &str, when: usize) -> Self {
        Self {
            call: call.to_owned(),
            what: "signal=SIGKILL".to_owned(),
            when,
        }
    }

    /// The call fails.
    pub fn error(call: &str, error: &str, when: usize) -> Self {
        Self {
            call: call.to_owned(),
            what: format!("error={error}"),
            when,
        }
    }
}

/// A tracer of a running daemon.
pub struct Strace {
    child: Child,
    scratch: Scratch,
}

impl Strace {
    /// Lets a fault wait for a process.
    pub fn attach(pid: u32, fault: &Fault) -> anyhow::Result<Self> {
        let Fault { call, what, when } = fault;
        let inject = format!("inject={call}:{what}:when={when}");
        Self::spawn(pid, &["-e", &format!("trace={call}"), "-e", &inject])
    }

    /// Notes the calls of a process.
    pub fn count(pid: u32, calls: &[&str]) -> anyhow::Result<Self> {
        Self::spawn(pid, &["-e", &format!("trace={}", calls.join(","))])
    }

    fn spawn(pid: u32, args: &[&str]) -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let said = scratch.path().join("strace.err");
        let mut command = Command::new("strace");
        command
            .args(["-f", "-s", "0", "-p", &pid.to_string(), "-o"])
            .arg(scratch.path().join("trace"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&said).context("cannot make a file")?);
        let child = spawn_bound(command).context("cannot run strace: `cargo xtask setup` installs it")?;
        let mut strace = Self { child, scratch };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(&said).unwrap_or_default();
            if text.contains(" attached") {
                return Ok(strace);
            }
            if Instant::now() > deadline || strace.child.try_wait()?.is_some() {
                bail!("strace does not attach: {text}");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the tracer; whether it made a call fail.
    pub fn detach(self) -> anyhow::Result<bool> {
        Ok(self.trace()?.contains("(INJECTED)"))
    }

    /// Ends the tracer; what it noted.
    pub fn trace(mut self) -> anyhow::Result<String> {
        if self.child.try_wait()?.is_none() {
            let pid = Pid::from_raw(i32::try_from(self.child.id()).context("a process id out of range")?);
            kill(pid, Signal::SIGINT).context("cannot end strace")?;
        }
        // It may wait for ever for threads of a process that it saw killed: then it has noted all that there was.
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.child.kill().context("cannot kill strace")?;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let mut text = String::new();
        fs::File::open(self.scratch.path().join("trace"))
            .and_then(|mut file| file.read_to_string(&mut text))
            .context("cannot read what strace noted")?;
        Ok(text)
    }
}

/// How often the busiest thread made each call: strace counts by thread.
pub fn calls_of(trace: &str) -> BTreeMap<String, usize> {
    let mut by_thread: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in trace.lines() {
        let mut words = line.split_whitespace();
        if let (Some(thread), Some(rest)) = (words.next(), words.next())
            && let Some((call, _)) = rest.split_once('(')
        {
            *by_thread.entry((thread, call)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, call), n) in by_thread {
        let entry = most.entry(call.to_owned()).or_insert(0);
        *entry = n.max(*entry);
    }
    most
}
