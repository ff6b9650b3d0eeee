//! `cordon halt`.

use std::{process::ExitCode, time::Duration};

use super::{Globals, output, remote};
use crate::daemon::api::{HaltReply, HaltRequest};
use crate::span::parse_span;

/// Drop the world at once, or everything for one service, until resumed
///
/// Without a service, only failsafe prefixes, link-local sources, ARP, neighbour discovery, DHCP clients' requests and
/// answers from endpoints pass: resolvers, time servers and bundle servers, so that the way back can arrive. Private
/// addresses drop too. Hazard: every customer is cut off. With a service, everything that comes in for it drops, but
/// for failsafe prefixes; the rest goes on. A halt outlives the daemon and a reboot. Refused if it cuts off who works
/// on this host.
#[derive(Debug, clap::Args)]
pub(super) struct Halt {
    /// Halt this service of the policy in force only
    #[arg(long, value_name = "NAME")]
    service: Option<String>,

    /// End by itself after this span (90s, 2h, 1d), kept by the kernel [default: until `cordon resume`]
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_span)]
    span: Option<Duration>,

    /// Why, for the log and the status
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// Halt although it cuts somebody off. Hazard: if it is you, nothing brings you back
    #[arg(long)]
    override_lockout: bool,
}

impl Halt {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let request = HaltRequest {
            service: self.service,
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
    let (what, resume, passes) = match &reply.service {
        None => (
            "halted".to_owned(),
            "`cordon resume`".to_owned(),
            "only failsafe prefixes, control traffic and answers from endpoints pass",
        ),
        Some(service) => (
            format!("service {service} halted"),
            format!("`cordon resume --service {service}`"),
            "of what comes in for it, only failsafe prefixes pass",
        ),
    };
    let until = reply.halted.until.as_ref().unwrap_or(&resume);
    let mut text = format!("{what} until {until}: {passes}\n");
    for lockout in &reply.lockouts {
        text.push_str(&format!("warning: {lockout}\n"));
    }
    for problem in &reply.problems {
        text.push_str(&format!("problem: {problem}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::api::Halted;

    #[test]
    fn a_halt_says_what_still_passes_and_how_it_ends() {
        let reply = |service: Option<&str>, until: Option<&str>| HaltReply {
            service: service.map(str::to_owned),
            halted: Halted {
                until: until.map(str::to_owned),
                reason: "drill".to_owned(),
            },
            lockouts: Vec::new(),
            problems: Vec::new(),
        };
        assert_eq!(
            render(&reply(None, None)),
            "halted until `cordon resume`: only failsafe prefixes, control traffic and answers from endpoints pass\n"
        );
        assert_eq!(
            render(&reply(Some("web"), Some("2026-12-01T00:00:00Z"))),
            "service web halted until 2026-12-01T00:00:00Z: of what comes in for it, only failsafe prefixes pass\n"
        );
    }
}
