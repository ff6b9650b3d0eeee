//! The IP headers of packet and answer.

use aya_ebpf::programs::XdpContext;
use probe_ebpf::{
    packet::{adjust_tail, frame_len, load, store},
    parse::Facts,
};

use super::sum::{sum, write_checksum};
use crate::word;

const V4_LEN: usize = 20;
const V4_SOURCE: usize = 12;
const V4_CHECKSUM: usize = 10;
const V4_ADDRESS_LEN: usize = 4;
const V6_LEN: usize = 40;
const V6_SOURCE: usize = 8;
const V6_DESTINATION: usize = 24;
const V6_ADDRESS_LEN: usize = 16;
const TTL: u8 = 64;
const DONT_FRAGMENT: u8 = 0x40;

/// What an answer must know of the packet's header.
pub struct Ip {
    /// Where it is.
    pub offset: usize,
    /// Whether it is IPv6.
    pub is_v6: bool,
    /// Length of the packet with this header, as it says itself.
    pub len: usize,
    /// Sum of both addresses.
    address_sum: u32,
}

impl Ip {
    /// `None` if one of the addresses is not that of one host.
    #[inline(always)]
    pub fn read(ctx: &XdpContext, facts: &Facts) -> Option<Self> {
        let offset = word::ip_offset(facts);
        if facts.version == 6 {
            let len = load(ctx, offset + 4)?;
            let source_sum = sum(ctx, offset + V6_SOURCE, V6_ADDRESS_LEN)?;
            let destination_sum = sum(ctx, offset + V6_DESTINATION, V6_ADDRESS_LEN)?;
            let [source] = load::<1>(ctx, offset + V6_SOURCE)?;
            let [destination] = load::<1>(ctx, offset + V6_DESTINATION)?;
            // The sum of an address is zero for the unspecified one only.
            let is_one = source != 0xff && destination != 0xff && source_sum != 0;
            return is_one.then_some(Self {
                offset,
                is_v6: true,
                len: usize::from(u16::from_be_bytes(len)) + V6_LEN,
                address_sum: source_sum + destination_sum,
            });
        }
        let len = load(ctx, offset + 2)?;
        let [source] = load::<1>(ctx, offset + V4_SOURCE)?;
        let [destination] = load::<1>(ctx, offset + V4_SOURCE + V4_ADDRESS_LEN)?;
        // 0/8, 127/8, multicast and class E, the broadcast address among them.
        let is_one = source != 0 && source != 127 && source < 224 && destination < 224;
        is_one.then_some(Self {
            offset,
            is_v6: false,
            len: usize::from(u16::from_be_bytes(len)),
            address_sum: sum(ctx, offset + V4_SOURCE, 2 * V4_ADDRESS_LEN)?,
        })
    }

    /// Length of an answer's header.
    #[inline(always)]
    pub const fn header_len(&self) -> usize {
        if self.is_v6 { V6_LEN } else { V4_LEN }
    }

    /// Sum of the pseudo header of an answer.
    #[inline(always)]
    pub const fn pseudo_sum(&self, payload_len: usize, protocol: u8) -> u32 {
        self.address_sum + payload_len as u32 + protocol as u32
    }

    /// Writes the header of an answer. The packet's own is at `from`, which may be the same place.
    #[inline(always)]
    pub fn write_header(
        &self,
        ctx: &XdpContext,
        from: usize,
        protocol: u8,
        payload_len: usize,
    ) -> Option<()> {
        if self.is_v6 {
            let [high, low] = (payload_len as u16).to_be_bytes();
            let source: [u8; V6_ADDRESS_LEN] = load(ctx, from + V6_SOURCE)?;
            let destination: [u8; V6_ADDRESS_LEN] = load(ctx, from + V6_DESTINATION)?;
            let is_written = store(ctx, self.offset, &[0x60, 0, 0, 0, high, low, protocol, TTL])
                && store(ctx, self.offset + V6_SOURCE, &destination)
                && store(ctx, self.offset + V6_DESTINATION, &source);
            return is_written.then_some(());
        }
        let [high, low] = ((V4_LEN + payload_len) as u16).to_be_bytes();
        let start = [0x45, 0, high, low, 0, 0, DONT_FRAGMENT, 0, TTL, protocol, 0, 0];
        let source: [u8; V4_ADDRESS_LEN] = load(ctx, from + V4_SOURCE)?;
        let destination: [u8; V4_ADDRESS_LEN] = load(ctx, from + V4_SOURCE + V4_ADDRESS_LEN)?;
        let is_written = store(ctx, self.offset, &start)
            && store(ctx, self.offset + V4_SOURCE, &destination)
            && store(ctx, self.offset + V4_SOURCE + V4_ADDRESS_LEN, &source);
        is_written.then_some(())?;
        let sum = sum(ctx, self.offset, V4_LEN)?;
        write_checksum(ctx, self.offset + V4_CHECKSUM, sum)
    }

    /// Cuts the frame off behind the first `len` bytes from the header on.
    #[inline(always)]
    pub fn cut(&self, ctx: &XdpContext, len: usize) -> Option<()> {
        let surplus = frame_len(ctx) as i64 - (self.offset + len) as i64;
        let is_done = surplus == 0 || surplus > 0 && adjust_tail(ctx, -surplus as i32);
        is_done.then_some(())
    }
}
