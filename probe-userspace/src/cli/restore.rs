//! `cordon restore`.

use std::process::ExitCode;

use super::{Globals, output, run};
use crate::daemon::{self, Restored, api::Status};

/// Put the stored policy in force without a daemon, as at boot
///
/// Loads the last good policy and database with halts, lifts and exemptions, attaches to the interfaces of the host
/// file that are there, and ends; the pins keep it in force. One that appears later is attached by the daemon. With
/// no stored policy it does nothing. cordon-restore.service runs it before the network comes up. Fails if a daemon
/// runs, or if something that is there could not be put under the policy; then what was in force stays so.
#[derive(Debug, clap::Args)]
pub(super) struct Restore {}

impl Restore {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        run::log_to_stderr();
        let settings = globals.settings()?;
        output::print_remarks(globals.output, &settings.warnings)?;
        let Restored { status, unverified } = daemon::restore(settings)?;
        output::print(globals.output, &status, render)?;
        for text in &unverified {
            output::print_note(&format!("not as it should be: {text}"))?;
        }
        Ok(match unverified.as_slice() {
            [] => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}

fn render(status: &Status) -> String {
    let problems = status.problems.iter();
    let problems = problems.map(|problem| format!("problem: {problem}\n"));
    format!("{}\n{}", status.sentence, problems.collect::<String>())
}
