//! Another kernel: one of Debian's, in a virtual machine without a network, that runs some of this package's tests.
//!
//! The processor is emulated (`-accel tcg`): slower by an order of magnitude, and the same everywhere.

mod image;
mod kernel;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{bail, ensure};

use self::{image::Image, kernel::Kernel};
use crate::netns::spawn_bound;

/// A guest that has not ended after this many seconds never will.
const LIMIT_S: &str = "1500";
/// What the tests need: all tables of the world, twice.
const MEMORY: &str = "2G";
/// Lines of the kernel's log that no test may cause.
const COMPLAINTS: [&str; 5] = ["BUG:", "WARNING:", "soft lockup", "rcu: INFO", "Oops"];

/// A kernel and what is to run on it.
#[derive(Debug)]
pub struct Guest {
    kernel: Kernel,
    dir: PathBuf,
}

/// What a guest said.
#[derive(Debug)]
pub struct Answer {
    /// `uname -r`.
    pub release: String,
    /// Tests that passed.
    pub n_passed: usize,
    /// Names of tests that failed.
    pub failed: Vec<String>,
    /// Lines of the kernel's log that name a fault of its own.
    pub complaints: Vec<String>,
    /// All of it.
    pub text: String,
}

impl Guest {
    /// Debian's newest kernel of a series (`6.1`), for clouds. It is fetched into `dir` once.
    pub fn new(series: &str, dir: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            kernel: Kernel::fetch(series, dir)?,
            dir: dir.to_owned(),
        })
    }

    /// Boots, runs the tests of `tests` (a test binary) whose names contain one of the filters (words of the test runner's command line), with the environment
    /// variables, and switches off.
    pub fn run(&self, tests: &Path, filters: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let image = Image::write(&self.dir, &self.kernel, tests, filters, variables)?;
        let mut qemu = Command::new("timeout");
        qemu.args(["--kill-after=5", LIMIT_S, "qemu-system-x86_64"])
            .args([
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max",
                "-smp",
                "2",
                "-m",
                MEMORY,
            ])
            .args(["-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio"])
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(image.path())
            .args(["-append", "console=ttyS0 panic=-1 quiet rdinit=/init"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = spawn_bound(qemu)?.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        ensure!(
            output.status.success(),
            "the guest did not end by itself ({}): {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            tail(&text)
        );
        answer(text)
    }
}

/// Reads what was written to the console.
fn answer(text: String) -> anyhow::Result<Answer> {
    // The firmware's own output leaves its last line open.
    let marked = |mark: &str| text.lines().find_map(|line| Some(line.split_once(mark)?.1));
    let Some(release) = marked(image::RELEASE_MARK) else {
        bail!("the guest has not booted:\n{}", tail(&text));
    };
    ensure!(
        marked(image::END_MARK).is_some(),
        "the tests came to no end:\n{}",
        tail(&text)
    );
    let outcomes = |outcome: &str| -> Vec<String> {
        let names = text
            .lines()
            .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(outcome));
        names.map(str::to_owned).collect()
    };
    Ok(Answer {
        release: release.to_owned(),
        n_passed: outcomes(" ... ok").len(),
        failed: outcomes(" ... FAILED"),
        complaints: text
            .lines()
            .filter(|line| COMPLAINTS.iter().any(|complaint| line.contains(complaint)))
            .map(str::to_owned)
            .collect(),
        text,
    })
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_says_is_read() {
        let text = "SeaBIOS\n\x1b[2Jguest: release 6.1.0\nrunning 3 tests\ntest a::b ... ok\ntest c ... FAILED\n\
                    test d ... ok\n[ 1.0] WARNING: CPU: 0\nguest: end\n";
        let answer = answer(text.to_owned()).unwrap();
        assert_eq!((answer.release.as_str(), answer.n_passed), ("6.1.0", 2));
        assert_eq!(answer.failed, ["c"]);
        assert_eq!(answer.complaints, ["[ 1.0] WARNING: CPU: 0"]);
        assert!(super::answer("SeaBIOS\n".to_owned()).is_err(), "no boot");
        assert!(
            super::answer("guest: release 6.1.0\ntest a ... ok\n".to_owned()).is_err(),
            "switched off in the middle"
        );
    }
}
