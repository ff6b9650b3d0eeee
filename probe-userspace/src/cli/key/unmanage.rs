//! `cordon key unmanage`.

use std::process::ExitCode;

use crate::{
    cli::{Globals, output, remote},
    daemon::api::{UnmanageRequest, Unmanaged},
};

/// Take plain policy files again, once no key is trusted any more
///
/// A host that ever trusted a key takes signed policies only, also after its last key was revoked. This ends it; the
/// policy in force stays. The daemon must run: it records who did it and why.
#[derive(Debug, clap::Args)]
pub(super) struct Unmanage {
    /// Why
    #[arg(short, long, value_name = "TEXT")]
    reason: String,
}

impl Unmanage {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let request = UnmanageRequest { reason: self.reason };
        let unmanaged: Unmanaged = remote::with_daemon(globals, async |client| {
            client.post("/v1/unmanage", &request).await
        })?;
        output::print(globals.output, &unmanaged, |unmanaged| match unmanaged.since {
            Some(since) => {
                format!("plain policy files are taken again; signed ones only were taken since {since}\n")
            }
            None => "plain policy files were taken before; nothing has changed\n".to_owned(),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
