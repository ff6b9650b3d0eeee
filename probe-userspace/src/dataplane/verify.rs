//! Verify before publish: the kernel's verdicts on samples must be the oracle's.
//!
//! The samples run through the generation's sample program, a sibling of the one that judges packets: the same
//! parse and judge code over the same maps, with state and time taken from the sample, and nothing counted.

use std::{collections::BTreeSet, net::IpAddr};

use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use probe_common::{FOREVER, SampleHeader, SampleVerdict, Verdict};

use super::DataplaneError;
use crate::{
    compile::{Image, Query, Sample, is_judged_by_place},
    instant::Instant,
};

const HEADER_LEN: usize = size_of::<SampleHeader>();
const ETH_LEN: usize = 14;
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
/// RFC 3692 sets protocol 253 apart for experiments: no special handling on the way.
const PROTO_EXPERIMENT: u8 = 253;
/// Samples that are judged again at each instant at which the policy changes.
const SAMPLES_PER_INSTANT: usize = 256;
/// Instants around which samples are judged again.
const MAX_INSTANTS: usize = 64;

/// State and time that a sample is judged in.
#[derive(Clone, Copy, Debug)]
pub struct SampleState {
    /// When.
    pub now: Instant,
    /// Until when the host is halted, Unix time in seconds; 0: not.
    pub halted_until_s: u32,
    /// Whether failsafe prefixes and run-time overrides count.
    pub with_shared: bool,
}

/// Runs one sample.
pub fn run(program: &Xdp, address: IpAddr, state: SampleState) -> Result<Verdict, DataplaneError> {
    let mut buffer = [0; HEADER_LEN + ETH_LEN + IPV6_LEN];
    let frame = frame(&mut buffer, address, state);
    let options = TestRunOptions {
        data_in: Some(frame),
        ..TestRunOptions::new()
    };
    let result = program
        .test_run(options)
        .map_err(|error| DataplaneError::kernel("running a sample", &error))?;
    SampleVerdict(result.return_value)
        .unpack()
        .map(|(verdict, _)| verdict)
        .ok_or_else(|| DataplaneError::Kernel {
            what: "running a sample".to_owned(),
            reason: format!(
                "the program returned {:#x}, which is no verdict",
                result.return_value
            ),
        })
}

/// Compares the kernel with the oracle; the number of samples run. Besides the given samples at `now`, some of
/// them are judged again just before and at each instant at which a cell or an override changes.
pub fn verify(
    program: &Xdp,
    image: &Image,
    samples: &[Sample],
    now: Instant,
) -> Result<usize, DataplaneError> {
    let mut n_samples = 0;
    let mut n_wrong = 0;
    let mut first = String::new();
    let mut check = |address: IpAddr, now: Instant, expected: Verdict| {
        let got = run(
            program,
            address,
            SampleState {
                now,
                halted_until_s: 0,
                with_shared: false,
            },
        )?;
        n_samples += 1;
        if got != expected {
            n_wrong += 1;
            if first.is_empty() {
                first = format!("{address} at {now}: expected {expected:?}, got {got:?}");
            }
        }
        Ok::<(), DataplaneError>(())
    };
    for sample in samples
        .iter()
        .filter(|sample| sample.heading == crate::compile::Heading::default())
    {
        check(sample.address, now, sample.expected.0)?;
    }
    let step = samples.len().div_ceil(SAMPLES_PER_INSTANT).max(1);
    for until_s in changes(image, now) {
        let mut addresses = changing(image, samples, until_s);
        addresses.extend(samples.iter().step_by(step).map(|sample| sample.address));
        for instant in [Instant(until_s - 1), Instant(until_s)] {
            for address in &addresses {
                let query = Query {
                    heading: crate::compile::Heading::default(),
                    address: *address,
                    now: instant,
                    failsafe: &[],
                };
                check(*address, instant, image.verdict(&query))?;
            }
        }
    }
    match n_wrong {
        0 => Ok(n_samples),
        _ => Err(DataplaneError::Unverified {
            n_wrong,
            n_samples,
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
        if classes.remove(&usize::from(sample.expected.0.class)) {
            addresses.push(sample.address);
        }
    }
    addresses
}

/// Header and frame of a sample: the shortest packet that says where it comes from.
fn frame(buffer: &mut [u8; HEADER_LEN + ETH_LEN + IPV6_LEN], address: IpAddr, state: SampleState) -> &[u8] {
    let words = [state.now.0, state.halted_until_s, u32::from(state.with_shared), 0];
    for (bytes, word) in buffer.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    let ethernet = HEADER_LEN;
    let ip = ethernet + ETH_LEN;
    match address {
        IpAddr::V4(address) => {
            buffer[ip - 2..ip].copy_from_slice(&[0x08, 0x00]);
            buffer[ip] = 0x45;
            buffer[ip + 3] = IPV4_LEN as u8;
            buffer[ip + 8] = 64;
            buffer[ip + 9] = PROTO_EXPERIMENT;
            buffer[ip + 12..ip + 16].copy_from_slice(&address.octets());
            &buffer[..ip + IPV4_LEN]
        }
        IpAddr::V6(address) => {
            buffer[ip - 2..ip].copy_from_slice(&[0x86, 0xdd]);
            buffer[ip] = 0x60;
            buffer[ip + 6] = PROTO_EXPERIMENT;
            buffer[ip + 7] = 64;
            buffer[ip + 8..ip + 24].copy_from_slice(&address.octets());
            &buffer[..ip + IPV6_LEN]
        }
    }
}
