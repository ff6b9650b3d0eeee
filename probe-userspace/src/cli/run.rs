//! `cordon run`.

use std::{io::IsTerminal as _, process::ExitCode};

use tracing_subscriber::EnvFilter;

use super::{Globals, output};
use crate::daemon;

/// Run the daemon in the foreground
///
/// Adopts what is pinned, attaches to the interfaces of the host file, and waits for orders at the control
/// socket. SIGTERM and SIGINT stop the daemon, not the enforcement: `cordon detach` ends that. Logs go to
/// standard error; CORDON_LOG sets the level [default: info].
#[derive(Debug, clap::Args)]
pub(super) struct Run {}

impl Run {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        log_to_stderr();
        let settings = globals.settings()?;
        output::print_remarks(globals.output, &settings.warnings)?;
        daemon::run(settings)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Logs go to standard error, at the level that CORDON_LOG says.
pub(super) fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("CORDON_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
