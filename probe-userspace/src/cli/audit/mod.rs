//! `cordon audit`: a file per verb below it. None of them needs a daemon.

mod anchor;
mod files;
mod key;
mod show;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

use super::Globals;

/// Show what happened on this host, and find out whether the record of it was altered
///
/// Records are chained by their hashes and signed by a key of the host. Whoever holds that key can write a whole log
/// anew: an anchor, kept where the host cannot reach it, shows that too.
#[derive(Debug, clap::Args)]
pub(super) struct Audit {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Show(show::Show),
    Verify(verify::Verify),
    Anchor(anchor::AnchorVerb),
    Key(key::KeyVerb),
}

/// The newest records of the host's log, a line of JSON each.
pub(super) fn tail(globals: &Globals, n_lines: usize) -> anyhow::Result<String> {
    let mut lines = std::collections::VecDeque::new();
    files::read(&files::dir(None, globals)?, |_, bytes| {
        for line in String::from_utf8_lossy(bytes).lines() {
            lines.push_back(line.to_owned());
            if lines.len() > n_lines {
                lines.pop_front();
            }
        }
    })?;
    Ok(lines.into_iter().collect::<Vec<_>>().join("\n"))
}

impl Audit {
    /// A verb's own word for JSON.
    pub(super) fn is_json(&self) -> bool {
        matches!(&self.verb, Verb::Show(verb) if verb.json)
    }

    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::Show(verb) => verb.execute(globals),
            Verb::Verify(verb) => verb.execute(globals),
            Verb::Anchor(verb) => verb.execute(globals),
            Verb::Key(verb) => verb.execute(globals),
        }
    }
}
