//! `cordon exempt renew`.

use std::process::ExitCode;

use super::{End, render};
use crate::{
    cli::{Globals, output, remote},
    daemon::api::{Exempted, RenewRequest},
};

/// Move the end of exemptions, to later or to earlier
#[derive(Debug, clap::Args)]
pub(super) struct Renew {
    /// Of this prefix only [default: of all prefixes with the reference]
    #[arg(value_name = "PREFIX")]
    prefix: Option<String>,

    /// Whose
    #[arg(long, value_name = "TEXT")]
    reference: String,

    #[command(flatten)]
    end: End,
}

impl Renew {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let request = RenewRequest {
            reference: self.reference,
            prefix: self.prefix,
            until: self.end.until.clone(),
            for_s: self.end.for_s(),
        };
        let exempted: Exempted = remote::with_daemon(globals, async |client| {
            client.post("/v1/exemptions/renew", &request).await
        })?;
        output::print(globals.output, &exempted, |exempted| {
            render(exempted, "renewed", "ends then already; nothing changed")
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
