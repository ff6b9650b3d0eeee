//! The one accessor of packet memory.

use core::mem::MaybeUninit;

use aya_ebpf::{
    helpers::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::XdpContext,
};

/// Copies `N` bytes at `offset` out of the frame; `None` if the frame ends before.
///
/// The usual case is a direct read from the linear part. A driver may put header bytes into fragments ("data
/// residing entirely in fragments"), so what the linear part does not hold is asked from the helper
/// (`bpf_xdp_load_bytes`, Linux 5.18), which sees the whole frame. A frame that looks short is therefore never
/// taken for one without headers.
#[inline(always)]
pub fn read<const N: usize>(ctx: &XdpContext, offset: usize) -> Option<[u8; N]> {
    let start = ctx.data() + offset;
    if start + N <= ctx.data_end() {
        // SAFETY: `start..start + N` lies within `data..data_end`, checked above; `[u8; N]` has no alignment
        // and no invalid values.
        return Some(unsafe { (start as *const [u8; N]).read() });
    }
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    // SAFETY: `ctx` is the program's context and `bytes` is `N` writable bytes on the stack.
    let res = unsafe { bpf_xdp_load_bytes(ctx.ctx, offset as u32, bytes.as_mut_ptr().cast(), N as u32) };
    // SAFETY: on success the helper has written all `N` bytes.
    (res == 0).then(|| unsafe { bytes.assume_init() })
}

/// Length of the whole frame in bytes, fragments included, from the Ethernet header on.
#[inline(always)]
pub fn frame_len(ctx: &XdpContext) -> u64 {
    // SAFETY: `ctx` is the program's context (`bpf_xdp_get_buff_len`, Linux 5.18).
    unsafe { bpf_xdp_get_buff_len(ctx.ctx) }
}
