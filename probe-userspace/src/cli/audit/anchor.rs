//! `cordon audit anchor`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, anyhow, bail};

use super::files;
use crate::{
    audit::{Anchor, Stamp, log},
    cli::{
        Format, Globals,
        bundle::files::{self as bundle_files, Existing},
        output,
    },
};

/// Sign what the newest record is, to be kept where this host cannot reach it
///
/// Verifies the log first. With an anchor, `cordon audit verify` finds out if the log was cut short or written anew
/// since, even by somebody who has the host key.
#[derive(Debug, clap::Args)]
pub(super) struct AnchorVerb {
    /// File to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Replace the file if it is there
    #[arg(long, requires = "out")]
    force: bool,
}

impl AnchorVerb {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let state_dir = globals.settings_or_defaults()?.state_dir;
        let dir = log::dir(&state_dir);
        let report = files::verify(&dir, None, None)?;
        if let Some(finding) = report.findings.first() {
            bail!(
                "{}/{finding}: an anchor would vouch for what was tampered with; look at it with `cordon audit verify`",
                dir.display()
            );
        }
        let key = log::read_key(&state_dir)
            .with_context(|| format!("cannot read the host key {}", log::key_path(&state_dir).display()))?;
        let now = Stamp::now().at;
        let anchor = Anchor::make(&report.host, &key, report.head, &now).map_err(|why| anyhow!("{why}"))?;
        if anchor.key != report.key {
            bail!(
                "the log is signed by the key {}, and the host key is {}: verify the log",
                report.key,
                anchor.key
            );
        }
        if let Some(out) = &self.out {
            let mut text = serde_json::to_vec_pretty(&anchor).context("cannot write the anchor as JSON")?;
            text.push(b'\n');
            let existing = if self.force {
                Existing::Replace
            } else {
                Existing::Keep
            };
            bundle_files::write(out, &text, existing, 0o644)?;
            if globals.output == Format::Text {
                output::print_text(&format!(
                    "{}: record {} of {}; keep it where this host cannot reach it\n",
                    out.display(),
                    anchor.seq,
                    anchor.host
                ))?;
                return Ok(ExitCode::SUCCESS);
            }
        }
        output::print(Format::Json, &anchor, |_| String::new())?;
        Ok(ExitCode::SUCCESS)
    }
}
