//! `cordon rollback`.

use std::process::ExitCode;

use super::{
    Format, Globals,
    confirmation::{self, Confirmation, parse_confirmation},
    output, remote,
};
use crate::daemon::api::{RollbackRequest, RolledBack};

/// Go back to an earlier policy
///
/// If the kernel still holds it, it is in force within milliseconds; otherwise it is compiled again. On a host that takes
/// signed policies only it ends break-glass and nothing else: there, issue the older content anew with `cordon bundle
/// reissue`.
#[derive(Debug, clap::Args)]
pub(super) struct Rollback {
    /// Number of the entry in `cordon history` [default: the policy before the one in force]
    number: Option<u64>,

    /// Revision of the bundle to go back to, instead of a number
    #[arg(long, value_name = "N", conflicts_with = "number")]
    revision: Option<u64>,

    /// Go forward again after this span (90s, 2h) unless `cordon confirm` is run; the kernel does it
    ///
    /// `auto`, or `auto=SPAN` [default span: 120s]: cordon confirms by itself once the probes of the host file have
    /// held for ten seconds, and waits here for what comes of it
    #[arg(long, value_name = "SPAN", value_parser = parse_confirmation)]
    confirm: Option<Confirmation>,

    /// Go back although it would drop a failsafe prefix, your SSH peer, a gateway or a resolver. Hazard: if it cuts you
    /// off, nothing brings you back
    #[arg(long)]
    override_lockout: bool,
}

impl Rollback {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let request = RollbackRequest {
            number: self.number,
            revision: self.revision,
            confirm_s: self.confirm.map(|confirm| confirm.window.as_secs()),
            confirm_auto: self.confirm.is_some_and(|confirm| confirm.is_auto),
            override_lockout: self.override_lockout,
            ssh_peer: remote::ssh_peer(),
        };
        let mut back: RolledBack = remote::with_daemon(globals, async |client| {
            client.post("/v1/rollback", &request).await
        })?;
        if back.probing.is_some() {
            if globals.output == Format::Text {
                output::print_text(&render(&back))?;
            }
            let probing = confirmation::wait(globals, &back.policy)?;
            back.probing = probing.or(back.probing);
            back.confirm_left_s = None;
            output::print(globals.output, &back, |back| {
                confirmation::told_confirmed(&back.policy)
            })?;
            return Ok(ExitCode::SUCCESS);
        }
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
    if let Some(probing) = &back.probing {
        text.push('\n');
        text.push_str(&confirmation::told(&back.policy, generation, probing));
        return text;
    }
    if let Some(seconds) = back.confirm_left_s {
        text.push_str(&format!(
            ", and the later one again in {seconds} s unless you run `cordon confirm`"
        ));
    }
    text.push('\n');
    text
}
