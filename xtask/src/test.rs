//! `test`: everything that can fail, in four runs of cargo over one build.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{process, root_user, setup};

/// Arguments of `test`.
#[derive(clap::Args)]
pub struct TestArgs {
    /// Run only tests whose name contains this
    filter: Option<String>,
    /// Long counts: the figures the project promises, instead of samples of them (CORDON_TEST_FULL=1)
    #[arg(long)]
    full: bool,
    /// Build as yourself, run the tests through sudo
    #[arg(long)]
    sudo: bool,
}

impl TestArgs {
    /// Every test, short counts.
    pub fn all(sudo: bool) -> Self {
        Self {
            filter: None,
            full: false,
            sudo,
        }
    }
}

/// `probe-ebpf` is left out everywhere: it only builds for the BPF target, by the build script of
/// `probe-userspace`. The selection is the same in every run, so that cargo unifies features once.
pub const HOST_PACKAGES: [&str; 3] = ["--workspace", "--exclude", "probe-ebpf"];

/// Runs the tests and prints one line about them, which is also returned.
pub fn run(args: &TestArgs) -> anyhow::Result<String> {
    root_user::require("test", args.sudo)?;
    setup::run()?;
    let started = Instant::now();
    process::run(
        process::cargo(&["build", "--all-targets"])
            .args(HOST_PACKAGES)
            .stdin(Stdio::null()),
    )?;
    let built_in = started.elapsed();

    let started = Instant::now();
    let cordon = process::cordon_variable("debug")?;
    let mut tally = Tally::default();
    let mut failed_runs = Vec::new();
    for run in &RUNS {
        if run.place == Place::BesideOthers && args.filter.is_some() {
            continue;
        }
        eprintln!("\n== test: {}", run.name);
        if !run_tests(&mut command(run, args, &cordon), &mut tally)? {
            failed_runs.push(run.name);
        }
    }
    let summary = tally.summary(built_in, started.elapsed());
    if !failed_runs.is_empty() {
        bail!("{summary}; see the output of: {}", failed_runs.join(", "));
    }
    if tally.passed == 0 {
        bail!("no test ran: no test's name contains the filter");
    }
    println!("\n{summary}");
    Ok(summary)
}

/// One run of `cargo test`.
struct Run {
    name: &'static str,
    targets: &'static [&'static str],
    place: Place,
}

const RUNS: [Run; 4] = [
    Run {
        name: "unit tests",
        targets: &["--lib", "--bins"],
        place: Place::Anywhere,
    },
    Run {
        name: "documentation examples",
        targets: &["--doc"],
        place: Place::Anywhere,
    },
    Run {
        name: "integration tests on this kernel, those that go one at a time",
        targets: &["--test", "*"],
        place: Place::Alone,
    },
    Run {
        name: "integration tests on this kernel, the others",
        targets: &["--test", "*"],
        place: Place::BesideOthers,
    },
];

/// Modules of integration tests that saturate the CPUs on purpose, measure rates, or look at all maps and processes
/// there are. The others have namespaces and pins of their own and mostly wait.
const ALONE: &[&str] = &[
    "actions::limit",
    "bench::",
    "booted::",
    "chaos::",
    "cleanup::",
    "corpus::",
    "crash::",
    "daemon::",
    "fuzz::",
    "kernels::",
    "publish::",
    "push::crash",
    "surroundings::",
    "swap::",
    "traffic::",
    "world::",
];

/// Whether tests run beside others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// As many at a time as there are CPUs.
    Anywhere,
    /// [`ALONE`], one at a time.
    Alone,
    /// All but [`ALONE`], two at a time.
    BesideOthers,
}

impl Place {
    fn libtest_args(self, filter: Option<&str>) -> Vec<&str> {
        match (self, filter) {
            (Self::Anywhere, _) => Vec::new(),
            // A filter is for few tests: whichever they are, they run alone.
            (Self::Alone, Some(_)) => vec!["--test-threads=1"],
            (Self::Alone, None) => [&["--test-threads=1"][..], ALONE].concat(),
            (Self::BesideOthers, _) => {
                let skips = ALONE.iter().flat_map(|module| ["--skip", module]);
                ["--test-threads=2"].into_iter().chain(skips).collect()
            }
        }
    }
}

fn command(run: &Run, args: &TestArgs, cordon: &(&str, String)) -> Command {
    let mut command = process::cargo(&["test", "--no-fail-fast"]);
    command.args(HOST_PACKAGES).args(run.targets);
    let filter = args.filter.as_deref();
    command
        .args(filter)
        .arg("--")
        .args(run.place.libtest_args(filter));
    let mut variables = vec![(cordon.0, cordon.1.as_str())];
    if args.full {
        variables.push(("CORDON_TEST_FULL", "1"));
    }
    command.envs(variables.iter().copied());
    if args.sudo && !root_user::is_root() {
        root_user::run_through_sudo(&mut command, &variables);
    }
    command
}

/// Passes the output on and counts. `false`: a test failed.
fn run_tests(command: &mut Command, tally: &mut Tally) -> anyhow::Result<bool> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", process::shown(command)))?;
    let stdout = child.stdout.take().context("the child has no standard output")?;
    for line in BufReader::new(stdout).split(b'\n') {
        let mut line = line.context("cannot read what the tests print")?;
        tally.count(&String::from_utf8_lossy(&line));
        line.push(b'\n');
        io::stdout().write_all(&line)?;
    }
    Ok(child.wait()?.success())
}

/// Sums of the test runner's closing lines.
#[derive(Default, Debug, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ..`.
    fn count(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else {
            return;
        };
        // The first part carries the outcome too: `ok. 3 passed`.
        for part in rest.split(';') {
            let mut words = part.split_whitespace().rev();
            let (Some(what), Some(number)) = (words.next(), words.next()) else {
                continue;
            };
            let number: u64 = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    fn summary(&self, built_in: Duration, ran_in: Duration) -> String {
        let Self {
            passed,
            failed,
            ignored,
        } = self;
        format!(
            "tests: {passed} passed, {failed} failed, {ignored} ignored; built in {} s, ran in {} s",
            built_in.as_secs(),
            ran_in.as_secs()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_summed() {
        let mut tally = Tally::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s",
            "test counts::passed ... ok",
        ] {
            tally.count(line);
        }
        let expected = Tally {
            passed: 13,
            failed: 2,
            ignored: 1,
        };
        assert_eq!(tally, expected);
    }

    #[test]
    fn integration_tests_run_one_at_a_time_and_take_the_filter() {
        let args = TestArgs {
            filter: Some("swap".to_owned()),
            full: true,
            sudo: false,
        };
        let command = command(&RUNS[2], &args, &("CORDON_BIN", "x".to_owned()));
        let words: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        assert_eq!(
            words.join(" "),
            "test --no-fail-fast --workspace --exclude probe-ebpf --test * swap -- --test-threads=1"
        );
        assert!(
            command
                .get_envs()
                .any(|(name, value)| name == "CORDON_TEST_FULL" && value.is_some()),
            "--full should reach the tests"
        );
    }
}
