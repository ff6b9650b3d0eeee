//! Kernel = oracle on samples, through the generation's sample program.

use std::{collections::BTreeSet, net::IpAddr};

use aya::programs::Xdp;
use probe_common::{FOREVER, Verdict};

use super::{
    DataplaneError,
    sample::{self, State},
};
use crate::{
    compile::{Heading, Image, Query, Sample, is_judged_by_place},
    instant::Instant,
};

/// Samples that are judged again at each instant at which the policy changes.
const SAMPLES_PER_INSTANT: usize = 256;
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
    let mut check = |address: IpAddr, heading: &Heading, now: Instant, expected: (Verdict, u8)| {
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
    let heading = Heading::default();
    for sample in samples {
        check(sample.address, &heading, now, (sample.expected, 0))?;
    }
    let step = samples.len().div_ceil(SAMPLES_PER_INSTANT).max(1);
    for until_s in changes(image, now) {
        let mut addresses = changing(image, samples, until_s);
        addresses.extend(samples.iter().step_by(step).map(|sample| sample.address));
        for instant in [Instant(until_s - 1), Instant(until_s)] {
            for address in &addresses {
                let query = Query {
                    heading: heading.clone(),
                    address: *address,
                    now: instant,
                    failsafe: &[],
                };
                check(*address, &heading, instant, (image.verdict(&query), 0))?;
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

/// Addresses whose verdict may change at an instant: both ends of the overrides that end there, and a sample of
/// each class that has a cell with a stage that ends there.
fn changing(image: &Image, samples: &[Sample], until_s: u32) -> Vec<IpAddr> {
    let ending = image
        .overrides
        .iter()
        .filter(|entry| entry.value.until_s == until_s);
    let mut addresses: Vec<IpAddr> = ending
        .flat_map(|entry| [entry.prefix.network(), entry.prefix.broadcast()])
        .filter(|address| is_judged_by_place(*address))
        .collect();
    let mut classes = BTreeSet::new();
    for (idx, cell) in image.matrix.cells.iter().enumerate() {
        let stages = cell
            .stages_idx()
            .and_then(|stages_idx| image.stages.get(stages_idx as usize));
        if stages.is_some_and(|stages| stages.until_s.contains(&until_s)) {
            classes.insert(idx % image.matrix.n_classes);
        }
    }
    for sample in samples {
        if classes.remove(&usize::from(sample.expected.class)) {
            addresses.push(sample.address);
        }
    }
    addresses
}
