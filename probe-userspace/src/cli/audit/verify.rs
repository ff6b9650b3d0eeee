//! `cordon audit verify`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::files;
use crate::{
    audit::{Anchor, ClockJump, Finding, MAX_ANCHOR_BYTES, Report},
    bundle::{key::PublicKey, trust::read_key},
    cli::{Globals, output},
    daemon::Refusal,
    input,
};

/// Find out whether the log is as it was written
///
/// Needs no daemon and no rights but to read. Without an anchor, a log that was written anew as a whole, or lost its
/// newest records, is consistent with itself all the same. Exit status: 0 consistent, 1 tampered with, 2 cannot read.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// Anchor of `cordon audit anchor`: its record must still be in the log
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,

    /// Public key file of the host: the log must be signed by it [default: the key that the log itself names]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// Directory of the log, or of a copy [default: `audit` in the state directory of the host file]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Verified {
    verdict: String,
    dir: String,
    host: String,
    key: String,
    n_records: u64,
    first: u64,
    last: u64,
    hash: String,
    /// Records at the end that no signature covers yet.
    n_unsigned: u64,
    anchor: Option<Anchored>,
    findings: Vec<Finding>,
    n_more_findings: usize,
    clock_jumps: Vec<ClockJump>,
}

#[derive(Debug, Serialize)]
struct Anchored {
    seq: u64,
    at: String,
}

impl Verify {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let verified = match self.verify(globals) {
            Ok(verified) => verified,
            Err(error) => {
                output::print_error(globals.output, &error);
                return Ok(ExitCode::from(2));
            }
        };
        output::print(globals.output, &verified, render)?;
        for jump in &verified.clock_jumps {
            let ClockJump { seq, by_ms } = jump;
            output::print_note(&format!("the clock was set by {by_ms} ms before record {seq}"))?;
        }
        Ok(match verified.findings.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    fn verify(self, globals: &Globals) -> anyhow::Result<Verified> {
        let anchor = self.anchor.as_deref().map(read_anchor).transpose()?;
        let key = self.key.as_deref().map(read_public_key).transpose()?;
        let dir = files::dir(self.dir, globals)?;
        let report = files::verify(&dir, anchor.as_ref(), key.as_ref())?;
        Ok(verified(&dir, anchor.as_ref(), report))
    }
}

fn verified(dir: &Path, anchor: Option<&Anchor>, report: Report) -> Verified {
    let verdict = match (report.is_consistent(), anchor) {
        (false, _) => "tampered with".to_owned(),
        (true, None) => "consistent with itself".to_owned(),
        (true, Some(anchor)) => format!(
            "consistent with itself and with the anchor: nothing up to record {} of {} was altered",
            anchor.seq, anchor.at
        ),
    };
    Verified {
        verdict,
        dir: dir.display().to_string(),
        host: report.host,
        key: report.key,
        n_records: report.n_records,
        first: report.first_seq,
        last: report.head.seq,
        hash: report.head.hash.to_string(),
        n_unsigned: report.n_unsigned,
        anchor: anchor.map(|anchor| Anchored {
            seq: anchor.seq,
            at: anchor.at.clone(),
        }),
        findings: report.findings,
        n_more_findings: report.n_more,
        clock_jumps: report.clock_jumps,
    }
}

fn render(verified: &Verified) -> String {
    let mut text = format!("{}\n", verified.verdict);
    for finding in &verified.findings {
        text.push_str(&format!("{}/{finding}\n", verified.dir));
    }
    if verified.n_more_findings > 0 {
        text.push_str(&format!("and {} more\n", verified.n_more_findings));
    }
    text
}

fn read_anchor(path: &Path) -> anyhow::Result<Anchor> {
    let bytes = input::read_bytes(path, MAX_ANCHOR_BYTES).map_err(|error| error.refusal("the anchor"))?;
    Anchor::read(&bytes)
        .map_err(|why| anyhow!("{why}"))
        .with_context(|| format!("cannot use {}", path.display()))
}

fn read_public_key(path: &Path) -> anyhow::Result<PublicKey> {
    let file = read_key(path)
        .map_err(|remark| Refusal::input(format!("{} is no public key", path.display()), vec![remark]))?;
    Ok(file.key)
}
