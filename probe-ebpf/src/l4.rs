//! What stands behind the IP header, read only for packets of which a policy asks it.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use probe_common::l4::{Extension, MAX_EXTENSION_HEADERS, extension, is_quic_initial};

use crate::{
    packet::{MAX_OFFSET, read_at},
    parse::{Address, Facts},
};

const PROTO_ICMP: u8 = 1;
const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;
const PROTO_ICMPV6: u8 = 58;

const TCP_FLAGS_OFFSET: u32 = 13;
const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;
const UDP_LEN: u32 = 8;

/// The transport header, as far as it can be read.
///
/// Every field has a value, known or not: the compiler would move the undefined part of an `Option` around, which the
/// verifier refuses.
#[derive(Clone, Copy)]
pub struct L4 {
    /// An extension header's number if it is unknown.
    protocol: u8,
    is_protocol_known: bool,
    has_ports: bool,
    source_port: u16,
    destination_port: u16,
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
        protocol: facts.protocol,
        is_protocol_known: true,
        has_ports: false,
        source_port: 0,
        destination_port: 0,
        offset: facts.ip_offset + u16::from(facts.ip_len),
        is_fragment: facts.is_fragment,
        is_later_fragment: facts.is_later_fragment,
        end: end(ctx, facts),
    };
    if facts.version == 6 {
        l4.walk(ctx);
    }
    if l4.is_later_fragment || !matches!(l4.protocol, PROTO_TCP | PROTO_UDP) {
        return l4;
    }
    if let Some([s0, s1, d0, d1]) = l4.read(ctx, 0) {
        l4.has_ports = true;
        l4.source_port = u16::from_be_bytes([s0, s1]);
        l4.destination_port = u16::from_be_bytes([d0, d1]);
    }
    l4
}

/// What an IPv6 packet carries behind its extension headers, and where; `None` if that cannot be told, or if it is in
/// another fragment.
#[inline(always)]
pub(crate) fn behind_extensions(ctx: &XdpContext, facts: &Facts) -> Option<(u8, usize)> {
    let found = walk_extensions(ctx, facts);
    (found != 0).then_some((found as u8, (found >> 8) as usize & MAX_OFFSET))
}

/// Whether an IPv6 packet is the first of several fragments.
#[inline(always)]
pub(crate) fn is_first_of_extensions(ctx: &XdpContext, facts: &Facts) -> bool {
    walk_extensions(ctx, facts) & FIRST_FRAGMENT != 0
}

#[inline(always)]
fn walk_extensions(ctx: &XdpContext, facts: &Facts) -> u32 {
    cordon_behind_extensions(
        ctx.ctx,
        u32::from(facts.ip_offset) << 8 | u32::from(facts.protocol),
    )
}

/// In what [`cordon_behind_extensions`] gives.
const FIRST_FRAGMENT: u32 = 1 << 31;

/// A function of its own for the verifier, like the step that it takes. Bits 0-7 the protocol, 8-30 its offset, 31 whether it
/// is the first of several fragments; 0: nothing can be told, since nothing is at offset 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_behind_extensions(ctx: *mut xdp_md, packet: u32) -> u32 {
    let ctx = XdpContext::new(ctx);
    let facts = Facts {
        // Not looked at here.
        source: Address::from_v4([0; 4]),
        ip_offset: (packet >> 8) as u16,
        ip_len: 40,
        version: 6,
        protocol: packet as u8,
        is_later_fragment: false,
        is_fragment: false,
        vlan: 0,
    };
    let l4 = l4(&ctx, &facts);
    match l4.protocol() {
        Some(protocol) if !l4.is_later_fragment => {
            let is_first = if l4.is_fragment { FIRST_FRAGMENT } else { 0 };
            is_first | u32::from(l4.offset) << 8 | u32::from(protocol)
        }
        _ => 0,
    }
}

/// Whether the packet is an ICMP error that the network needs: path MTU and time exceeded in IPv4, the four error
/// types in IPv6 (RFC 4890 section 4.3.1). One behind an extension header or in a fragment is nobody's.
#[inline(always)]
pub fn is_icmp_error(ctx: &XdpContext, facts: &Facts) -> bool {
    let offset = usize::from(facts.ip_offset) + usize::from(facts.ip_len);
    if facts.version == 4 {
        facts.protocol == PROTO_ICMP
            && !facts.is_fragment
            && matches!(read_at::<2>(ctx, offset), Some([3, 4] | [11, _]))
    } else {
        facts.protocol == PROTO_ICMPV6 && matches!(read_at::<1>(ctx, offset), Some([1..=4]))
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
    match l4.protocol() {
        Some(PROTO_TCP) => match l4.read(ctx, TCP_FLAGS_OFFSET) {
            Some([flags]) => flags & (TCP_SYN | TCP_ACK) == TCP_SYN,
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
    /// IP protocol number; `None` if it is behind too many extension headers, cut off, or in another fragment.
    #[inline(always)]
    pub const fn protocol(&self) -> Option<u8> {
        if self.is_protocol_known {
            Some(self.protocol)
        } else {
            None
        }
    }

    /// Source port of TCP and UDP, host byte order.
    #[inline(always)]
    pub const fn source_port(&self) -> Option<u16> {
        if self.has_ports {
            Some(self.source_port)
        } else {
            None
        }
    }

    /// Destination port of TCP and UDP, host byte order.
    #[inline(always)]
    pub const fn destination_port(&self) -> Option<u16> {
        if self.has_ports {
            Some(self.destination_port)
        } else {
            None
        }
    }

    /// `N` bytes at `at` in the transport header; `None` if the packet ends before.
    #[inline(always)]
    fn read<const N: usize>(&self, ctx: &XdpContext, at: u32) -> Option<[u8; N]> {
        read_within(ctx, u32::from(self.offset) + at, self.end)
    }

    /// Follows the extension headers of an IPv6 packet.
    #[inline(always)]
    fn walk(&mut self, ctx: &XdpContext) {
        let mut step = Step::new(self.protocol, self.offset, self.end);
        for _ in 0..MAX_EXTENSION_HEADERS {
            if !step.is_at_extension() {
                break;
            }
            step = Step(cordon_next_header(ctx.ctx, step.0));
        }
        self.protocol = step.0 as u8;
        self.is_protocol_known = step.0 & (Step::UNKNOWN | Step::AT_EXTENSION) == 0;
        self.offset = step.offset();
        self.is_fragment = step.0 & Step::FRAGMENT != 0;
        self.is_later_fragment = step.0 & Step::LATER_FRAGMENT != 0;
    }
}

/// A place in a chain of extension headers, in one register: bits 0-7 the header that comes next, 16-31 its offset, 32-63
/// the end of the packet, and the flags below.
#[derive(Clone, Copy)]
struct Step(u64);

impl Step {
    /// What comes next is cut off or in another fragment.
    const UNKNOWN: u64 = 1 << 8;
    const FRAGMENT: u64 = 1 << 9;
    const LATER_FRAGMENT: u64 = 1 << 10;
    /// What comes next is an extension header.
    const AT_EXTENSION: u64 = 1 << 11;

    #[inline(always)]
    const fn new(next_header: u8, offset: u16, end: u32) -> Self {
        let step = Self(next_header as u64 | (offset as u64) << 16 | (end as u64) << 32);
        match extension(next_header) {
            Some(_) => Self(step.0 | Self::AT_EXTENSION),
            None => step,
        }
    }

    #[inline(always)]
    const fn is_at_extension(self) -> bool {
        self.0 & Self::AT_EXTENSION != 0
    }

    #[inline(always)]
    const fn offset(self) -> u16 {
        (self.0 >> 16) as u16
    }

    #[inline(always)]
    const fn end(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The step behind one extension header.
///
/// A function of its own for the verifier: it goes through it once instead of once for each way to get to each of
/// [`MAX_EXTENSION_HEADERS`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_next_header(ctx: *mut xdp_md, step: u64) -> u64 {
    let step = Step(step);
    let flags = step.0 & (Step::FRAGMENT | Step::LATER_FRAGMENT);
    let unknown = step.0 & !Step::AT_EXTENSION | Step::UNKNOWN;
    let Some(kind) = extension(step.0 as u8) else {
        return unknown;
    };
    let header = read_within(&XdpContext::new(ctx), u32::from(step.offset()), step.end());
    let Some([next_header, second, fragment_high, fragment_low]) = header else {
        return unknown;
    };
    let next = Step::new(
        next_header,
        step.offset().wrapping_add(kind.len(second) as u16),
        step.end(),
    );
    if kind != Extension::Fragment {
        return next.0 | flags;
    }
    let fragment = u16::from_be_bytes([fragment_high, fragment_low]);
    if fragment & 0xfff8 != 0 {
        // What the header names is in the first fragment, and so are the extension headers behind it.
        let next = if next.is_at_extension() {
            next.0 & !Step::AT_EXTENSION | Step::UNKNOWN
        } else {
            next.0
        };
        return next | Step::FRAGMENT | Step::LATER_FRAGMENT;
    }
    // An atomic fragment is none (RFC 6946): neither an offset nor "more fragments".
    if fragment & 1 == 1 {
        next.0 | flags | Step::FRAGMENT
    } else {
        next.0 | flags
    }
}

/// `N` bytes at `offset` of the frame, if the packet has not ended there.
#[inline(always)]
fn read_within<const N: usize>(ctx: &XdpContext, offset: u32, end: u32) -> Option<[u8; N]> {
    if u64::from(offset) + N as u64 > u64::from(end) {
        return None;
    }
    read_at(ctx, offset as usize)
}

/// Where the packet ends by its own length.
#[inline(always)]
pub(crate) fn end(ctx: &XdpContext, facts: &Facts) -> u32 {
    let start = u32::from(facts.ip_offset);
    if facts.version == 4 {
        // The total length.
        return match read_at(ctx, start as usize + 2) {
            Some(len) => start + u32::from(u16::from_be_bytes(len)),
            None => 0,
        };
    }
    let payload = start + u32::from(facts.ip_len);
    match read_at(ctx, start as usize + 4).map(u16::from_be_bytes) {
        // A jumbogram has its length in a hop-by-hop option (RFC 2675); nothing is gained by reading it.
        Some(0) if facts.protocol == 0 => u32::MAX,
        Some(len) => payload + u32::from(len),
        None => 0,
    }
}
