//! `cordon key list`.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use serde::Serialize;

use crate::{
    bundle::{
        key::KeyId,
        trust::{TrustDirectory, Verb},
    },
    cli::{Globals, bundle::files, output, table::table},
    instant::Instant,
};

/// Show which keys are trusted, for what, and which were revoked
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Directory of trusted keys [default: `keys` in the state directory of the host file]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Listed {
    dir: String,
    keys: Vec<Row>,
    thresholds: BTreeMap<Verb, usize>,
    revoked: Vec<RevokedRow>,
}

#[derive(Debug, Serialize)]
struct Row {
    id: KeyId,
    file: String,
    public_key: String,
    /// Empty if the key was revoked.
    verbs: Vec<Verb>,
}

#[derive(Debug, Serialize)]
struct RevokedRow {
    id: KeyId,
    at: Instant,
    reason: String,
}

impl List {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let dir = files::keys_dir(self.keys, globals)?;
        let trust = TrustDirectory::new(&dir).read()?;
        let keys = trust.keys().iter().map(|file| Row {
            id: file.key.id(),
            file: file.file.clone(),
            public_key: file.key.to_base64(),
            verbs: trust.verbs(&file.key),
        });
        let revoked = trust.rules().revocations.iter().map(|revocation| RevokedRow {
            id: revocation.key.id(),
            at: revocation.at,
            reason: revocation.reason.clone(),
        });
        let listed = Listed {
            dir: dir.display().to_string(),
            keys: keys.collect(),
            thresholds: Verb::ALL
                .into_iter()
                .map(|verb| (verb, trust.rules().threshold(verb)))
                .collect(),
            revoked: revoked.collect(),
        };
        output::print(globals.output, &listed, render)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn render(listed: &Listed) -> String {
    if listed.keys.is_empty() && listed.revoked.is_empty() {
        return format!("{} holds no trusted key\n", listed.dir);
    }
    let mut rows = Vec::new();
    for row in &listed.keys {
        let verbs: Vec<&str> = row.verbs.iter().map(|verb| verb.name()).collect();
        let verbs = if verbs.is_empty() {
            "nothing: revoked".to_owned()
        } else {
            verbs.join(", ")
        };
        rows.push(vec![row.id.to_string(), verbs]);
    }
    for row in &listed.revoked {
        rows.push(vec![
            row.id.to_string(),
            format!("revoked on {}: {}", row.at, row.reason),
        ]);
    }
    let mut text = table(&rows, &[]);
    for (verb, n_keys) in listed.thresholds.iter().filter(|(_, n_keys)| **n_keys > 1) {
        text.push_str(&format!("`{}` needs {n_keys} of the keys\n", verb.name()));
    }
    text
}
