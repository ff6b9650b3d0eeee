//! `cordon audit key`.

use std::{path::PathBuf, process::ExitCode};

use serde::Serialize;

use super::files;
use crate::{
    audit::log,
    bundle::{key::KeyId, trust::read_key},
    cli::{Globals, output},
    daemon::Refusal,
};

/// Show the public key that the log is signed with
///
/// Keep it elsewhere: `cordon audit verify --key` then takes no other one.
#[derive(Debug, clap::Args)]
pub(super) struct KeyVerb {
    /// Directory of the log, or of a copy [default: `audit` in the state directory of the host file]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Shown {
    id: KeyId,
    public_key: String,
    #[serde(skip)]
    text: String,
}

impl KeyVerb {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let path = files::dir(self.dir, globals)?.join(log::PUBLIC_KEY);
        let file = read_key(&path).map_err(|remark| {
            Refusal::input(
                format!(
                    "{} is no public key; a daemon writes it at its start",
                    path.display()
                ),
                vec![remark],
            )
        })?;
        let shown = Shown {
            id: file.key.id(),
            public_key: file.key.to_base64(),
            text: file.key.to_file_text(),
        };
        output::print(globals.output, &shown, |shown| shown.text.clone())?;
        Ok(ExitCode::SUCCESS)
    }
}
