//! `cordon resume`.

use std::process::ExitCode;

use super::{Globals, output, remote};
use crate::daemon::api::ResumeReply;

/// End a halt: back to the policy
///
/// Without a halt it changes nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Resume {}

impl Resume {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let reply: ResumeReply = remote::with_daemon(globals, async |client| {
            client.post("/v1/resume", &serde_json::json!({})).await
        })?;
        output::print(globals.output, &reply, |reply| {
            let mut text = match &reply.ended {
                Some(halted) => format!("resumed; the halt was for: {}\n", halted.reason),
                None => "was not halted; the policy holds\n".to_owned(),
            };
            for problem in &reply.problems {
                text.push_str(&format!("problem: {problem}\n"));
            }
            text
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
