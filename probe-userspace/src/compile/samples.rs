//! Samples.
use super::Image;
use crate::instant::Instant;
use probe_common::Verdict;
use std::net::IpAddr;
/// A sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Address.
    pub address: IpAddr,
    /// Expected.
    pub expected: Verdict,
}
/// Samples.
pub fn samples(_image: &Image, _previous: Option<&Image>, _now: Instant) -> Vec<Sample> {
    Vec::new()
}
