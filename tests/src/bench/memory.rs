//! Memory of the world database: in the kernel's maps, and in the daemon at rest.

use std::{fs, os::fd::AsFd as _, os::fd::AsRawFd as _, path::Path, sync::Arc};

use anyhow::Context as _;
use aya::maps::MapData;
use cordon::{
    dataplane::{Dataplane, Settings},
    geo::Location,
};
use probe_common::map_name;
use serde::Serialize;

use super::SEVEN;
use crate::{
    cordon_process::{Cordon, HostFile},
    images,
    lab::Lab,
    scratch::Scratch,
};

/// Bytes.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// What the kernel charges for the maps of one generation (`memlock` in fdinfo).
    pub generation_bytes: u64,
    /// Of these, the location tables.
    pub location_bytes: u64,
    /// Resident memory of the daemon at rest (`VmRSS`), with the world database published.
    pub daemon_rss_bytes: u64,
    /// Its peak (`VmHWM`): reading, compiling and publishing.
    pub daemon_peak_bytes: u64,
}

/// Publishes once here and once in a real daemon, and asks the kernel.
pub fn measure(world: &Arc<Location>) -> anyhow::Result<Memory> {
    let text = images::drop_countries(&SEVEN);
    let scratch = Scratch::new()?;
    let pin_dir = scratch.bpffs().join("cordon");
    let mut dataplane = Dataplane::open(&Settings {
        pin_dir: Some(pin_dir.clone()),
        no_generation_pass: false,
        ..Default::default()
    })?;
    dataplane.publish(&images::image(&text, world)?, None)?;
    let (generation_bytes, location_bytes) = charged(&pin_dir.join("v1/gen-1"))?;
    drop(dataplane);
    let (daemon_rss_bytes, daemon_peak_bytes) = daemon(&text)?;
    Ok(Memory {
        generation_bytes,
        location_bytes,
        daemon_rss_bytes,
        daemon_peak_bytes,
    })
}

/// Bytes that the kernel charges for the maps of a generation, and for its location tables among them.
pub fn charged(generation: &Path) -> anyhow::Result<(u64, u64)> {
    let (mut generation_bytes, mut location_bytes) = (0, 0);
    for name in map_name::GENERATION {
        let bytes = memlock(&MapData::from_pin(generation.join(name))?)?;
        generation_bytes += bytes;
        if map_name::LOCATION.contains(&name) {
            location_bytes += bytes;
        }
    }
    Ok((generation_bytes, location_bytes))
}

fn memlock(map: &MapData) -> anyhow::Result<u64> {
    let fdinfo = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd()))?;
    field(&fdinfo, "memlock:").context("the kernel does not say what a map costs")
}

fn daemon(text: &str) -> anyhow::Result<(u64, u64)> {
    let lab = Lab::new()?;
    let cordon = Cordon::start(&lab, &HostFile::default())?;
    cordon.apply(text)?;
    let status = fs::read_to_string(format!("/proc/{}/status", cordon.pid()?))?;
    let kib = |name| field(&status, name).with_context(|| format!("there is no {name}"));
    Ok((kib("VmRSS:")? * 1024, kib("VmHWM:")? * 1024))
}

/// The number behind a name in a file of `name: number` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
