//! `cordon lift` and `cordon unlift`.

use std::{process::ExitCode, time::Duration};

use super::{Globals, output, remote};
use crate::daemon::api::{LiftReply, LiftRequest, UnliftReply, UnliftRequest};
use crate::span::parse_span;

/// Take one order's rules away for a time, and nothing else
///
/// Denies, other orders and the policy's defaults hold. It outlives the daemon and a reboot, and the next version of the
/// policy, if that has the order too. Refused while the host, or a service that the order is about, is halted; while a
/// policy waits for confirmation; and if the policy were stricter with anybody without the order.
#[derive(Debug, clap::Args)]
pub(super) struct Lift {
    /// Id of the order
    #[arg(
        long,
        value_name = "ID",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    order: Option<String>,

    /// Every order that the policy has now. Where only signed bundles count, two keys must have signed for it
    #[arg(long)]
    all: bool,

    /// End by itself after this span (90s, 2h, 1d), kept by the kernel [default: until `cordon unlift`]
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_span)]
    span: Option<Duration>,

    /// Why, for the log and the status
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Give a lifted order back before its time
#[derive(Debug, clap::Args)]
pub(super) struct Unlift {
    /// Id of the order
    #[arg(
        long,
        value_name = "ID",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    order: Option<String>,

    /// Every order that is lifted
    #[arg(long)]
    all: bool,
}

impl Lift {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let request = LiftRequest {
            order: self.order,
            all: self.all,
            for_s: self.span.map(|span| span.as_secs()),
            reason: self.reason,
        };
        let reply: LiftReply =
            remote::with_daemon(globals, async |client| client.post("/v1/lift", &request).await)?;
        output::print(globals.output, &reply, render_lift)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Unlift {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let request = UnliftRequest {
            order: self.order,
            all: self.all,
        };
        let reply: UnliftReply =
            remote::with_daemon(globals, async |client| client.post("/v1/unlift", &request).await)?;
        output::print(globals.output, &reply, render_unlift)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn render_lift(reply: &LiftReply) -> String {
    let lines = reply.lifted.iter().map(|lift| {
        let until = lift.until.as_deref().unwrap_or("`cordon unlift`");
        format!("order {} lifted until {until}\n", lift.order)
    });
    lines
        .chain(
            reply
                .problems
                .iter()
                .map(|problem| format!("problem: {problem}\n")),
        )
        .collect()
}

fn render_unlift(reply: &UnliftReply) -> String {
    let mut lines: Vec<String> = reply
        .ended
        .iter()
        .map(|lift| {
            format!(
                "order {} holds again; it was lifted for: {}\n",
                lift.order, lift.reason
            )
        })
        .collect();
    if lines.is_empty() {
        lines.push("no order was lifted\n".to_owned());
    }
    lines.extend(
        reply
            .problems
            .iter()
            .map(|problem| format!("problem: {problem}\n")),
    );
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::api::Lifted;

    #[test]
    fn lifts_and_their_ends_are_told() {
        let lift = |order: &str, until: Option<&str>| Lifted {
            order: order.to_owned(),
            until: until.map(str::to_owned),
            reason: "appeal".to_owned(),
        };
        let reply = LiftReply {
            lifted: vec![lift("A", None), lift("B", Some("2026-12-01T00:00:00Z"))],
            problems: vec!["disk full".to_owned()],
        };
        assert_eq!(
            render_lift(&reply),
            "order A lifted until `cordon unlift`\norder B lifted until 2026-12-01T00:00:00Z\nproblem: disk full\n"
        );
        let mut reply = UnliftReply {
            ended: vec![lift("A", None)],
            problems: Vec::new(),
        };
        assert_eq!(
            render_unlift(&reply),
            "order A holds again; it was lifted for: appeal\n"
        );
        reply.ended.clear();
        assert_eq!(render_unlift(&reply), "no order was lifted\n");
    }
}
