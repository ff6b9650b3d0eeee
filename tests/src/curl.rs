//! The real `curl` as a client.

use std::{
    net::{IpAddr, SocketAddr},
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;

use crate::netns::{Netns, spawn_bound};

/// Exit status: the request was answered in full.
pub const OK: i32 = 0;
/// Exit status: cannot connect, which the other side said ("connection refused").
pub const REFUSED: i32 = 7;
/// Exit status: nobody answered in time.
pub const TIMED_OUT: i32 = 28;
/// Exit status: the connection broke while receiving ("connection reset by peer").
pub const RECEIVE_FAILED: i32 = 56;

/// How long a request may take before curl calls it timed out: longer than a SYN and its first two repetitions.
const PATIENCE_S: &str = "8";

/// What curl said.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Exit status.
    pub status: i32,
    /// The body.
    pub body: String,
    /// What it complained about.
    pub stderr: String,
}

/// Fetches a path from a server, from a source address of a namespace.
pub fn get(netns: &Netns, source: IpAddr, server: SocketAddr, path: &str) -> anyhow::Result<Answer> {
    let mut command = request(netns, source, server, path);
    command.args(["--max-time", PATIENCE_S]);
    Running::start(command)?.finish()
}

/// A request under way; dropping it ends it.
#[derive(Debug)]
pub struct Running {
    child: Option<Child>,
}

impl Running {
    /// Starts a download that may take as long as it likes. Its body is thrown away: the answer's body says its length.
    pub fn download(netns: &Netns, source: IpAddr, server: SocketAddr) -> anyhow::Result<Self> {
        let mut command = request(netns, source, server, "/");
        command.args(["--output", "/dev/null", "--write-out", "%{size_download}"]);
        Self::start(command)
    }

    fn start(command: Command) -> anyhow::Result<Self> {
        let child = spawn_bound(command).context("is package curl there?")?;
        Ok(Self { child: Some(child) })
    }

    /// Waits until curl is done.
    pub fn finish(mut self) -> anyhow::Result<Answer> {
        let child = self.child.take().context("curl was waited for already")?;
        let output = child.wait_with_output().context("cannot wait for curl")?;
        Ok(Answer {
            status: output.status.code().unwrap_or(-1),
            body: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn request(netns: &Netns, source: IpAddr, server: SocketAddr, path: &str) -> Command {
    let mut command = netns.command("curl");
    command
        // No configuration file of whoever runs the tests.
        .args(["--disable", "--silent", "--show-error", "--noproxy", "*"])
        .args(["--interface", &source.to_string()])
        .arg(format!("http://{server}{path}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}
