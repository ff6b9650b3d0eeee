//! The answer to TCP: a reset.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use probe_ebpf::packet::{load, store};

use super::{
    PROTO_TCP, Question,
    sum::{sum, write_checksum, write_zeros},
};
use crate::{act::cap::take_reject, transport::Transport, word};

const TCP_LEN: usize = 20;
const CHECKSUM: usize = 16;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
/// Five words of header.
const DATA_OFFSET: u8 = 0x50;

/// Makes the frame a reset. Whether it did.
#[inline(always)]
pub fn reset(ctx: &XdpContext, packet: u64, transport: Transport) -> bool {
    cordon_reset(ctx.ctx, packet, transport.word()) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_reset(ctx: *mut xdp_md, packet: u64, transport: u64) -> u32 {
    let res = try_reset(&XdpContext::new(ctx), packet, Transport::from_word(transport));
    u32::from(res.is_some())
}

#[inline(always)]
fn try_reset(ctx: &XdpContext, packet: u64, transport: Transport) -> Option<()> {
    let Question { link, ip } = Question::read(ctx, &word::unpack(packet), transport)?;
    let offset = transport.offset();
    let len = ip.len.saturating_sub(offset.saturating_sub(ip.offset));
    let segment = Segment::read(ctx, offset, len)?;
    // A reset is not answered with another.
    if segment.flags & RST != 0 || !take_reject() {
        return None;
    }
    let len = ip.header_len() + TCP_LEN;
    ip.cut(ctx, len)?;
    link.turn(ctx, len)?;
    ip.write_header(ctx, ip.offset, PROTO_TCP, TCP_LEN)?;
    let offset = ip.offset + ip.header_len();
    segment.answer().write(ctx, offset)?;
    let sum = ip.pseudo_sum(TCP_LEN, PROTO_TCP) + sum(ctx, offset, TCP_LEN)?;
    write_checksum(ctx, offset + CHECKSUM, sum)
}

/// What matters of a segment for its answer, and of the answer.
struct Segment {
    /// Source and destination, as they stand in memory.
    ports: u32,
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
    payload_len: u32,
}

impl Segment {
    /// Reads a segment of `len` bytes.
    #[inline(always)]
    fn read(ctx: &XdpContext, offset: usize, len: usize) -> Option<Self> {
        let [data_offset, flags] = load(ctx, offset + 12)?;
        Some(Self {
            ports: u32::from_ne_bytes(load(ctx, offset)?),
            sequence: u32::from_be_bytes(load(ctx, offset + 4)?),
            acknowledgement: u32::from_be_bytes(load(ctx, offset + 8)?),
            flags,
            payload_len: len.saturating_sub(usize::from(data_offset >> 4) * 4) as u32,
        })
    }

    /// The reset for it. A segment that acknowledges gets the number that it wants to see next; of any other the end is
    /// acknowledged, where SYN and FIN count one each.
    #[inline(always)]
    fn answer(&self) -> Self {
        let n_flags = u32::from(self.flags & SYN != 0) + u32::from(self.flags & FIN != 0);
        let end = self.sequence.wrapping_add(self.payload_len).wrapping_add(n_flags);
        let (sequence, acknowledgement, flags) = if self.flags & ACK != 0 {
            (self.acknowledgement, 0, RST)
        } else {
            (0, end, RST | ACK)
        };
        Self {
            ports: self.ports.rotate_left(16),
            sequence,
            acknowledgement,
            flags,
            payload_len: 0,
        }
    }

    /// Writes a header without options, with the window, checksum and urgent pointer zero.
    #[inline(always)]
    fn write(&self, ctx: &XdpContext, offset: usize) -> Option<()> {
        let is_written = store(ctx, offset, &self.ports.to_ne_bytes())
            && store(ctx, offset + 4, &self.sequence.to_be_bytes())
            && store(ctx, offset + 8, &self.acknowledgement.to_be_bytes())
            && store(ctx, offset + 12, &[DATA_OFFSET, self.flags])
            && write_zeros::<6>(ctx, offset + 14);
        is_written.then_some(())
    }
}
