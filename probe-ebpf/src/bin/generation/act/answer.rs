//! `reject`: the packet becomes the answer to itself and goes back where it came from.
//!
//! TCP is answered with a reset (RFC 9293 section 3.10.7.1), anything else with the ICMP error "communication
//! administratively prohibited" (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1), which quotes the packet. Who must not
//! be answered is not (RFC 1122 section 3.2.2, RFC 4443 section 2.4).

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use probe_common::checksum::{checksum, words};
use probe_ebpf::{
    packet::{adjust_head, adjust_tail, frame_len, read, write},
    parse::Facts,
};

use super::cap::take_reject;
use crate::{transport::Transport, word};

const PROTO_ICMP: u8 = 1;
const PROTO_TCP: u8 = 6;
const PROTO_ICMPV6: u8 = 58;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
/// Destination unreachable, communication administratively prohibited.
const PROHIBITED: [u8; 2] = [3, 13];
/// The same for IPv6.
const PROHIBITED_V6: [u8; 2] = [1, 1];

const MACS_LEN: usize = 12;
const V4_LEN: usize = 20;
const V6_LEN: usize = 40;
const TCP_LEN: usize = 20;
const ICMP_LEN: usize = 8;
const TTL: u8 = 64;
const DONT_FRAGMENT: u8 = 0x40;

const TCP_FIN: u8 = 0x01;
const TCP_SYN: u8 = 0x02;
const TCP_RST: u8 = 0x04;
const TCP_ACK: u8 = 0x10;

/// How much of the packet an error quotes: the longest IPv4 header and eight bytes more; with IPv6, room for extension
/// headers of 48 bytes before those eight.
const QUOTE_MAX: usize = 96;
/// The longest link header that is copied: addresses, four tags, PPPoE, the ethertype.
const LINK_MAX: usize = MACS_LEN + 4 * 4 + 8 + 2;

/// Whether the packet was made an answer. If not, it is to drop, whatever it looks like now.
#[inline(always)]
pub fn answer(ctx: &XdpContext, facts: &Facts) -> bool {
    let transport = Transport::of(ctx, facts);
    cordon_answer(ctx.ctx, word::pack(facts), transport.word()) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_answer(ctx: *mut xdp_md, packet: u64, transport: u64) -> u32 {
    let transport = Transport::from_word(transport);
    let res = try_answer(&XdpContext::new(ctx), &word::unpack(packet), transport);
    u32::from(res.is_some())
}

#[inline(always)]
fn try_answer(ctx: &XdpContext, facts: &Facts, transport: Transport) -> Option<()> {
    let macs: [u8; MACS_LEN] = read(ctx, 0)?;
    let is_to_one = macs[0] & 1 == 0;
    if !is_to_one || transport.is_later_fragment() {
        return None;
    }
    let link = Link::read(ctx, facts)?;
    let protocol = transport.protocol()?;
    let ip = Ip::read(ctx, facts)?;
    if protocol == PROTO_TCP {
        let segment = Segment::read(ctx, transport.offset(), &ip)?;
        take_reject().then_some(())?;
        return reset(ctx, &ip, &segment, &macs, &link);
    }
    if protocol == PROTO_ICMP || protocol == PROTO_ICMPV6 {
        let [icmp_type] = read::<1>(ctx, transport.offset())?;
        let is_question = icmp_type
            == if protocol == PROTO_ICMP {
                ECHO_REQUEST
            } else {
                ECHO_REQUEST_V6
            };
        is_question.then_some(())?;
    }
    take_reject().then_some(())?;
    prohibit(ctx, &ip, &macs, &link)
}

/// What stands before the IP header.
struct Link {
    is_pppoe: bool,
}

impl Link {
    /// PPPoE tells a length, which an answer must change; its header ends with the protocol in two bytes. With
    /// the compressed protocol of one byte there is no answer: the link header would not be of even length.
    #[inline(always)]
    fn read(ctx: &XdpContext, facts: &Facts) -> Option<Self> {
        const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
        const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
        const ETHERTYPE_PPPOE: [u8; 2] = [0x88, 0x64];
        let offset = usize::from(facts.ip_offset);
        let before: [u8; 2] = read(ctx, offset.checked_sub(2)?)?;
        if before == ETHERTYPE_IPV4 || before == ETHERTYPE_IPV6 {
            return Some(Self { is_pppoe: false });
        }
        let ethertype: [u8; 2] = read(ctx, offset.checked_sub(10)?)?;
        (ethertype == ETHERTYPE_PPPOE).then_some(Self { is_pppoe: true })
    }

    /// Writes the length of what stands behind the PPPoE header.
    #[inline(always)]
    fn set_len(&self, ctx: &XdpContext, ip_offset: usize, ip_len: usize) -> bool {
        let payload_len = (ip_len + 2) as u16;
        !self.is_pppoe
            || match ip_offset.checked_sub(4) {
                Some(offset) => write(ctx, offset, &payload_len.to_be_bytes()),
                None => false,
            }
    }
}

/// The addresses and length of the packet. IPv4 addresses stand in the last four bytes.
struct Ip {
    offset: usize,
    is_v6: bool,
    source: [u8; 16],
    destination: [u8; 16],
    /// With the header, as it says itself.
    len: u32,
}

impl Ip {
    /// `None` if one of the addresses is not that of one host.
    #[inline(always)]
    fn read(ctx: &XdpContext, facts: &Facts) -> Option<Self> {
        let offset = usize::from(facts.ip_offset);
        if facts.version == 6 {
            let len: [u8; 2] = read(ctx, offset + 4)?;
            let source: [u8; 16] = read(ctx, offset + 8)?;
            let destination: [u8; 16] = read(ctx, offset + 24)?;
            let is_unspecified = source == [0; 16];
            (source[0] != 0xff && destination[0] != 0xff && !is_unspecified).then_some(Self {
                offset,
                is_v6: true,
                source,
                destination,
                len: u32::from(u16::from_be_bytes(len)) + V6_LEN as u32,
            })
        } else {
            let len: [u8; 2] = read(ctx, offset + 2)?;
            let source: [u8; 4] = read(ctx, offset + 12)?;
            let destination: [u8; 4] = read(ctx, offset + 16)?;
            // 0/8, 127/8, multicast and class E, the broadcast address among them.
            let is_one = source[0] != 0 && source[0] != 127 && source[0] < 224 && destination[0] < 224;
            is_one.then_some(Self {
                offset,
                is_v6: false,
                source: padded(source),
                destination: padded(destination),
                len: u32::from(u16::from_be_bytes(len)),
            })
        }
    }

    /// Sum of the pseudo header of an answer: addresses, length of what follows, protocol.
    #[inline(always)]
    fn pseudo_sum(&self, payload_len: usize, protocol: u8) -> u32 {
        words(&self.source) + words(&self.destination) + payload_len as u32 + u32::from(protocol)
    }

    /// Writes the header of an answer with its payload, which begins with `N` known bytes.
    #[inline(always)]
    fn write_answer<const N: usize>(
        &self,
        ctx: &XdpContext,
        protocol: u8,
        payload_len: usize,
        payload: &[u8; N],
    ) -> bool {
        if self.is_v6 {
            let [high, low] = (payload_len as u16).to_be_bytes();
            write(ctx, self.offset, &[0x60, 0, 0, 0, high, low, protocol, TTL])
                && write(ctx, self.offset + 8, &self.destination)
                && write(ctx, self.offset + 24, &self.source)
                && write(ctx, self.offset + V6_LEN, payload)
        } else {
            let (s, d) = (&self.source, &self.destination);
            let [high, low] = ((V4_LEN + payload_len) as u16).to_be_bytes();
            let mut header: [u8; V4_LEN] = [
                0x45,
                0,
                high,
                low,
                0,
                0,
                DONT_FRAGMENT,
                0,
                TTL,
                protocol,
                0,
                0,
                d[12],
                d[13],
                d[14],
                d[15],
                s[12],
                s[13],
                s[14],
                s[15],
            ];
            let [high, low] = checksum(words(&header));
            header[10] = high;
            header[11] = low;
            write(ctx, self.offset, &header) && write(ctx, self.offset + V4_LEN, payload)
        }
    }

    /// Length of an answer's header.
    #[inline(always)]
    const fn answer_len(&self) -> usize {
        if self.is_v6 { V6_LEN } else { V4_LEN }
    }
}

#[inline(always)]
const fn padded(v4: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, v4[0], v4[1], v4[2], v4[3]]
}

/// A TCP segment, as far as a reset must know it.
struct Segment {
    ports: [u8; 4],
    sequence: u32,
    acknowledgement: [u8; 4],
    flags: u8,
    /// Payload, and one each for SYN and FIN.
    len: u32,
}

impl Segment {
    /// `None` if it is a reset, or if it cannot be read.
    #[inline(always)]
    fn read(ctx: &XdpContext, offset: usize, ip: &Ip) -> Option<Self> {
        let h: [u8; TCP_LEN] = read(ctx, offset)?;
        let flags = h[13];
        if flags & TCP_RST != 0 {
            return None;
        }
        let header_len = u32::from(h[12] >> 4) * 4;
        let before = offset.saturating_sub(ip.offset) as u32;
        let payload_len = ip.len.saturating_sub(before.saturating_add(header_len));
        let len = payload_len + u32::from(flags & TCP_SYN != 0) + u32::from(flags & TCP_FIN != 0);
        Some(Self {
            ports: [h[0], h[1], h[2], h[3]],
            sequence: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
            acknowledgement: [h[8], h[9], h[10], h[11]],
            flags,
            len,
        })
    }
}

/// Makes the frame a reset. A segment that acknowledges gets the number it wants to see; any other gets its end
/// acknowledged.
#[inline(always)]
fn reset(ctx: &XdpContext, ip: &Ip, segment: &Segment, macs: &[u8; MACS_LEN], link: &Link) -> Option<()> {
    let (sequence, acknowledgement, flags) = if segment.flags & TCP_ACK != 0 {
        (segment.acknowledgement, [0; 4], TCP_RST)
    } else {
        let end = segment.sequence.wrapping_add(segment.len);
        ([0; 4], end.to_be_bytes(), TCP_RST | TCP_ACK)
    };
    let (p, s, a) = (&segment.ports, &sequence, &acknowledgement);
    let mut tcp: [u8; TCP_LEN] = [
        p[2], p[3], p[0], p[1], s[0], s[1], s[2], s[3], a[0], a[1], a[2], a[3], 0x50, flags, 0, 0, 0, 0, 0, 0,
    ];
    let [high, low] = checksum(ip.pseudo_sum(TCP_LEN, PROTO_TCP) + words(&tcp));
    tcp[16] = high;
    tcp[17] = low;
    let ip_len = ip.answer_len() + TCP_LEN;
    let is_done = cut(ctx, ip.offset + ip_len)
        && write(ctx, 0, &swapped(macs))
        && link.set_len(ctx, ip.offset, ip_len)
        && ip.write_answer(ctx, PROTO_TCP, TCP_LEN, &tcp);
    is_done.then_some(())
}

/// Makes the frame an ICMP error that quotes the packet: room is made before it, and its end is cut off.
#[inline(always)]
fn prohibit(ctx: &XdpContext, ip: &Ip, macs: &[u8; MACS_LEN], link: &Link) -> Option<()> {
    let in_frame = (frame_len(ctx) as u32).checked_sub(ip.offset as u32)?;
    // An even number, so that the checksum is one of whole words.
    let quote_len = ip.len.min(in_frame).min(QUOTE_MAX as u32) as usize & !1;
    let quote_sum = sum(ctx, ip.offset, quote_len)?;
    let icmp_len = ICMP_LEN + quote_len;
    let (protocol, what, pseudo_sum) = if ip.is_v6 {
        (PROTO_ICMPV6, PROHIBITED_V6, ip.pseudo_sum(icmp_len, PROTO_ICMPV6))
    } else {
        (PROTO_ICMP, PROHIBITED, 0)
    };
    let [high, low] = checksum(pseudo_sum + words(&what) + quote_sum);
    let icmp = [what[0], what[1], high, low, 0, 0, 0, 0];

    let room = ip.answer_len() + ICMP_LEN;
    let is_done = cut(ctx, ip.offset + quote_len)
        && adjust_head(ctx, -(room as i32))
        && copy_link(ctx, room, ip.offset)
        && write(ctx, 0, &swapped(macs))
        && link.set_len(ctx, ip.offset, ip.answer_len() + icmp_len)
        && ip.write_answer(ctx, protocol, icmp_len, &icmp);
    is_done.then_some(())
}

#[inline(always)]
const fn swapped(m: &[u8; MACS_LEN]) -> [u8; MACS_LEN] {
    [
        m[6], m[7], m[8], m[9], m[10], m[11], m[0], m[1], m[2], m[3], m[4], m[5],
    ]
}

/// Sum of the words of an even number of bytes.
#[inline(always)]
fn sum(ctx: &XdpContext, offset: usize, len: usize) -> Option<u32> {
    let mut sum = 0;
    for idx in 0..QUOTE_MAX / 2 {
        if idx * 2 >= len {
            break;
        }
        sum += words(&read::<2>(ctx, offset + idx * 2)?);
    }
    Some(sum)
}

/// Copies what stands between the MAC addresses and the IP header to the frame's new start.
#[inline(always)]
fn copy_link(ctx: &XdpContext, from: usize, ip_offset: usize) -> bool {
    for idx in MACS_LEN / 2..LINK_MAX / 2 {
        let offset = idx * 2;
        if offset >= ip_offset {
            break;
        }
        match read::<2>(ctx, from + offset) {
            Some(word) if write(ctx, offset, &word) => {}
            _ => return false,
        }
    }
    true
}

/// Cuts the frame off at a length. Whether it could be; a frame that is shorter cannot.
#[inline(always)]
fn cut(ctx: &XdpContext, len: usize) -> bool {
    let surplus = frame_len(ctx) as i64 - len as i64;
    surplus == 0 || surplus > 0 && adjust_tail(ctx, -surplus as i32)
}
