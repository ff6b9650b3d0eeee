//! `cordon bundle push`.

use std::{path::PathBuf, process::ExitCode};

use crate::{
    bundle::limits::MAX_FILE_BYTES,
    cli::{
        Format, Globals,
        confirmation::{self, Confirmation, parse_confirmation},
        output, remote,
    },
    daemon::api::{PushOutcome, PushQuery, Pushed},
    input,
};

/// Send a bundle to the daemon of this host
///
/// It is taken if enough trusted keys signed it, if it is for this host and not older than what the host has. What this
/// host has already changes nothing. The same as moving the file into `incoming` below the state directory, with an answer.
#[derive(Debug, clap::Args)]
pub(super) struct Push {
    /// Bundle
    file: PathBuf,

    /// Go back to the earlier policy after this span (90s, 2h) unless `cordon confirm` is run; the kernel does it, even if
    /// the daemon is dead [default: in force at once]
    ///
    /// `auto`, or `auto=SPAN` [default span: 120s]: cordon confirms by itself once the probes of the host file have
    /// held for ten seconds, and waits here for what comes of it
    #[arg(long, value_name = "SPAN", value_parser = parse_confirmation)]
    confirm: Option<Confirmation>,

    /// Take it although it would drop a failsafe prefix, your SSH peer, a gateway or a resolver. Hazard: if it cuts you
    /// off, nothing brings you back
    #[arg(long)]
    override_lockout: bool,
}

impl Push {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let query = PushQuery {
            file: self.file.display().to_string(),
            confirm_s: self.confirm.map(|confirm| confirm.window.as_secs()),
            confirm_auto: self.confirm.is_some_and(|confirm| confirm.is_auto),
            override_lockout: self.override_lockout,
            ssh_peer: remote::ssh_peer(),
        };
        let bytes =
            input::read_bytes(&self.file, MAX_FILE_BYTES).map_err(|error| error.refusal("the bundle"))?;
        let path = format!("/v1/bundles?{}", serde_urlencoded::to_string(&query)?);
        let pushed: Pushed =
            remote::with_daemon(globals, async |client| client.send_bytes(&path, bytes).await)?;
        output::print_remarks(globals.output, &pushed.diagnostics)?;
        if pushed
            .applied
            .as_ref()
            .is_some_and(|applied| applied.probing.is_some())
        {
            if globals.output == Format::Text {
                output::print_text(&render(&pushed))?;
            }
            return await_probes(globals, pushed);
        }
        output::print(globals.output, &pushed, render)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn await_probes(globals: &Globals, mut pushed: Pushed) -> anyhow::Result<ExitCode> {
    if let Some(applied) = &mut pushed.applied {
        let probing = confirmation::wait(globals, &applied.policy)?;
        applied.probing = probing.or(applied.probing.take());
        applied.confirm_left_s = None;
    }
    output::print(globals.output, &pushed, |pushed| {
        let applied = pushed.applied.as_ref();
        applied.map_or_else(String::new, |applied| {
            confirmation::told_confirmed(&applied.policy)
        })
    })?;
    Ok(ExitCode::SUCCESS)
}

fn render(pushed: &Pushed) -> String {
    let mut text = String::new();
    let applied = pushed.applied.as_ref();
    for lockout in applied.iter().flat_map(|applied| &applied.lockouts) {
        text.push_str(&format!("overridden: {lockout}\n"));
    }
    for problem in &pushed.problems {
        text.push_str(&format!("problem: {problem}\n"));
    }
    let bundle = format!(
        "{} {}, revision {}",
        pushed.kind.name(),
        pushed.name,
        pushed.revision
    );
    text.push_str(&match (pushed.outcome, applied, &pushed.followed) {
        (PushOutcome::Idle, _, _) => format!("{bundle}: this host has it already; nothing has changed"),
        (PushOutcome::Accepted, Some(applied), _) => {
            let generation = applied.generation;
            if let Some(probing) = &applied.probing {
                text.push_str(&confirmation::told(&applied.policy, generation, probing));
                return text;
            }
            match applied.confirm_left_s {
                None => format!("{bundle}: accepted and in force (generation {generation})"),
                Some(seconds) => format!(
                    "{bundle}: accepted and in force (generation {generation}); reverts in {seconds} s unless you run \
                     `cordon confirm`"
                ),
            }
        }
        (PushOutcome::Accepted, None, Some(followed)) => format!("{bundle}: followed: {followed}"),
        (PushOutcome::Accepted, None, None) => format!("{bundle}: in force again"),
    });
    text.push('\n');
    text
}
