//! `cordon watch`.

use std::{io, process::ExitCode};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::{Format, Globals, output, remote};
use crate::daemon::{
    api::{EventCounts, EventRow, Status, WatchLine},
    client::{Client, Lines},
};

/// See verdicts as they happen
///
/// Prints what the policy in force reports: `[events]` in the policy says which packets, how many of them, and how
/// much of their source is told. Ends on Ctrl-C. With `-o json`, each line is one JSON object.
#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    /// Only from this place: a country's code, `unknown` or `lan`
    #[arg(long, value_name = "CODE")]
    country: Option<String>,

    /// Only with this action: pass, count, mark, limit, redirect, drain, reject, drop
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,

    /// Only by this interface
    #[arg(long, value_name = "IFACE")]
    interface: Option<String>,

    /// Only what did not get through
    #[arg(long)]
    drops: bool,

    /// The same as `-o json`
    #[arg(long)]
    pub(super) json: bool,
}

/// What a watcher saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    n_shown: u64,
    /// Lost because this process was too slow.
    n_missed: u64,
}

impl Watch {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let format = globals.output;
        let path = self.path();
        remote::with_daemon(globals, async |client| {
            // Before the first line, so that no signal finds nobody to say how it went.
            let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
            let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
            let before = counts(&client).await?;
            let mut lines = client.lines(&path).await?;
            let mut tally = Tally::default();
            tokio::select! {
                result = show(&mut lines, format, &mut tally) => result?,
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            // A daemon that has ended has nothing to say about it.
            if let Ok(after) = counts(&client).await
                && format == Format::Text
            {
                output::print_note(&summary(tally, before, after))?;
            }
            Ok(())
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn path(&self) -> String {
        let mut path = format!("/v1/events?drops={}", self.drops);
        let named = [
            ("country", &self.country),
            ("action", &self.action),
            ("interface", &self.interface),
        ];
        for (key, value) in named {
            if let Some(value) = value {
                path.push_str(&format!("&{key}={}", encoded(value)));
            }
        }
        path
    }
}

/// Every byte but letters and digits as `%XX` (RFC 3986).
fn encoded(value: &str) -> String {
    value
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

async fn counts(client: &Client) -> anyhow::Result<EventCounts> {
    let status: Status = client.get("/v1/status").await?;
    Ok(status.events)
}

/// Prints lines until the daemon ends.
async fn show(lines: &mut Lines, format: Format, tally: &mut Tally) -> anyhow::Result<()> {
    while let Some(text) = lines.next().await? {
        let line: WatchLine =
            serde_json::from_str(&text).context("the daemon's answer is not what this version expects")?;
        match &line {
            WatchLine::Event(_) => tally.n_shown += 1,
            WatchLine::Lost { n } => tally.n_missed += n,
            WatchLine::Start { .. } => {}
        }
        match (format, &line) {
            (Format::Json, _) => output::print_text(&format!("{text}\n"))?,
            (Format::Text, WatchLine::Event(row)) => output::print_text(&format!("{}\n", line_of(row)))?,
            (Format::Text, line) => remark(line)?,
        }
    }
    anyhow::bail!("the daemon has ended: enforcement stays on, but nothing is reported")
}

/// What is no event is for people, and goes beside the events.
fn remark(line: &WatchLine) -> io::Result<()> {
    if let WatchLine::Start { notes, .. } = line {
        for note in notes {
            output::print_note(note)?;
        }
    }
    match line {
        WatchLine::Start { policy: None, .. } => output::print_note(
            "no policy is in force: nothing is reported; put one in force with `cordon apply`",
        ),
        WatchLine::Start {
            policy: Some(policy),
            is_reporting: false,
            ..
        } => output::print_note(&format!(
            "the policy in force, {policy}, has no `[events]`: nothing is reported; add `[events]` to it and apply it"
        )),
        WatchLine::Lost { n } => {
            output::print_note(&format!("{n} events were missed: this terminal is too slow"))
        }
        WatchLine::Start { .. } | WatchLine::Event(_) => Ok(()),
    }
}

/// Time, interface, source, country, protocol, ports, action, reason, generation.
fn line_of(row: &EventRow) -> String {
    let or = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let port = |port: Option<u16>| port.map_or_else(|| "-".to_owned(), |port| port.to_string());
    let ports = match (row.source_port, row.destination_port) {
        (None, None) => "-".to_owned(),
        (from, to) => format!("{}>{}", port(from), port(to)),
    };
    let interface = match row.vlan {
        Some(vlan) => format!("{} vlan {vlan}", row.interface),
        None => row.interface.clone(),
    };
    format!(
        "{}  {interface}  {:<18}  {:<2}  {:<4}  {ports:<11}  {:<5}  {}  gen {}",
        row.time,
        or(&row.source),
        or(&row.country),
        or(&row.protocol),
        row.action,
        row.reason,
        row.generation
    )
}

fn summary(tally: Tally, before: EventCounts, after: EventCounts) -> String {
    let mut text = format!(
        "{} shown; meanwhile the kernel lost {} and suppressed {} by the policy's cap",
        tally.n_shown,
        after.lost.saturating_sub(before.lost),
        after.capped.saturating_sub(before.capped)
    );
    if tally.n_missed > 0 {
        text.push_str(&format!("; {} were missed here", tally.n_missed));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> EventRow {
        EventRow {
            time: "2026-05-28T20:26:45.123Z".to_owned(),
            interface: "eth0".to_owned(),
            ifindex: 2,
            vlan: None,
            source: Some("81.0.7.0/24".to_owned()),
            country: Some("RU".to_owned()),
            protocol: Some("tcp".to_owned()),
            source_port: Some(4000),
            destination_port: Some(443),
            bytes: 60,
            action: "drop".to_owned(),
            reason: "policy_drop".to_owned(),
            fate: "dropped".to_owned(),
            generation: 7,
        }
    }

    #[test]
    fn a_line_holds_what_one_asks_first() {
        let words =
            |row: &EventRow| -> Vec<String> { line_of(row).split_whitespace().map(str::to_owned).collect() };
        let whole = "2026-05-28T20:26:45.123Z eth0 81.0.7.0/24 RU tcp 4000>443 drop policy_drop gen 7";
        assert_eq!(words(&row()).join(" "), whole);
        let bare = EventRow {
            source: None,
            country: None,
            protocol: None,
            source_port: None,
            destination_port: None,
            vlan: Some(5),
            ..row()
        };
        assert_eq!(
            words(&bare).join(" "),
            "2026-05-28T20:26:45.123Z eth0 vlan 5 - - - - drop policy_drop gen 7"
        );
    }

    #[test]
    fn a_summary_tells_the_two_kinds_of_loss_apart() {
        let counts = |lost, capped| EventCounts {
            lost,
            capped,
            ..EventCounts::default()
        };
        let tally = Tally {
            n_shown: 5,
            n_missed: 0,
        };
        assert_eq!(
            summary(tally, counts(1, 2), counts(4, 9)),
            "5 shown; meanwhile the kernel lost 3 and suppressed 7 by the policy's cap"
        );
        let missed = Tally { n_missed: 8, ..tally };
        assert!(summary(missed, counts(0, 0), counts(0, 0)).ends_with("8 were missed here"));
    }

    #[test]
    fn what_is_typed_reaches_the_daemon_as_it_is() {
        let watch = Watch {
            country: Some("R&U".to_owned()),
            action: None,
            interface: Some("eth0.5".to_owned()),
            drops: true,
            json: false,
        };
        assert_eq!(
            watch.path(),
            "/v1/events?drops=true&country=R%26U&interface=eth0%2E5"
        );
    }
}
