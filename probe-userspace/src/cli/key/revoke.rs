//! `cordon key revoke`.

use std::{path::PathBuf, process::ExitCode};

use serde::Serialize;

use crate::{
    bundle::{
        key::KeyId,
        trust::{TrustDirectory, Verb},
    },
    cli::{Globals, bundle::files, output},
    instant::Instant,
};

/// Never trust a key again, whatever brings it back
///
/// What it signed and is in force stays in force.
#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    /// Id of the key, as `cordon key list` shows it
    id: KeyId,

    /// Why
    #[arg(short, long, value_name = "TEXT")]
    reason: String,

    /// Directory of trusted keys [default: `keys` in the state directory of the host file]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Revoked {
    id: KeyId,
    public_key: String,
    reason: String,
    /// Verbs for which fewer keys are left than must sign.
    out_of_reach: Vec<Verb>,
}

impl Revoke {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let directory = TrustDirectory::new(&files::keys_dir(self.keys, globals)?);
        let key = directory.revoke(self.id, &self.reason, Instant::now())?;
        let trust = directory.read()?;
        // That one key cannot take every order away is no loss, unless someone counted on it.
        let is_asked = |verb: &Verb| *verb != Verb::LiftAll || trust.rules().thresholds.contains_key(verb);
        let out_of_reach = Verb::ALL.into_iter().filter(is_asked).filter(|verb| {
            let able = trust
                .keys()
                .iter()
                .filter(|file| trust.verbs(&file.key).contains(verb));
            able.count() < trust.rules().threshold(*verb)
        });
        let revoked = Revoked {
            id: self.id,
            public_key: key.to_base64(),
            reason: self.reason,
            out_of_reach: out_of_reach.collect(),
        };
        output::print(globals.output, &revoked, |revoked| {
            let mut text = format!("key {} is revoked: {}\n", revoked.id, revoked.reason);
            if !revoked.out_of_reach.is_empty() {
                let verbs: Vec<&str> = revoked.out_of_reach.iter().map(|verb| verb.name()).collect();
                text.push_str(&format!(
                    "too few keys are left for {}: trust more with `cordon key trust`\n",
                    verbs.join(", ")
                ));
            }
            text
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
