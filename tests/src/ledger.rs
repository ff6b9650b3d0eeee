//! The books: what cordon counted against what its interfaces received.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::{cordon_process::Cordon, counters::Counters, netns::Netns};

/// How long the counts may take to agree: traffic of the kernel's own may fall between two readings.
const PATIENCE: Duration = Duration::from_secs(20);

/// Both counts at one moment. The interfaces must be veth ends in native mode: these count every frame that their
/// XDP program was run for, whatever became of it.
#[derive(Clone, Debug)]
pub struct Ledger {
    ifnames: Vec<String>,
    counters: Counters,
    received: u64,
}

impl Ledger {
    /// Opens the books, once everything sent so far has arrived.
    pub fn open(netns: &Netns, cordon: &Cordon<'_>, ifnames: &[&str]) -> anyhow::Result<Self> {
        let ifnames: Vec<String> = ifnames.iter().map(|name| (*name).to_owned()).collect();
        let (counters, received) = read(netns, cordon, &ifnames)?;
        Ok(Self {
            ifnames,
            counters,
            received,
        })
    }

    /// What was counted since the books were opened. An error unless the sum over all reasons is exactly the number
    /// of frames that the interfaces received.
    pub fn balance(&self, netns: &Netns, cordon: &Cordon<'_>) -> anyhow::Result<Counters> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (counters, received) = read(netns, cordon, &self.ifnames)?;
            let counted = counters.since(&self.counters);
            let received = received - self.received;
            if counted.received_packets() == received {
                return Ok(counted);
            }
            if Instant::now() > deadline {
                bail!(
                    "{received} frames received, {} counted: {counted}",
                    counted.received_packets()
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Both counts, with nothing received between them.
fn read(netns: &Netns, cordon: &Cordon<'_>, ifnames: &[String]) -> anyhow::Result<(Counters, u64)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = received(netns, ifnames)?;
        let counters = cordon.counters()?;
        if received(netns, ifnames)? == before {
            return Ok((counters, before));
        }
        if Instant::now() > deadline {
            bail!("{ifnames:?} never rest, so their frames cannot be compared with what was counted");
        }
    }
}

/// Frames that these interfaces received.
fn received(netns: &Netns, ifnames: &[String]) -> anyhow::Result<u64> {
    let mut sum = 0;
    for ifname in ifnames {
        let text = netns.ip(&["-statistics", "-json", "link", "show", "dev", ifname])?;
        let links: Value = serde_json::from_str(&text).context("ip printed no JSON")?;
        sum += links[0]["stats64"]["rx"]["packets"]
            .as_u64()
            .with_context(|| format!("{ifname} has no statistics: {text}"))?;
    }
    Ok(sum)
}
