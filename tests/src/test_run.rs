//! Packets through a loaded program by BPF_PROG_TEST_RUN: no interface, no namespace.

use std::net::IpAddr;

use anyhow::Context as _;
use aya::programs::{TestRun as _, TestRunOptions, Xdp};

use crate::frames::udp_frame;

/// `XDP_DROP` of the kernel's `enum xdp_action`.
pub const XDP_DROP: u32 = 1;
/// `XDP_PASS`.
pub const XDP_PASS: u32 = 2;

/// Runs a frame `repeat` times; the action of the last run and the mean time of a run in nanoseconds.
pub fn run_frame(program: &Xdp, frame: &[u8], repeat: u32) -> anyhow::Result<(u32, u64)> {
    let options = TestRunOptions {
        data_in: Some(frame),
        repeat,
        ..TestRunOptions::new()
    };
    let result = program.test_run(options).context("cannot run a test packet")?;
    Ok((result.return_value, result.duration.as_nanos() as u64))
}

/// The action for one packet from a source.
pub fn action_for(program: &Xdp, source: IpAddr) -> anyhow::Result<u32> {
    Ok(run_frame(program, &udp_frame(source, 443, b"test"), 1)?.0)
}
