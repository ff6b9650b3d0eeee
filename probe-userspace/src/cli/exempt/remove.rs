//! `cordon exempt remove`.

use std::process::ExitCode;

use super::render;
use crate::{
    cli::{Globals, heading::escaped, output, remote},
    daemon::api::Exempted,
};

/// Take exemptions away
///
/// At once. Other references of the prefix keep what they were granted.
#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    /// Of this prefix [default: of all prefixes with the reference]
    #[arg(value_name = "PREFIX", required_unless_present = "reference")]
    prefix: Option<String>,

    /// With this reference [default: all references of the prefix]
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
}

impl Remove {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let query = [("prefix", &self.prefix), ("reference", &self.reference)]
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", escaped(value.as_ref()?))));
        let path = format!("/v1/exemptions?{}", query.collect::<Vec<_>>().join("&"));
        let exempted: Exempted = remote::with_daemon(globals, async |client| client.delete(&path).await)?;
        output::print(globals.output, &exempted, |exempted| {
            render(exempted, "not exempt any more", "nothing changed")
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
