//! A country blocker as one would write it first: a list as an LPM trie, looked up for every packet.

use aya_ebpf::{
    Global,
    bindings::xdp_action,
    btf_maps::{LpmTrie, PerCpuArray, lpm_trie::Key},
    macros::{btf_map, xdp},
    programs::XdpContext,
};

/// The list: prefix to the number of its counter. The loader sizes and fills it.
#[btf_map]
static LISTED_V4: LpmTrie<[u8; 4], u32, 1> = LpmTrie::new();

/// The IPv6 list.
#[btf_map]
static LISTED_V6: LpmTrie<[u8; 16], u32, 1> = LpmTrie::new();

/// Packets by counter.
#[btf_map]
static LIST_COUNTERS: PerCpuArray<u64, 1024> = PerCpuArray::new();

/// Whether packets are counted.
#[unsafe(no_mangle)]
static COUNTS: Global<u32> = Global::new(0);

const ETHERTYPE: usize = 12;
const SOURCE_V4: usize = 14 + 12;
const SOURCE_V6: usize = 14 + 8;

/// Drops what is on the list, passes the rest. Reads plain Ethernet only.
#[xdp(frags)]
pub fn listed(ctx: XdpContext) -> u32 {
    let found = match read::<2>(&ctx, ETHERTYPE) {
        Some([0x08, 0x00]) => {
            read(&ctx, SOURCE_V4).and_then(|source| LISTED_V4.get(&Key::new(32, source)).copied())
        }
        Some([0x86, 0xdd]) => {
            read(&ctx, SOURCE_V6).and_then(|source| LISTED_V6.get(&Key::new(128, source)).copied())
        }
        _ => None,
    };
    let Some(counter) = found else {
        return xdp_action::XDP_PASS;
    };
    if COUNTS.load() != 0
        && let Some(count) = LIST_COUNTERS.get_ptr_mut(counter)
    {
        // SAFETY: this CPU's own copy of a map value; nothing else runs this program on it meanwhile.
        unsafe { *count += 1 };
    }
    xdp_action::XDP_DROP
}

/// Bytes of the frame; `None`: it is shorter.
#[inline(always)]
fn read<const N: usize>(ctx: &XdpContext, offset: usize) -> Option<[u8; N]> {
    let at = ctx.data() + offset;
    if at + N > ctx.data_end() {
        return None;
    }
    // SAFETY: the bytes lie within the frame, checked above; an array of bytes needs no alignment.
    Some(unsafe { (at as *const [u8; N]).read() })
}
