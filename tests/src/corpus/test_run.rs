//! Frames through a program by BPF_PROG_TEST_RUN, without a copy more than the kernel makes: millions in a minute.
//! Also with a buffer of which only a part is linear (Linux 6.18, `xdp_md.data_end` of the input context).

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::Context as _;
use aya::programs::Xdp;
use probe_common::Fate;

const BPF_PROG_TEST_RUN: libc::c_int = 10;

/// The part of `union bpf_attr` that the command reads.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    reserved: u32,
}

/// `struct xdp_md`.
#[repr(C)]
#[derive(Default)]
struct Context {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

/// Offers a frame `repeat` times, with a linear part of this length; gives what became of the last one. The frame
/// has at least 14 bytes: the kernel takes no shorter one.
pub fn offer(program: &Xdp, frame: &[u8], linear: Option<usize>, repeat: u32) -> anyhow::Result<Fate> {
    let context = Context {
        data_end: linear.unwrap_or(0) as u32,
        ..Context::default()
    };
    let fd = program.fd().context("the program is not loaded")?;
    let mut attributes = Attributes {
        prog_fd: fd.as_fd().as_raw_fd() as u32,
        data_size_in: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat,
        ..Attributes::default()
    };
    if linear.is_some() {
        attributes.ctx_in = (&raw const context) as u64;
        attributes.ctx_size_in = size_of::<Context>() as u32;
    }
    // SAFETY: the attributes are a prefix of `union bpf_attr`; what they point to is valid for the lengths they tell
    // and outlives the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_TEST_RUN,
            &raw mut attributes,
            size_of::<Attributes>(),
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error())
            .with_context(|| format!("cannot run a frame of {} bytes, linear {linear:?}", frame.len()));
    }
    fate_of(attributes.retval)
}

/// What an action of XDP does with a packet. `XDP_ABORTED` is never meant.
fn fate_of(action: u32) -> anyhow::Result<Fate> {
    match action {
        1 => Ok(Fate::Dropped),
        2 => Ok(Fate::Passed),
        3 => Ok(Fate::Answered),
        4 => Ok(Fate::Redirected),
        action => anyhow::bail!("the program returned the action {action}"),
    }
}
