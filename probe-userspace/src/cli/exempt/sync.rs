//! `cordon exempt sync`.

use std::{path::PathBuf, process::ExitCode};

use crate::{
    cli::{Globals, heading::escaped, output, remote},
    daemon::api::Synced,
    exemption::limits::MAX_FILE_BYTES,
    input,
    policy::utf8,
};

/// Make the exemptions of a file all that there are
///
/// A JSON object a line: prefix, reference, reason, approver, until; and orders, services, wide (true) if need be. What the
/// file does not have is removed, what it has anew is added, what is the same stays. All of it or nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Sync {
    /// File of exemptions, at most 50,000
    file: PathBuf,

    /// The file may be empty. Hazard: that ends every exemption
    #[arg(long)]
    allow_empty: bool,
}

impl Sync {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let name = self.file.display().to_string();
        let bytes = input::read_bytes(&self.file, MAX_FILE_BYTES)
            .map_err(|unreadable| unreadable.refusal("the exemptions"))?;
        let text = match utf8(&name, &bytes) {
            Ok(text) => text,
            Err(diagnostic) => {
                let refusal = crate::daemon::Refusal::input(
                    format!("cannot read the exemptions {name}: {}", diagnostic.message),
                    vec![diagnostic],
                );
                return Err(refusal.into());
            }
        };
        let path = format!(
            "/v1/exemptions?file={}&allow_empty={}",
            escaped(&name),
            self.allow_empty
        );
        let synced: Synced = remote::with_daemon(globals, async |client| client.put(&path, text).await)?;
        output::print_remarks(globals.output, &synced.diagnostics)?;
        output::print(globals.output, &synced, render)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn render(synced: &Synced) -> String {
    let mut text = format!(
        "{} exemptions: {} added, {} changed, {} removed\n",
        synced.n_all, synced.added, synced.changed, synced.removed
    );
    if let Some(generation) = synced.generation {
        text.push_str(&format!(
            "the policy was published again (generation {generation}): some combinations were new\n"
        ));
    }
    for problem in &synced.problems {
        text.push_str(&format!("problem: {problem}\n"));
    }
    text
}
