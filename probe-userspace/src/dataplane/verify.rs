//! Kernel = oracle on samples, through the generation's sample program.

use std::{collections::BTreeSet, net::IpAddr};

use aya::programs::Xdp;
use probe_common::{Decision, FOREVER, Stages, Verdict};

use super::{
    DataplaneError,
    sample::{self, State},
};
use crate::{
    compile::{Heading, Image, Query, Sample, is_judged_by_place},
    instant::Instant,
};

/// Samples that are judged again at each instant at which the policy changes, besides those that change.
const SAMPLES_PER_INSTANT: usize = 256;
/// Prefixes with an override whose ends are judged again at each instant.
const OVERRIDES_PER_INSTANT: usize = 256;
/// Instants around which samples are judged again.
const MAX_INSTANTS: usize = 64;

/// How many samples were compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Judged by the kernel.
    pub n_samples: usize,
    /// Not judged, because there is no interface of the name that they would come in by.
    pub n_skipped: usize,
}

/// Compares the kernel with the oracle. Besides the given samples at `now`, some of them are judged again just before
/// and at each instant at which a cell or an override changes. `interface` gives an interface's index by its name.
pub fn verify(
    program: &Xdp,
    image: &Image,
    samples: &[Sample],
    now: Instant,
    interface: impl Fn(&str) -> Option<u32>,
) -> Result<Compared, DataplaneError> {
    let mut compared = Compared::default();
    let mut n_wrong = 0;
    let mut first = String::new();
    let mut check = |address: IpAddr, heading: &Heading, now: Instant, expected: (Verdict, Decision)| {
        let ifindex = match heading.interface.as_deref() {
            None => 0,
            Some(name) => match interface(name) {
                Some(ifindex) => ifindex,
                None => {
                    compared.n_skipped += 1;
                    return Ok(());
                }
            },
        };
        let state = State {
            now,
            halted_until_s: 0,
            with_shared: false,
            ifindex,
        };
        let got = sample::run(program, address, heading, state)?;
        compared.n_samples += 1;
        if got != expected {
            n_wrong += 1;
            if first.is_empty() {
                first = format!("{address} at {now} to {heading:?}: expected {expected:?}, got {got:?}");
            }
        }
        Ok::<(), DataplaneError>(())
    };
    for sample in samples {
        check(sample.address, &sample.heading, now, sample.expected)?;
    }
    let step = samples.len().div_ceil(SAMPLES_PER_INSTANT).max(1);
    let timed = TimedCells::of(image, samples);
    for until_s in changes(image, now) {
        let mut packets = timed.changing(image, until_s);
        packets.extend(samples.iter().step_by(step).map(packet));
        for instant in [Instant(until_s - 1), Instant(until_s)] {
            for (address, heading) in &packets {
                let query = Query {
                    heading: heading.clone(),
                    address: *address,
                    now: instant,
                    failsafe: &[],
                    runtime: &[],
                };
                check(*address, heading, instant, image.sampled(&query))?;
            }
        }
    }
    match n_wrong {
        0 => Ok(compared),
        _ => Err(DataplaneError::Unverified {
            n_wrong,
            n_samples: compared.n_samples,
            first,
        }),
    }
}

/// The instants ahead at which something changes, Unix time in seconds.
fn changes(image: &Image, now: Instant) -> Vec<u32> {
    let stages = image.stages.iter().flat_map(|stages| stages.until_s);
    let overrides = image.overrides.iter().map(|entry| entry.value.until_s);
    let mut changes: Vec<u32> = stages
        .chain(overrides)
        .filter(|until_s| *until_s > now.0 && *until_s != FOREVER)
        .collect();
    changes.sort_unstable();
    changes.dedup();
    changes.truncate(MAX_INSTANTS);
    changes
}

/// A cell whose decision changes.
struct TimedCell {
    row: u32,
    profile: u8,
    class: u16,
    stages_idx: u32,
}

/// The cells of an image that change, and the samples that reach them.
struct TimedCells<'a> {
    cells: Vec<TimedCell>,
    /// Row and class of each sample, if any cell changes.
    samples: Vec<(u32, u16, &'a Sample)>,
}

impl<'a> TimedCells<'a> {
    fn of(image: &Image, samples: &'a [Sample]) -> Self {
        let (n_classes, n_profiles) = (image.matrix.n_classes, image.matrix.n_profiles);
        let timed = image
            .matrix
            .cells
            .iter()
            .enumerate()
            .filter_map(|(idx, cell)| Some((idx, cell.stages_idx()?)));
        let cells: Vec<TimedCell> = timed
            .map(|(idx, stages_idx)| TimedCell {
                row: (idx / n_classes / n_profiles) as u32,
                profile: (idx / n_classes % n_profiles) as u8,
                class: (idx % n_classes) as u16,
                stages_idx,
            })
            .collect();
        let samples = if cells.is_empty() { &[] } else { samples };
        let samples = samples.iter().filter_map(|sample| {
            let row = image.scopes.row_of(&sample.heading, sample.address)?;
            Some((row, sample.expected.0.class, sample))
        });
        Self {
            cells,
            samples: samples.collect(),
        }
    }

    /// Packets whose verdict may change at an instant: from both ends of the overrides that end there or whose profile
    /// has a cell with a stage that ends there, and a sample of each row and class with such a cell.
    fn changing(&self, image: &Image, until_s: u32) -> Vec<(IpAddr, Heading)> {
        let ends = |stages: &Stages| stages.until_s.contains(&until_s);
        let mut profiles = BTreeSet::new();
        let mut cells = BTreeSet::new();
        for cell in &self.cells {
            if image.stages.get(cell.stages_idx as usize).is_some_and(ends) {
                profiles.insert(cell.profile);
                cells.insert((cell.row, cell.class));
            }
        }
        let changing = image
            .overrides
            .iter()
            .filter(|entry| entry.value.until_s == until_s || profiles.contains(&entry.value.profile));
        let ends = changing
            .take(OVERRIDES_PER_INSTANT)
            .flat_map(|entry| [entry.prefix.network(), entry.prefix.broadcast()])
            .filter(|address| is_judged_by_place(*address));
        let mut packets: Vec<_> = ends.map(|address| (address, Heading::default())).collect();
        for (row, class, sample) in &self.samples {
            if cells.remove(&(*row, *class)) {
                packets.push(packet(sample));
            }
        }
        packets
    }
}

fn packet(sample: &Sample) -> (IpAddr, Heading) {
    (sample.address, sample.heading.clone())
}
