//! `cordon halt`.

use std::{process::ExitCode, time::Duration};

use super::{Globals, output, remote, span::parse_span};
use crate::daemon::api::{HaltReply, HaltRequest};

/// Drop the world at once, until resumed
///
/// Only failsafe prefixes, link-local sources, ARP, neighbour discovery and DHCP clients' requests pass: private
/// addresses drop too, and so do the answers of a DHCP server that is not failsafe. Hazard: every customer is cut
/// off. It outlives the daemon and a reboot. Refused if no failsafe prefix covers an SSH peer of this host.
#[derive(Debug, clap::Args)]
pub(super) struct Halt {
    /// End by itself after this span (90s, 2h, 1d), kept by the kernel [default: until `cordon resume`]
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_span)]
    span: Option<Duration>,

    /// Why, for the log and the status
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// Halt although it cuts off an SSH peer. Hazard: if it is yours, nothing brings you back
    #[arg(long)]
    override_lockout: bool,
}

impl Halt {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let request = HaltRequest {
            for_s: self.span.map(|span| span.as_secs()),
            reason: self.reason,
            override_lockout: self.override_lockout,
            ssh_peer: remote::ssh_peer(),
        };
        let reply: HaltReply =
            remote::with_daemon(globals, async |client| client.post("/v1/halt", &request).await)?;
        output::print(globals.output, &reply, render)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn render(reply: &HaltReply) -> String {
    let until = reply
        .halted
        .until
        .as_ref()
        .map_or_else(|| "`cordon resume`".to_owned(), Clone::clone);
    let mut text = format!("halted until {until}: only failsafe prefixes and control traffic pass\n");
    for lockout in &reply.lockouts {
        text.push_str(&format!("warning: {lockout}\n"));
    }
    for problem in &reply.problems {
        text.push_str(&format!("problem: {problem}\n"));
    }
    text
}
