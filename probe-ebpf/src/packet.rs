//! The one accessor of packet memory.

#[cfg(target_arch = "bpf")]
use core::arch::asm;
use core::{
    hint::{assert_unchecked, black_box},
    mem::MaybeUninit,
};

use aya_ebpf::{
    helpers::{
        bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
        bpf_xdp_store_bytes,
    },
    programs::XdpContext,
};

/// No header that is looked at begins later; the verifier refuses offsets that may be any number.
pub const MAX_OFFSET: usize = 0x7fff;

/// `N` bytes at `offset` of the frame; `None` if the frame ends before.
///
/// The usual case is a direct read from the linear part. A driver may put header bytes into fragments ("data
/// residing entirely in fragments"), so what the linear part does not hold is asked from the helper
/// (`bpf_xdp_load_bytes`, Linux 5.18), which sees the whole frame. A frame that looks short is therefore never
/// taken for one without headers.
#[inline(always)]
pub fn read<const N: usize>(ctx: &XdpContext, offset: usize) -> Option<[u8; N]> {
    view(ctx, offset, &mut Buffer::new()).copied()
}

/// As [`read`], at an offset that is computed from the frame; at most [`MAX_OFFSET`].
///
/// The compiler must not see how: it would add the constant parts of `offset` and `N` up, and the verifier would no
/// longer see that what is read is what was compared.
#[inline(always)]
pub fn read_at<const N: usize>(ctx: &XdpContext, offset: usize) -> Option<[u8; N]> {
    read(ctx, black_box(offset & MAX_OFFSET))
}

/// A number of two bytes as an index into a table of 65,536. The verifier of Linux 6.1 knows nothing of what a byte swap
/// leaves (kernel/bpf/verifier.c, `BPF_END`), so it is shown the range again, where the compiler cannot see that there is no
/// need.
#[inline(always)]
pub fn index(number: u16) -> usize {
    black_box(usize::from(number)) & 0xffff
}

/// Bytes on the stack, where the verifier wants words in their places.
#[repr(C, align(8))]
pub(crate) struct Buffer<const N: usize>(MaybeUninit<[u8; N]>);

impl<const N: usize> Buffer<N> {
    /// With nothing in it.
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self(MaybeUninit::uninit())
    }
}

/// As [`read`], but in place where that can be: the compiler loads only the bytes that are looked at. `buffer` takes
/// what the linear part does not hold.
///
/// Nothing may be written to the frame, and its ends not be moved, while the view is in use.
#[inline(always)]
pub(crate) fn view<'a, const N: usize>(
    ctx: &XdpContext,
    offset: usize,
    buffer: &'a mut Buffer<N>,
) -> Option<&'a [u8; N]> {
    // As a pointer, not as a number: the compiler keeps `start` as it is then, and the verifier sees that what is read
    // is what was compared.
    let start = (ctx.data() as *const u8).wrapping_add(offset);
    if start.wrapping_add(N) as usize <= ctx.data_end() {
        // SAFETY: `start..start + N` lies within `data..data_end`, checked above; `[u8; N]` has no alignment
        // and no invalid values. The callers in this crate write to the frame only after their last look at a view. A
        // frame is not at address 0; saying so spares the check whether this is `None`.
        return Some(unsafe {
            assert_unchecked(!start.is_null());
            &*start.cast()
        });
    }
    // SAFETY: `ctx` is the program's context and `buffer` is `N` writable bytes on the stack.
    let res = unsafe { bpf_xdp_load_bytes(ctx.ctx, offset as u32, buffer.0.as_mut_ptr().cast(), N as u32) };
    // SAFETY: on success the helper has written all `N` bytes.
    (res == 0).then(|| unsafe { &*buffer.0.as_ptr() })
}

/// Two bytes of a view, in one load. `OFFSET` is even, for views of the stack.
///
/// Without it the compiler loads byte by byte and puts them together: its target has no unaligned loads. The kernel
/// takes them from packets where the processor has them (`CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS`), and x86-64 and arm64
/// do; from the stack it takes aligned ones only.
#[inline(always)]
pub(crate) fn pair<const OFFSET: usize, const N: usize>(bytes: &[u8; N]) -> [u8; 2] {
    const { assert!(OFFSET + 2 <= N && OFFSET.is_multiple_of(2)) };
    #[cfg(target_arch = "bpf")]
    {
        let word: u64;
        // SAFETY: reads two bytes of `bytes`.
        unsafe {
            asm!(
                "{word} = *(u16 *)({bytes} + {offset})",
                word = out(reg) word,
                bytes = in(reg) bytes.as_ptr(),
                offset = const OFFSET,
                options(pure, readonly, nostack, preserves_flags)
            );
        }
        (word as u16).to_ne_bytes()
    }
    #[cfg(not(target_arch = "bpf"))]
    [bytes[OFFSET], bytes[OFFSET + 1]]
}

/// As [`pair`], four bytes; `OFFSET` is a multiple of four.
#[inline(always)]
pub(crate) fn quad<const OFFSET: usize, const N: usize>(bytes: &[u8; N]) -> [u8; 4] {
    const { assert!(OFFSET + 4 <= N && OFFSET.is_multiple_of(4)) };
    #[cfg(target_arch = "bpf")]
    {
        let word: u64;
        // SAFETY: reads four bytes of `bytes`.
        unsafe {
            asm!(
                "{word} = *(u32 *)({bytes} + {offset})",
                word = out(reg) word,
                bytes = in(reg) bytes.as_ptr(),
                offset = const OFFSET,
                options(pure, readonly, nostack, preserves_flags)
            );
        }
        (word as u32).to_ne_bytes()
    }
    #[cfg(not(target_arch = "bpf"))]
    [
        bytes[OFFSET],
        bytes[OFFSET + 1],
        bytes[OFFSET + 2],
        bytes[OFFSET + 3],
    ]
}

/// Writes `N` bytes at `offset`. Whether the frame has them: if not, nothing is written.
#[inline(always)]
pub fn write<const N: usize>(ctx: &XdpContext, offset: usize, bytes: &[u8; N]) -> bool {
    let start = (ctx.data() as *mut u8).wrapping_add(offset);
    if start.wrapping_add(N) as usize <= ctx.data_end() {
        // SAFETY: as in `view`; nothing else refers to the frame while this function runs.
        unsafe { start.cast::<[u8; N]>().write(*bytes) };
        return true;
    }
    // SAFETY: `ctx` is the program's context and `bytes` is `N` readable bytes (`bpf_xdp_store_bytes`, Linux 5.18).
    let res =
        unsafe { bpf_xdp_store_bytes(ctx.ctx, offset as u32, bytes.as_ptr().cast_mut().cast(), N as u32) };
    res == 0
}

/// As [`read`], always by the helper: for code that few packets come to, where a second path to each byte would only
/// be more for the verifier to go through. Any offset will do.
#[inline(always)]
pub fn load<const N: usize>(ctx: &XdpContext, offset: usize) -> Option<[u8; N]> {
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    // SAFETY: `ctx` is the program's context and `bytes` is `N` writable bytes on the stack.
    let res = unsafe { bpf_xdp_load_bytes(ctx.ctx, offset as u32, bytes.as_mut_ptr().cast(), N as u32) };
    // SAFETY: on success the helper has written all `N` bytes.
    (res == 0).then(|| unsafe { bytes.assume_init() })
}

/// As [`write`], always by the helper, see [`load`].
#[inline(always)]
pub fn store<const N: usize>(ctx: &XdpContext, offset: usize, bytes: &[u8; N]) -> bool {
    let bytes = bytes.as_ptr().cast_mut();
    // SAFETY: `ctx` is the program's context and `bytes` is `N` readable bytes (`bpf_xdp_store_bytes`, Linux 5.18).
    unsafe { bpf_xdp_store_bytes(ctx.ctx, offset as u32, bytes.cast(), N as u32) == 0 }
}

/// Length of the whole frame in bytes, fragments included, from the Ethernet header on.
#[inline(always)]
pub fn frame_len(ctx: &XdpContext) -> u64 {
    // SAFETY: `ctx` is the program's context (`bpf_xdp_get_buff_len`, Linux 5.18).
    unsafe { bpf_xdp_get_buff_len(ctx.ctx) }
}

/// Moves the start of the frame: a negative `delta` makes room before it. Whether there was room.
#[inline(always)]
pub fn adjust_head(ctx: &XdpContext, delta: i32) -> bool {
    // SAFETY: `ctx` is the program's context (`bpf_xdp_adjust_head`, Linux 4.10).
    unsafe { bpf_xdp_adjust_head(ctx.ctx, delta) == 0 }
}

/// Moves the end of the frame: a negative `delta` shortens it. Whether that could be.
#[inline(always)]
pub fn adjust_tail(ctx: &XdpContext, delta: i32) -> bool {
    // SAFETY: `ctx` is the program's context (`bpf_xdp_adjust_tail`, Linux 4.18).
    unsafe { bpf_xdp_adjust_tail(ctx.ctx, delta) == 0 }
}
