//! `cordon history`.

use std::process::ExitCode;

use super::{Globals, output, remote, table::table};
use crate::daemon::api::{HistoryEntry, HistoryReply};

/// Show which policies were in force, since when and until when, and who put them there
///
/// The daemon keeps the last 50. `cordon rollback N` goes back to one of them.
#[derive(Debug, clap::Args)]
pub(super) struct History {
    /// The same as `--output json`
    #[arg(long)]
    pub(super) json: bool,
}

impl History {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let history: HistoryReply =
            remote::with_daemon(globals, async |client| client.get("/v1/history").await)?;
        output::print(globals.output, &history, render)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn render(history: &HistoryReply) -> String {
    if history.entries.is_empty() {
        return "nothing was in force yet\n".to_owned();
    }
    let rows: Vec<Vec<String>> = history.entries.iter().map(row).collect();
    table(&rows, &[0])
}

fn row(entry: &HistoryEntry) -> Vec<String> {
    let to = match entry.to {
        Some(to) => to.to_string(),
        None => "now".to_owned(),
    };
    let policy = match (&entry.revision, &entry.break_glass) {
        (Some(revision), _) => format!("{} revision {revision}", entry.policy),
        (None, Some(reason)) => format!("{} (break-glass: {reason})", entry.policy),
        (None, None) => entry.policy.clone(),
    };
    vec![
        entry.number.to_string(),
        policy,
        format!("{} - {to}", entry.from),
        entry.actor.to_string(),
        entry
            .ended
            .map_or_else(String::new, |ended| ended.text().to_owned()),
    ]
}
