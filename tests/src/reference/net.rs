//! IP headers, and as much of what is behind them as a verdict may depend on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice,
    err::{ipv4, ipv6},
};
use probe_common::Reason;

/// Extension headers that are walked to find ports; a longer chain has none that can be read.
const MAX_EXTENSIONS: usize = 10;

/// An IP packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// Time to live or hop limit.
    pub hop_limit: u8,
    /// Whether an IPv4 header has options.
    pub has_options: bool,
    /// What the fixed header says comes next.
    pub next_header: u8,
    /// Whether it is a fragment of something larger.
    pub is_fragment: bool,
    /// Whether it is another fragment than the first.
    pub is_later_fragment: bool,
    /// The protocol behind all extension headers; `None`: it cannot be read.
    pub protocol: Option<u8>,
    /// Everything from the start of the protocol's header, to the end of the frame.
    behind: &'a [u8],
    /// The same, to where the packet says that it ends.
    within: &'a [u8],
}

impl<'a> Packet<'a> {
    /// What it carries, from the start of the protocol's header to the end of the frame; `None`: a later fragment, or
    /// not to be found.
    pub(super) fn payload(&self) -> Option<&'a [u8]> {
        (self.protocol.is_some() && !self.is_later_fragment).then_some(self.behind)
    }

    /// The same, to where the packet ends by its own length.
    pub(super) const fn within(&self) -> &'a [u8] {
        self.within
    }

    /// The destination port of what says it is UDP, also behind the packet's own end.
    pub(super) fn udp_port(&self) -> Option<u16> {
        match self.payload()? {
            [_, _, high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        }
    }

    /// Source and destination port of TCP or UDP. What stands behind the packet's own end is padding.
    pub(super) fn ports(&self) -> Option<(u16, u16)> {
        match (self.protocol?, self.within) {
            (6 | 17, [a, b, c, d, ..]) if !self.is_later_fragment => {
                Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])))
            }
            _ => None,
        }
    }

    /// Whether it opens a connection, or may for all that can be read of it: TCP's SYN without ACK, QUIC's Initial. Later
    /// fragments are lost without the first one, which is judged.
    pub(super) fn may_open(&self) -> bool {
        if self.is_later_fragment {
            return false;
        }
        match (self.protocol, self.within) {
            (None, _) => true,
            (Some(6), segment) => segment.get(13).is_none_or(|flags| flags & 0x12 == 0x02),
            // RFC 9000, 17.2.2; RFC 9369, 3.2. Without a first byte and a version, the next fragment may have them.
            (Some(17), datagram) => match datagram.get(8..13) {
                Some(start) => matches!(
                    start,
                    [0xc0..=0xcf, 0, 0, 0, 1] | [0xd0..=0xdf, 0x6b, 0x33, 0x43, 0xcf]
                ),
                None => self.is_fragment,
            },
            _ => false,
        }
    }
}

/// Reads an IPv4 packet.
pub(super) fn v4(bytes: &[u8]) -> Result<Packet<'_>, Reason> {
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|error| match error {
        // The fixed header is there, and says of itself that it lies.
        ipv4::HeaderSliceError::Len(_) if contradicts_itself(bytes) => Reason::Malformed,
        ipv4::HeaderSliceError::Len(_) => Reason::Truncated,
        ipv4::HeaderSliceError::Content(_) => Reason::Malformed,
    })?;
    let header_len = header.slice().len();
    let total_len = usize::from(header.total_len());
    if total_len < header_len {
        return Err(Reason::Malformed);
    }
    let offset = header.fragments_offset().value();
    Ok(Packet {
        source: Ipv4Addr::from(header.source()).into(),
        destination: Ipv4Addr::from(header.destination()).into(),
        hop_limit: header.ttl(),
        has_options: !header.options().is_empty(),
        next_header: header.protocol().0,
        is_fragment: header.more_fragments() || offset != 0,
        is_later_fragment: offset != 0,
        protocol: Some(header.protocol().0),
        behind: &bytes[header_len..],
        within: &bytes[header_len..total_len.min(bytes.len())],
    })
}

/// Whether a header that is not there to its end says that the packet ends before it does.
fn contradicts_itself(bytes: &[u8]) -> bool {
    match bytes {
        [version_ihl, _, high, low, ..] if bytes.len() >= 20 => {
            u16::from_be_bytes([*high, *low]) < u16::from(version_ihl & 15) * 4
        }
        _ => false,
    }
}

/// Reads an IPv6 packet.
pub(super) fn v6(bytes: &[u8]) -> Result<Packet<'_>, Reason> {
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|error| match error {
        ipv6::HeaderSliceError::Len(_) => Reason::Truncated,
        ipv6::HeaderSliceError::Content(_) => Reason::Malformed,
    })?;
    let next_header = header.next_header();
    let behind = &bytes[header.slice().len()..];
    let len = match usize::from(header.payload_length()) {
        // A jumbogram (RFC 2675).
        0 if next_header == IpNumber::IPV6_HEADER_HOP_BY_HOP => behind.len(),
        len => len.min(behind.len()),
    };
    let chain = walk(next_header.0, &behind[..len]);
    Ok(Packet {
        source: Ipv6Addr::from(header.source()).into(),
        destination: Ipv6Addr::from(header.destination()).into(),
        hop_limit: header.hop_limit(),
        has_options: false,
        next_header: next_header.0,
        is_fragment: chain.is_fragment,
        is_later_fragment: chain.is_later_fragment,
        protocol: chain.protocol,
        behind: behind.get(chain.len..).unwrap_or_default(),
        within: behind[..len].get(chain.len..).unwrap_or_default(),
    })
}

/// A chain of extension headers.
#[derive(Clone, Copy, Debug, Default)]
struct Chain {
    len: usize,
    is_fragment: bool,
    is_later_fragment: bool,
    protocol: Option<u8>,
}

/// Walks the extension headers. Of each, the first four bytes must be there; that the frame ends within the rest leaves
/// nothing to read behind it.
fn walk(mut next_header: u8, bytes: &[u8]) -> Chain {
    let mut chain = Chain::default();
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(next_header) {
            break;
        }
        let Some([next, second, high, low, ..]) = bytes.get(chain.len..) else {
            return chain;
        };
        chain.len += match IpNumber(next_header) {
            IpNumber::AUTHENTICATION_HEADER => (usize::from(*second) + 2) * 4,
            IpNumber::IPV6_FRAGMENTATION_HEADER => 8,
            _ => (usize::from(*second) + 1) * 8,
        };
        if IpNumber(next_header) == IpNumber::IPV6_FRAGMENTATION_HEADER {
            let field = u16::from_be_bytes([*high, *low]);
            chain.is_later_fragment = field >> 3 != 0;
            chain.is_fragment |= chain.is_later_fragment || field & 1 != 0;
            if chain.is_later_fragment {
                // More extension headers would be in the first fragment.
                chain.protocol = (!is_extension(*next)).then_some(*next);
                return chain;
            }
        }
        next_header = *next;
    }
    chain.protocol = (!is_extension(next_header)).then_some(next_header);
    chain
}

fn is_extension(next_header: u8) -> bool {
    matches!(
        IpNumber(next_header),
        IpNumber::IPV6_HEADER_HOP_BY_HOP
            | IpNumber::IPV6_ROUTE_HEADER
            | IpNumber::IPV6_FRAGMENTATION_HEADER
            | IpNumber::AUTHENTICATION_HEADER
            | IpNumber::IPV6_DESTINATION_OPTIONS
            | IpNumber::MOBILITY_HEADER
            | IpNumber::HIP
            | IpNumber::SHIM6
    )
}

/// The source of a packet inside a tunnel, all that is asked of it. The outer `None`: it is cut off; the inner one: it is
/// no packet of this version.
pub(super) fn inner_v4_source(bytes: &[u8]) -> Option<Option<IpAddr>> {
    let source: [u8; 4] = bytes.get(12..16)?.try_into().ok()?;
    Some((bytes[0] >> 4 == 4).then(|| source.into()))
}

/// The same for IPv6.
pub(super) fn inner_v6_source(bytes: &[u8]) -> Option<Option<IpAddr>> {
    let source: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
    Some((bytes[0] >> 4 == 6).then(|| source.into()))
}
