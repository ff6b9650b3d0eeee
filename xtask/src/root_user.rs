//! Verbs that load programs into the kernel need root.

use std::{fs, os::unix::fs::MetadataExt as _, process::Command};

use anyhow::bail;

use crate::process;

/// Whether this process runs as root.
pub fn is_root() -> bool {
    // The owner of /proc/self is the effective user.
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Fails without root, unless `--sudo` was given. The text is the command to run.
pub fn require(verb: &str, sudo: bool) -> anyhow::Result<()> {
    if sudo || is_root() {
        return Ok(());
    }
    bail!(
        "`cargo xtask {verb}` loads programs into the kernel and makes network namespaces: it needs root\n\n\
         Run this. It builds as you, and runs only what was built as root:\n\n    \
         cargo xtask {verb} --sudo"
    );
}

/// Makes cargo run what it builds through sudo, with these environment variables.
pub fn run_through_sudo(command: &mut Command, variables: &[(&str, &str)]) {
    let Some(host) = host_triple() else { return };
    command.env(runner_variable(&host), runner(variables));
}

fn host_triple() -> Option<String> {
    let text = process::output_of(Command::new("rustc").arg("-vV"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
}

fn runner_variable(host: &str) -> String {
    format!(
        "CARGO_TARGET_{}_RUNNER",
        host.to_uppercase().replace(['-', '.'], "_")
    )
}

/// `env` and not `sudo -E`: keeping the environment needs a right that sudoers seldom grant.
fn runner(variables: &[(&str, &str)]) -> String {
    let mut words = vec!["sudo".to_owned(), "env".to_owned()];
    words.extend(variables.iter().map(|(name, value)| format!("{name}={value}")));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_told_to_run_binaries_through_sudo() {
        assert_eq!(
            runner_variable("x86_64-unknown-linux-gnu"),
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER"
        );
        assert_eq!(
            runner(&[("CORDON_TEST_FULL", "1")]),
            "sudo env CORDON_TEST_FULL=1"
        );
    }
}
