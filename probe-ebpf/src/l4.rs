//! What stands behind the IP header, read only for packets of which a policy asks it.

use aya_ebpf::programs::XdpContext;
use probe_common::l4::{Extension, MAX_EXTENSION_HEADERS, extension, is_quic_initial};

use crate::{packet::read, parse::Facts};

const PROTO_ICMP: u8 = 1;
const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;
const PROTO_ICMPV6: u8 = 58;

const TCP_FLAGS_OFFSET: u32 = 13;
const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;
const UDP_LEN: u32 = 8;

/// No chain of [`MAX_EXTENSION_HEADERS`] gets this far; the verifier wants to be told.
const OFFSET_MASK: u32 = 0x7fff;

/// The transport header, as far as it can be read.
#[derive(Clone, Copy)]
pub struct L4 {
    /// IP protocol number; `None` if it is behind too many extension headers, cut off, or in another fragment.
    pub protocol: Option<u8>,
    /// Source port of TCP and UDP, host byte order.
    pub source_port: Option<u16>,
    /// Destination port of TCP and UDP, host byte order.
    pub destination_port: Option<u16>,
    /// Flags of TCP.
    pub tcp_flags: Option<u8>,
    /// Where the header begins, as [`Facts::ip_offset`] counts. Means nothing if the protocol is unknown.
    pub offset: u16,
    /// A fragment, the first included.
    pub is_fragment: bool,
    /// Any fragment but the first.
    pub is_later_fragment: bool,
    /// Where the packet ends by its own length: what follows in the frame is padding.
    end: u32,
}

/// Reads the transport header of a packet.
#[inline(always)]
pub fn l4(ctx: &XdpContext, facts: &Facts) -> L4 {
    let mut l4 = L4 {
        protocol: Some(facts.protocol),
        source_port: None,
        destination_port: None,
        tcp_flags: None,
        offset: facts.ip_offset + u16::from(facts.ip_len),
        is_fragment: facts.is_fragment,
        is_later_fragment: facts.is_later_fragment,
        end: end(ctx, facts),
    };
    if facts.version == 6 {
        l4.walk(ctx, facts.protocol);
    }
    if l4.is_later_fragment || !matches!(l4.protocol, Some(PROTO_TCP | PROTO_UDP)) {
        return l4;
    }
    if let Some([s0, s1, d0, d1]) = l4.read(ctx, 0) {
        l4.source_port = Some(u16::from_be_bytes([s0, s1]));
        l4.destination_port = Some(u16::from_be_bytes([d0, d1]));
    }
    if l4.protocol == Some(PROTO_TCP)
        && let Some([flags]) = l4.read(ctx, TCP_FLAGS_OFFSET)
    {
        l4.tcp_flags = Some(flags);
    }
    l4
}

/// Whether the packet is an ICMP error that the network needs: path MTU and time exceeded in IPv4, the four error
/// types in IPv6 (RFC 4890 section 4.3.1). One behind an extension header or in a fragment is nobody's.
#[inline(always)]
pub fn is_icmp_error(ctx: &XdpContext, facts: &Facts) -> bool {
    let offset = usize::from(facts.ip_offset) + usize::from(facts.ip_len);
    if facts.version == 4 {
        facts.protocol == PROTO_ICMP
            && !facts.is_fragment
            && matches!(read::<2>(ctx, offset), Some([3, 4] | [11, _]))
    } else {
        facts.protocol == PROTO_ICMPV6 && matches!(read::<1>(ctx, offset), Some([1..=4]))
    }
}

/// Whether the packet opens a connection: TCP SYN without ACK, QUIC Initial. What hides that it does is taken for
/// one that does: a header cut off by fragmentation, too many extension headers. Later fragments open nothing: they
/// are lost without their first one.
#[inline(always)]
pub fn opens_connection(ctx: &XdpContext, l4: &L4) -> bool {
    if l4.is_later_fragment {
        return false;
    }
    match l4.protocol {
        Some(PROTO_TCP) => match l4.tcp_flags {
            Some(flags) => flags & (TCP_SYN | TCP_ACK) == TCP_SYN,
            None => true,
        },
        Some(PROTO_UDP) => match l4.read(ctx, UDP_LEN) {
            Some(start) => is_quic_initial(start),
            None => l4.is_fragment,
        },
        Some(_) => false,
        None => true,
    }
}

impl L4 {
    /// `N` bytes at `at` in the transport header; `None` if the packet ends before.
    #[inline(always)]
    fn read<const N: usize>(&self, ctx: &XdpContext, at: u32) -> Option<[u8; N]> {
        let offset = (u32::from(self.offset) & OFFSET_MASK) + at;
        if offset + N as u32 > self.end {
            return None;
        }
        read(ctx, offset as usize)
    }

    /// Follows the extension headers of an IPv6 packet.
    #[inline(always)]
    fn walk(&mut self, ctx: &XdpContext, next_header: u8) {
        let mut protocol = next_header;
        for _ in 0..MAX_EXTENSION_HEADERS {
            let Some(kind) = extension(protocol) else {
                self.protocol = Some(protocol);
                return;
            };
            let Some([next_header, second, fragment_high, fragment_low]) = self.read(ctx, 0) else {
                self.protocol = None;
                return;
            };
            protocol = next_header;
            if kind == Extension::Fragment {
                let fragment = u16::from_be_bytes([fragment_high, fragment_low]);
                // Offset and "more fragments"; both zero in an atomic fragment (RFC 6946).
                self.is_fragment |= fragment & 0xfff9 != 0;
                if fragment & 0xfff8 != 0 {
                    self.is_later_fragment = true;
                    break;
                }
            }
            self.offset = ((u32::from(self.offset) + kind.len(second)) & OFFSET_MASK) as u16;
        }
        self.protocol = match extension(protocol) {
            Some(_) => None,
            None => Some(protocol),
        };
    }
}

/// Where the packet ends by its own length.
#[inline(always)]
fn end(ctx: &XdpContext, facts: &Facts) -> u32 {
    let start = u32::from(facts.ip_offset);
    if facts.version == 4 {
        // The total length.
        return match read(ctx, start as usize + 2) {
            Some(len) => start + u32::from(u16::from_be_bytes(len)),
            None => 0,
        };
    }
    let payload = start + u32::from(facts.ip_len);
    match read(ctx, start as usize + 4).map(u16::from_be_bytes) {
        // A jumbogram has its length in a hop-by-hop option (RFC 2675); nothing is gained by reading it.
        Some(0) if facts.protocol == 0 => u32::MAX,
        Some(len) => payload + u32::from(len),
        None => 0,
    }
}
