//! `cordon key trust`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;
use serde::Serialize;

use crate::{
    bundle::{
        key::KeyId,
        limits::MAX_SIGNATURES,
        trust::{TrustDirectory, Verb, read_key},
    },
    cli::{Globals, bundle::files, output},
    daemon::Refusal,
};

/// Trust a public key, or say how many keys must sign
///
/// With the first trusted key this host takes signed bundles only.
#[derive(Debug, clap::Args)]
pub(super) struct TrustVerb {
    /// Public key file of `cordon key new` or of minisign
    file: Option<PathBuf>,

    /// Directory of trusted keys [default: `keys` in the state directory of the host file]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,

    /// What the key may do: apply, geo, halt, lift, lift-all, exempt [default: everything]
    #[arg(long, value_name = "VERB,..", value_delimiter = ',', value_parser = verb, requires = "file")]
    verbs: Option<Vec<Verb>>,

    /// How many keys must sign for a verb; may be given more than once
    #[arg(long = "threshold", value_name = "VERB=N", value_parser = threshold)]
    thresholds: Vec<(Verb, usize)>,
}

#[derive(Debug, Serialize)]
struct Trusted {
    dir: String,
    key: Option<KeyId>,
    file: Option<String>,
    verbs: Vec<Verb>,
    thresholds: std::collections::BTreeMap<Verb, usize>,
}

impl TrustVerb {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        if self.file.is_none() && self.thresholds.is_empty() {
            bail!("name a public key file to trust, or a threshold with `--threshold`");
        }
        let dir = files::keys_dir(self.keys, globals)?;
        let directory = TrustDirectory::new(&dir);
        // A threshold that was not there before is set before the key that makes it reachable.
        for (verb, n_keys) in &self.thresholds {
            directory.set_threshold(*verb, *n_keys)?;
        }
        let key = match &self.file {
            None => None,
            Some(file) => {
                let key = read_key(file).map_err(|remark| {
                    Refusal::input(format!("{} is no public key", file.display()), vec![remark])
                })?;
                let path = directory.trust(&key.key, self.verbs.as_deref())?;
                Some((key.key, path))
            }
        };
        let trust = directory.read()?;
        let trusted = Trusted {
            dir: dir.display().to_string(),
            key: key.as_ref().map(|(key, _)| key.id()),
            file: key.as_ref().map(|(_, path)| path.display().to_string()),
            verbs: key.as_ref().map(|(key, _)| trust.verbs(key)).unwrap_or_default(),
            thresholds: trust.rules().thresholds.clone(),
        };
        output::print(globals.output, &trusted, render)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn verb(text: &str) -> Result<Verb, String> {
    Verb::parse(text).ok_or_else(|| "the verbs are apply, geo, halt, lift, lift-all and exempt".to_owned())
}

fn threshold(text: &str) -> Result<(Verb, usize), String> {
    let wrong = || format!("write it like `apply=2`, with a number from 1 to {MAX_SIGNATURES}");
    let (name, n_keys) = text.split_once('=').ok_or_else(wrong)?;
    let n_keys: usize = n_keys.parse().map_err(|_| wrong())?;
    if !(1..=MAX_SIGNATURES).contains(&n_keys) {
        return Err(wrong());
    }
    Ok((verb(name)?, n_keys))
}

fn render(trusted: &Trusted) -> String {
    let mut text = String::new();
    if let Some(key) = trusted.key {
        let verbs: Vec<&str> = trusted.verbs.iter().map(|verb| verb.name()).collect();
        text.push_str(&format!("key {key} is trusted for {}\n", verbs.join(", ")));
    }
    for (verb, n_keys) in &trusted.thresholds {
        text.push_str(&format!("`{}` needs {n_keys} of the keys\n", verb.name()));
    }
    text
}
