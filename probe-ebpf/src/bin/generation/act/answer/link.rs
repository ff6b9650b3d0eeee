//! What stands before the IP header.

use aya_ebpf::programs::XdpContext;
use probe_ebpf::packet::{load, store};

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const ETHERTYPE_PPPOE: [u8; 2] = [0x88, 0x64];
const MACS_LEN: usize = 12;
/// The length in a PPPoE header stands before the protocol of two bytes, which it counts.
const PPP_PROTOCOL_LEN: usize = 2;
const PPPOE_LENGTH_BEFORE: usize = 2 + PPP_PROTOCOL_LEN;
const PPPOE_ETHERTYPE_BEFORE: usize = 2 + 6 + PPP_PROTOCOL_LEN;
/// The longest link header that is copied: addresses, four tags, PPPoE, the ethertype.
const LINK_MAX: usize = MACS_LEN + 4 * 4 + 8 + 2;

/// The link header.
pub struct Link {
    ip_offset: usize,
    is_pppoe: bool,
}

impl Link {
    /// `None` for PPPoE with the protocol compressed to one byte: nobody sends it, and its length is odd.
    #[inline(always)]
    pub fn read(ctx: &XdpContext, ip_offset: usize) -> Option<Self> {
        let before: [u8; 2] = load(ctx, ip_offset.wrapping_sub(2))?;
        let is_pppoe = before != ETHERTYPE_IPV4 && before != ETHERTYPE_IPV6;
        if is_pppoe && load(ctx, ip_offset.wrapping_sub(PPPOE_ETHERTYPE_BEFORE))? != ETHERTYPE_PPPOE {
            return None;
        }
        Some(Self { ip_offset, is_pppoe })
    }

    /// Copies the header to the frame's start, from where it was before room was made.
    #[inline(always)]
    pub fn copy(&self, ctx: &XdpContext, room: usize) -> Option<()> {
        for idx in 0..LINK_MAX / 2 {
            let offset = idx * 2;
            if offset >= self.ip_offset {
                break;
            }
            store(ctx, offset, &load::<2>(ctx, room + offset)?).then_some(())?;
        }
        Some(())
    }

    /// Turns the header around, for an IP packet of a length.
    #[inline(always)]
    pub fn turn(&self, ctx: &XdpContext, ip_len: usize) -> Option<()> {
        let destination: [u8; 6] = load(ctx, 0)?;
        let source: [u8; 6] = load(ctx, 6)?;
        (store(ctx, 0, &source) && store(ctx, 6, &destination)).then_some(())?;
        if self.is_pppoe {
            let len = (ip_len + PPP_PROTOCOL_LEN) as u16;
            let offset = self.ip_offset.wrapping_sub(PPPOE_LENGTH_BEFORE);
            store(ctx, offset, &len.to_be_bytes()).then_some(())?;
        }
        Some(())
    }
}
