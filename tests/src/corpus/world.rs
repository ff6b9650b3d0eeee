//! The kernel side for the settings of a case: the real compiler's image, published in a dataplane of its own.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, bail};
use aya::programs::Xdp;
use cordon::{
    compile::{FrameSettings, Image, compile},
    dataplane::{self, Dataplane},
    geo::Location,
    instant::Instant,
    policy,
};
use nix::net::if_::if_nametoindex;
use probe_common::{Fate, Reason, Target as TargetState, limits};

use super::{
    Settings, Target, data,
    meaning::TARGET_MAX_LEN,
    places::{OWN, database},
    test_run,
};
use crate::{images, lab::EDGE_MAC, netns::Netns};

/// Name of the interface that the redirect policies name.
const SCRUB: &str = "scrub0";
/// Name of the interface that frames come by in test runs.
const INGRESS: &str = "lo";

/// The namespace that worlds are made in: it has an interface for redirects.
#[derive(Debug)]
pub struct Ground {
    /// The namespace. Frames come by its loopback interface in test runs.
    pub netns: Netns,
    location: Arc<Location>,
}

impl Ground {
    /// Makes the namespace and compiles the places of the corpus.
    pub fn new() -> anyhow::Result<Self> {
        let netns = Netns::new()?;
        netns.ip_batch(&format!("link add {SCRUB} type veth peer name scrub1\n"))?;
        netns.ip_batch(&format!("link set {SCRUB} up\nlink set scrub1 up\n"))?;
        Ok(Self {
            netns,
            location: images::location(&database())?,
        })
    }
}

/// A dataplane under the settings of a case.
pub struct World {
    /// The dataplane.
    pub dataplane: Dataplane,
    program: Xdp,
}

/// Packets by reason.
pub type Counts = BTreeMap<Reason, u64>;

impl World {
    /// Publishes the settings. Must be called, and the world used, in the namespace of the ground.
    pub fn new(ground: &Ground, settings: &Settings) -> anyhow::Result<Self> {
        let mut dataplane = Dataplane::open(&dataplane::Settings {
            vlan_filter: !settings.vlans.is_empty(),
            ..dataplane::Settings::default()
        })?;
        let ingress = index_of(INGRESS)?;
        let vlans: Vec<(u32, u16)> = settings.vlans.iter().map(|vlan| (ingress, *vlan)).collect();
        dataplane.set_vlans(&vlans)?;
        dataplane.set_failsafe(&settings.failsafe)?;
        dataplane.set_own_addresses(&OWN)?;
        dataplane.publish(&image(settings, &ground.location)?, None)?;
        dataplane.set_targets(&[(SCRUB.to_owned(), target(settings.target)?)])?;
        let program = dataplane.open_entry_program()?;
        Ok(Self { dataplane, program })
    }

    /// Publishes another policy, on top.
    pub fn publish(&mut self, ground: &Ground, settings: &Settings) -> anyhow::Result<()> {
        self.dataplane
            .publish(&image(settings, &ground.location)?, None)?;
        Ok(())
    }

    /// Offers a frame.
    pub fn offer(&self, frame: &[u8], linear: Option<usize>) -> anyhow::Result<Fate> {
        test_run::offer(&self.program, frame, linear, 1)
    }

    /// Offers a frame many times.
    pub fn offer_many(&self, frame: &[u8], n_times: u32) -> anyhow::Result<()> {
        test_run::offer(&self.program, frame, None, n_times)?;
        Ok(())
    }

    /// What was counted so far.
    pub fn counts(&self) -> anyhow::Result<Counts> {
        let mut counts = Counts::new();
        for row in self.dataplane.counters()? {
            let reason = Reason::ALL
                .iter()
                .find(|reason| reason.name() == row.reason)
                .with_context(|| format!("no reason is {:?}", row.reason))?;
            *counts.entry(*reason).or_default() += row.packets;
        }
        Ok(counts)
    }
}

/// What was counted between two moments.
pub fn difference(after: &Counts, before: &Counts) -> Counts {
    after
        .iter()
        .map(|(reason, n)| (*reason, n - before.get(reason).copied().unwrap_or(0)))
        .filter(|(_, n)| *n > 0)
        .collect()
}

/// Counts in words.
pub fn in_words(counts: &Counts) -> String {
    let words: Vec<String> = counts
        .iter()
        .map(|(reason, n)| format!("{} {n}", reason.name()))
        .collect();
    words.join(", ")
}

fn image(settings: &Settings, location: &Arc<Location>) -> anyhow::Result<Arc<Image>> {
    let text = data::policy(&settings.policy)?;
    let (policy, remarks) = policy::parse(&format!("{}.toml", settings.policy), &text);
    let Some(policy) = policy else {
        bail!("{remarks:?}")
    };
    let frame = FrameSettings {
        icmp_error_pass: settings.icmp_error_pass,
        inspect_inner: settings.inspect_inner,
        martians_drop: settings.martians_drop,
        nat64_prefixes: settings.nat64_prefixes.clone(),
    };
    let (image, remarks) = compile(&policy, &text, location, Instant::now(), &frame);
    image.map(Arc::new).with_context(|| format!("{remarks:?}"))
}

fn index_of(ifname: &str) -> anyhow::Result<u32> {
    if_nametoindex(ifname).with_context(|| format!("there is no interface {ifname}"))
}

fn target(target: Target) -> anyhow::Result<Option<TargetState>> {
    let ifname = match target {
        Target::Absent => return Ok(None),
        Target::Other => SCRUB,
        Target::Ingress => INGRESS,
    };
    Ok(Some(TargetState {
        ifindex: index_of(ifname)?,
        max_len: TARGET_MAX_LEN as u32,
        mac: EDGE_MAC,
        reserved: [0; 2],
    }))
}

/// How many ICMP errors one CPU may let pass in a time: the burst, and the rate after it.
pub fn most_icmp_errors(elapsed: std::time::Duration) -> u64 {
    let in_time = elapsed.as_nanos() as u64 * probe_common::cap::ICMP_ERRORS_PER_S / 1_000_000_000;
    probe_common::cap::BURST + in_time + 1
}

const _: () = assert!(limits::VLAN_MAX_DEPTH == 4, "row 8 of the corpus says so");
