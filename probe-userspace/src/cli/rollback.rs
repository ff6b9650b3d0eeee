//! `cordon rollback`.

use std::{process::ExitCode, time::Duration};

use super::{Globals, output, remote};
use crate::daemon::api::{RollbackRequest, RolledBack};
use crate::span::parse_span;

/// Go back to an earlier policy
///
/// If the kernel still holds it, it is in force within milliseconds; otherwise it is compiled again. On a host that takes
/// signed policies only it ends break-glass and nothing else: there, issue the older content anew with `cordon bundle
/// reissue`.
#[derive(Debug, clap::Args)]
pub(super) struct Rollback {
    /// Number of the entry in `cordon history` [default: the policy before the one in force]
    number: Option<u64>,

    /// Go forward again after this span (90s, 2h) unless `cordon confirm` is run; the kernel does it
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    confirm: Option<Duration>,

    /// Go back although it would drop a failsafe prefix, your SSH peer, a gateway or a resolver. Hazard: if it cuts you
    /// off, nothing brings you back
    #[arg(long)]
    override_lockout: bool,
}

impl Rollback {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let request = RollbackRequest {
            number: self.number,
            confirm_s: self.confirm.map(|span| span.as_secs()),
            override_lockout: self.override_lockout,
            ssh_peer: remote::ssh_peer(),
        };
        let back: RolledBack = remote::with_daemon(globals, async |client| {
            client.post("/v1/rollback", &request).await
        })?;
        output::print(globals.output, &back, render)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn render(back: &RolledBack) -> String {
    let mut text = String::new();
    for lockout in &back.lockouts {
        text.push_str(&format!("overridden: {lockout}\n"));
    }
    for problem in &back.problems {
        text.push_str(&format!("problem: {problem}\n"));
    }
    let how = match back.was_loaded {
        true => "it was still loaded",
        false => "it was compiled again",
    };
    let (name, generation) = (&back.policy.name, back.generation);
    text.push_str(&format!(
        "policy {name} is in force again (generation {generation}; {how}, {} ms)",
        back.took_us.div_ceil(1000)
    ));
    if let Some(seconds) = back.confirm_left_s {
        text.push_str(&format!(
            ", and the later one again in {seconds} s unless you run `cordon confirm`"
        ));
    }
    text.push('\n');
    text
}
