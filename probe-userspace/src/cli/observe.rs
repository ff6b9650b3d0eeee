//! `cordon observe`.

use std::{collections::BTreeMap, future::pending, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{Format, Globals, check, output, remote::runtime, table::table};
use crate::span::parse_span;
use crate::{
    compile::FrameSettings,
    daemon::build,
    dataplane::{Attached, Dataplane, Settings},
    instant::Instant,
};

/// How often counts are printed.
const INTERVAL: Duration = Duration::from_secs(2);
/// Places in an interim print.
const TOP: usize = 10;

/// Count packets by country, blocking nothing
///
/// Attaches a program that passes everything, prints the counts every two seconds and a table at the end, and
/// detaches on Ctrl-C. Nothing is pinned, nothing is stored. Fails if another XDP program is attached.
#[derive(Debug, clap::Args)]
pub(super) struct Observe {
    /// Interface
    ifname: String,

    /// End by itself after this span (30s, 5m) [default: Ctrl-C]
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_span)]
    span: Option<Duration>,
}

#[derive(Debug, Serialize)]
struct Observed {
    interface: Attached,
    places: Vec<Row>,
    others: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Row {
    name: String,
    packets: u64,
    bytes: u64,
}

impl Observe {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let settings = globals.settings_or_defaults()?;
        let location = check::location(&settings)?;
        let (image, _) = build::build(
            "pass-everything",
            build::PASS_EVERYTHING,
            &location,
            Instant::now(),
            &FrameSettings {
                martians_drop: false,
                ..settings.host.frame.clone()
            },
        )?;
        let mut dataplane = Dataplane::open(&Settings {
            pin_dir: None,
            no_generation_pass: true,
            ..Default::default()
        })?;
        dataplane.sync_clock(Instant(0))?;
        dataplane.publish(&Arc::new(image), None)?;
        // Before attaching, so that no signal meets a program that is attached and nobody to take it off.
        let runtime = runtime()?;
        let (mut interrupt, mut terminate) = {
            let _entered = runtime.enter();
            (
                signal(SignalKind::interrupt()).context("cannot catch SIGINT")?,
                signal(SignalKind::terminate()).context("cannot catch SIGTERM")?,
            )
        };
        let interface = dataplane.attach(&self.ifname, settings.host.mode)?;
        let format = globals.output;
        let result = runtime.block_on(async {
            tokio::select! {
                result = report(&dataplane, format) => result,
                () = end(self.span) => Ok(()),
                _ = interrupt.recv() => Ok(()),
                _ = terminate.recv() => Ok(()),
            }
        });
        let counted = count(&dataplane);
        dataplane.detach(&self.ifname)?;
        result?;
        let (places, others) = counted?;
        let observed = Observed {
            interface,
            places,
            others,
        };
        output::print(format, &observed, render)?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn end(span: Option<Duration>) {
    match span {
        Some(span) => sleep(span).await,
        None => pending().await,
    }
}

/// Prints the counts until something fails.
async fn report(dataplane: &Dataplane, format: Format) -> anyhow::Result<()> {
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval.tick().await;
    loop {
        interval.tick().await;
        if format == Format::Text {
            let (places, _) = count(dataplane)?;
            let n_packets: u64 = places.iter().map(|row| row.packets).sum();
            let top: Vec<String> = places
                .iter()
                .take(TOP)
                .map(|row| format!("{} {}", row.name, row.packets))
                .collect();
            output::print_text(&format!("{n_packets} packets  {}\n", top.join(", ")))?;
        }
    }
}

/// Packets by place and, for those that have none, by reason; most first.
fn count(dataplane: &Dataplane) -> anyhow::Result<(Vec<Row>, Vec<Row>)> {
    let mut places = BTreeMap::<String, (u64, u64)>::new();
    let mut others = BTreeMap::<String, (u64, u64)>::new();
    for row in dataplane.counters()? {
        let sum = match row.class {
            Some(class) => places.entry(class),
            None => others.entry(row.reason.to_owned()),
        }
        .or_default();
        sum.0 += row.packets;
        sum.1 += row.bytes;
    }
    Ok((sorted(places), sorted(others)))
}

fn sorted(sums: BTreeMap<String, (u64, u64)>) -> Vec<Row> {
    let mut rows: Vec<Row> = sums
        .into_iter()
        .map(|(name, (packets, bytes))| Row { name, packets, bytes })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.packets));
    rows
}

fn render(observed: &Observed) -> String {
    let header = ["place", "packets", "bytes"].map(str::to_owned).to_vec();
    let mut rows = vec![header];
    rows.extend(
        observed
            .places
            .iter()
            .chain(&observed.others)
            .map(|row| vec![row.name.clone(), row.packets.to_string(), row.bytes.to_string()]),
    );
    format!(
        "\n{}detached from {}\n",
        table(&rows, &[1, 2]),
        observed.interface.ifname
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_packets_come_first() {
        let sums = [("DE", (1, 60)), ("FR", (7, 420)), ("unknown", (3, 180))];
        let rows = sorted(sums.map(|(name, sum)| (name.to_owned(), sum)).into());
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["FR", "unknown", "DE"]);
    }
}
