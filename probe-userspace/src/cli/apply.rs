//! `cordon apply`.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use super::{
    Format, Globals,
    confirmation::{self, Confirmation, parse_confirmation},
    output,
    policy_file::PolicyFile,
    remote,
};
use crate::{
    daemon::api::{Applied, ApplyRequest, BreakGlassRequest, Outcome},
    span::parse_span,
};

/// Time to confirm if a person sits at the terminal.
const TERMINAL_CONFIRM: Duration = Duration::from_secs(120);

/// For how long a policy that nobody signed is in force, unless that is said.
const BREAK_GLASS: Duration = Duration::from_secs(3600);

/// Put a policy in force
///
/// The daemon compiles it, runs its tests, makes sure that nobody this host needs would be cut off, and
/// publishes it on all interfaces at once. Whatever fails on the way leaves the policy in force untouched. Lists that the
/// policy names are read from `lists/NAME.txt` beside it. A host that trusts a key takes bundles instead: `cordon bundle
/// push`.
#[derive(Debug, clap::Args)]
pub(super) struct Apply {
    /// Policy file
    file: PathBuf,

    /// Go back to the earlier policy after this span (90s, 2h) unless `cordon confirm` is run; the kernel does
    /// it, even if the daemon is dead [default: 120s on a terminal, otherwise in force at once]
    ///
    /// `auto`, or `auto=SPAN` [default span: 120s]: cordon confirms by itself once the probes of the host file have
    /// held for ten seconds, and waits here for what comes of it
    #[arg(long, value_name = "SPAN", value_parser = parse_confirmation, conflicts_with = "no_confirm")]
    confirm: Option<Confirmation>,

    /// In force at once, on a terminal too. Hazard: if it cuts you off, nothing brings you back
    #[arg(long)]
    no_confirm: bool,

    /// Publish although it would drop a failsafe prefix, your SSH peer, a gateway or a resolver. Hazard: see above
    #[arg(long)]
    override_lockout: bool,

    /// On a host that takes signed policies only: put it in force without a signature, for a while. The kernel goes back
    /// to the signed policy by itself; it cannot be confirmed, is recorded, and is gone after a reboot
    #[arg(long, requires = "reason", conflicts_with_all = ["confirm", "no_confirm"])]
    break_glass: bool,

    /// Why the glass is broken
    #[arg(long, value_name = "TEXT", requires = "break_glass")]
    reason: Option<String>,

    /// For how long the glass is broken, at most 24h [default: 1h]
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_span, requires = "break_glass")]
    span: Option<Duration>,
}

impl Apply {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let PolicyFile { file, text, lists } = PolicyFile::read(&self.file)?;
        let confirm = self.confirm_window(io::stdin().is_terminal());
        let request = ApplyRequest {
            file,
            text,
            lists,
            confirm_s: confirm.map(|confirm| confirm.window.as_secs()),
            confirm_auto: confirm.is_some_and(|confirm| confirm.is_auto),
            override_lockout: self.override_lockout,
            ssh_peer: remote::ssh_peer(),
            break_glass: self.reason.clone().map(|reason| BreakGlassRequest {
                reason,
                for_s: self.span.unwrap_or(BREAK_GLASS).as_secs(),
            }),
        };
        let mut applied: Applied =
            remote::with_daemon(globals, async |client| client.post("/v1/apply", &request).await)?;
        output::print_remarks(globals.output, &applied.diagnostics)?;
        if applied.probing.is_some() {
            if globals.output == Format::Text {
                output::print_text(&render(&applied))?;
            }
            let probing = confirmation::wait(globals, &applied.policy)?;
            applied.probing = probing.or(applied.probing);
            applied.confirm_left_s = None;
            output::print(globals.output, &applied, |applied| {
                confirmation::told_confirmed(&applied.policy)
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        output::print(globals.output, &applied, render)?;
        Ok(ExitCode::SUCCESS)
    }

    fn confirm_window(&self, is_terminal: bool) -> Option<Confirmation> {
        if self.break_glass {
            return None;
        }
        match (self.confirm, self.no_confirm, is_terminal) {
            (Some(confirmation), _, _) => Some(confirmation),
            (None, false, true) => Some(Confirmation {
                window: TERMINAL_CONFIRM,
                is_auto: false,
            }),
            (None, _, _) => None,
        }
    }
}

fn render(applied: &Applied) -> String {
    let mut text = String::new();
    for lockout in &applied.lockouts {
        text.push_str(&format!("overridden: {lockout}\n"));
    }
    for problem in &applied.problems {
        text.push_str(&format!("problem: {problem}\n"));
    }
    let (name, generation) = (&applied.policy.name, applied.generation);
    if let Some(probing) = &applied.probing {
        text.push_str(&confirmation::told(&applied.policy, generation, probing));
        return text;
    }
    text.push_str(&match (applied.outcome, applied.confirm_left_s) {
        (Outcome::Published, None) => format!("policy {name} is in force (generation {generation})\n"),
        (Outcome::Published, Some(seconds)) => format!(
            "policy {name} is in force (generation {generation}) and reverts in {seconds} s unless you run `cordon confirm`\n"
        ),
        (Outcome::AlreadyInForce, None) => {
            format!("policy {name} is already in force (generation {generation}); nothing was published\n")
        }
        (Outcome::AlreadyInForce, Some(seconds)) => format!(
            "policy {name} is already in force (generation {generation}) and still reverts in {seconds} s unless you run `cordon confirm`\n"
        ),
    });
    for amendment in &applied.amendments {
        text.push_str(&format!("{amendment}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_a_way_back_unless_told_otherwise() {
        let verb = |confirm: Option<u64>, no_confirm| Apply {
            file: PathBuf::new(),
            confirm: confirm.map(|seconds| Confirmation {
                window: Duration::from_secs(seconds),
                is_auto: false,
            }),
            no_confirm,
            override_lockout: false,
            break_glass: false,
            reason: None,
            span: None,
        };
        let seconds = |verb: Apply, is_terminal| {
            let found = verb.confirm_window(is_terminal);
            found.map(|confirm| confirm.window.as_secs())
        };
        assert_eq!(seconds(verb(None, false), true), Some(120));
        assert_eq!(seconds(verb(None, true), true), None);
        assert_eq!(seconds(verb(None, false), false), None);
        assert_eq!(seconds(verb(Some(30), false), false), Some(30));
        assert_eq!(seconds(verb(Some(30), false), true), Some(30));
    }
}
