//! `cordon resume`.

use std::process::ExitCode;

use super::{Globals, output, remote};
use crate::daemon::api::{ResumeReply, ResumeRequest};

/// End halts: back to the policy
///
/// Ends the halt of the host and those of all services, or that of one service only. Orders that are lifted stay
/// lifted: see `cordon unlift`. Without a halt it changes nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Resume {
    /// End the halt of this service only
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
}

impl Resume {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let request = ResumeRequest {
            service: self.service,
        };
        let reply: ResumeReply =
            remote::with_daemon(globals, async |client| client.post("/v1/resume", &request).await)?;
        output::print(globals.output, &reply, render)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn render(reply: &ResumeReply) -> String {
    let mut text = String::new();
    if let Some(halted) = &reply.ended {
        text.push_str(&format!("resumed; the halt was for: {}\n", halted.reason));
    }
    for halt in &reply.services {
        text.push_str(&format!(
            "service {} resumed; the halt was for: {}\n",
            halt.service, halt.reason
        ));
    }
    if text.is_empty() {
        text.push_str("was not halted; the policy holds\n");
    }
    for problem in &reply.problems {
        text.push_str(&format!("problem: {problem}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::api::{Halted, ServiceHalted};

    #[test]
    fn what_was_ended_is_said() {
        let mut reply = ResumeReply {
            ended: None,
            services: Vec::new(),
            problems: Vec::new(),
        };
        assert_eq!(render(&reply), "was not halted; the policy holds\n");
        reply.ended = Some(Halted {
            until: None,
            reason: "drill".to_owned(),
        });
        reply.services.push(ServiceHalted {
            service: "web".to_owned(),
            until: None,
            reason: "attack".to_owned(),
        });
        assert_eq!(
            render(&reply),
            "resumed; the halt was for: drill\nservice web resumed; the halt was for: attack\n"
        );
    }
}
