//! The accessor of leaving packets: a socket buffer's bytes from its Ethernet header on.

use core::mem::MaybeUninit;

use aya_ebpf::{helpers::bpf_skb_load_bytes, programs::TcContext};

/// Copies `N` bytes at `offset` out of the frame; `None` if the frame ends before.
///
/// The usual case is a direct read from the linear part. What the linear part does not hold is asked from the
/// helper (`bpf_skb_load_bytes`, Linux 4.5), which sees the whole frame.
#[inline(always)]
pub fn read<const N: usize>(ctx: &TcContext, offset: usize) -> Option<[u8; N]> {
    // As a pointer, not as a number: the compiler keeps `start` as it is then, and the verifier sees that what is read
    // is what was compared.
    let start = (ctx.data() as *const u8).wrapping_add(offset);
    if start.wrapping_add(N) as usize <= ctx.data_end() {
        // SAFETY: `start..start + N` lies within `data..data_end`, checked above; `[u8; N]` has no alignment
        // and no invalid values.
        return Some(unsafe { start.cast::<[u8; N]>().read() });
    }
    load(ctx, offset)
}

/// As [`read`], always by the helper: for code that few packets come to, where a second path to each byte would only
/// be more for the verifier to go through. Any offset will do.
#[inline(always)]
pub fn load<const N: usize>(ctx: &TcContext, offset: usize) -> Option<[u8; N]> {
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    // SAFETY: `ctx` is the program's context and `bytes` is `N` writable bytes on the stack.
    let res = unsafe {
        bpf_skb_load_bytes(
            ctx.skb.skb.cast(),
            offset as u32,
            bytes.as_mut_ptr().cast(),
            N as u32,
        )
    };
    // SAFETY: on success the helper has written all `N` bytes.
    (res == 0).then(|| unsafe { bytes.assume_init() })
}
