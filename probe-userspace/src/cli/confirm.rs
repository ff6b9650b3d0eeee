//! `cordon confirm`.

use std::process::ExitCode;

use super::{Globals, output, remote};
use crate::daemon::api::Confirmed;

/// Keep the policy that waits for confirmation
///
/// Without it the kernel goes back to the earlier policy at the deadline, even if the daemon is dead.
#[derive(Debug, clap::Args)]
pub(super) struct Confirm {}

impl Confirm {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let confirmed: Confirmed = remote::with_daemon(globals, async |client| {
            client.post("/v1/confirm", &serde_json::json!({})).await
        })?;
        output::print(globals.output, &confirmed, |confirmed| {
            format!("policy {} is confirmed\n", confirmed.policy.name)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
