//! The generator of traffic.

use aya_ebpf::{
    Global,
    bindings::xdp_action,
    btf_maps::{Array, PerCpuArray},
    macros::{btf_map, xdp},
    programs::XdpContext,
};

/// Senders that `generate` takes in turn; the loader fills it.
const N_SOURCES: u32 = 1 << 14;

/// Network order: source address (an IPv4 address in the first four bytes), checksum of the IPv4 header with that
/// source, destination port.
#[btf_map]
static SOURCES: Array<[u8; 20], { N_SOURCES as usize }> = Array::new();

/// Which source comes next.
#[btf_map]
static NEXT_SOURCE: PerCpuArray<u32, 1> = PerCpuArray::new();

/// 4 or 6: the family of the frame that `generate` is given.
#[unsafe(no_mangle)]
static FAMILY: Global<u32> = Global::new(4);

/// 0: the frames are made and dropped, which shows what making them costs.
#[unsafe(no_mangle)]
static SENDS: Global<u32> = Global::new(1);

const CHECKSUM_V4: usize = 14 + 10;
const SOURCE_V4: usize = 14 + 12;
const PORT_V4: usize = 14 + 20 + 2;
const SOURCE_V6: usize = 14 + 8;
const PORT_V6: usize = 14 + 40 + 2;

/// Writes the next source into a UDP frame and sends it: run by BPF_PROG_TEST_RUN with live frames.
#[xdp]
pub fn generate(ctx: XdpContext) -> u32 {
    let Some(next) = NEXT_SOURCE.get_ptr_mut(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: this CPU's own copy of a map value; nothing else runs this program on it meanwhile.
    let idx = unsafe {
        *next = (*next).wrapping_add(1);
        *next & (N_SOURCES - 1)
    };
    let Some(source) = SOURCES.get(idx) else {
        return xdp_action::XDP_ABORTED;
    };
    let is_written = if FAMILY.load() == 4 {
        write(&ctx, SOURCE_V4, [source[0], source[1], source[2], source[3]])
            && write(&ctx, CHECKSUM_V4, [source[16], source[17]])
            && write(&ctx, PORT_V4, [source[18], source[19]])
    } else {
        let address = [
            source[0], source[1], source[2], source[3], source[4], source[5], source[6], source[7],
            source[8], source[9], source[10], source[11], source[12], source[13], source[14], source[15],
        ];
        write(&ctx, SOURCE_V6, address) && write(&ctx, PORT_V6, [source[18], source[19]])
    };
    if !is_written {
        return xdp_action::XDP_ABORTED;
    }
    if SENDS.load() == 0 {
        return xdp_action::XDP_DROP;
    }
    xdp_action::XDP_TX
}

/// Writes bytes into the frame; `false`: it is too short.
#[inline(always)]
fn write<const N: usize>(ctx: &XdpContext, offset: usize, bytes: [u8; N]) -> bool {
    let at = ctx.data() + offset;
    if at + N > ctx.data_end() {
        return false;
    }
    // SAFETY: the bytes lie within the frame, checked above; an array of bytes needs no alignment.
    unsafe { (at as *mut [u8; N]).write(bytes) };
    true
}
