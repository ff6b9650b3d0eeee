//! IP headers, and as much of what is behind them as a verdict may depend on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    IpAuthHeaderSlice, IpNumber, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice,
    Ipv6RawExtHeaderSlice,
    err::{ipv4, ipv6},
};
use probe_common::Reason;

/// Extension headers that are walked to find ports; a longer chain has none that can be read.
const MAX_EXTENSIONS: usize = 10;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;

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
    /// The protocol behind all extension headers; `None`: it cannot be read.
    pub protocol: Option<u8>,
    /// What it carries, from the start of the protocol's header; `None`: a later fragment, or not to be reached.
    pub payload: Option<&'a [u8]>,
}

impl Packet<'_> {
    /// Source and destination port of TCP or UDP.
    pub(super) fn ports(&self) -> Option<(u16, u16)> {
        match (self.protocol?, self.payload?) {
            (6 | 17, [a, b, c, d, ..]) => Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))),
            _ => None,
        }
    }
}

/// Reads an IPv4 packet.
pub(super) fn v4(bytes: &[u8]) -> Result<Packet<'_>, Reason> {
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|error| match error {
        ipv4::HeaderSliceError::Len(_) => Reason::Truncated,
        ipv4::HeaderSliceError::Content(_) => Reason::Malformed,
    })?;
    let header_len = header.slice().len();
    if usize::from(header.total_len()) < header_len {
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
        protocol: Some(header.protocol().0),
        payload: (offset == 0).then(|| &bytes[header_len..]),
    })
}

/// Reads an IPv6 packet.
pub(super) fn v6(bytes: &[u8]) -> Result<Packet<'_>, Reason> {
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|error| match error {
        ipv6::HeaderSliceError::Len(_) => Reason::Truncated,
        ipv6::HeaderSliceError::Content(_) => Reason::Malformed,
    })?;
    let next_header = header.next_header().0;
    let (is_fragment, protocol, payload) = walk(next_header, &bytes[header.slice().len()..]);
    Ok(Packet {
        source: Ipv6Addr::from(header.source()).into(),
        destination: Ipv6Addr::from(header.destination()).into(),
        hop_limit: header.hop_limit(),
        has_options: false,
        next_header,
        is_fragment,
        protocol,
        payload,
    })
}

/// Walks the extension headers: whether it is a fragment, the protocol, and what stands from its header on.
fn walk(mut next_header: u8, mut rest: &[u8]) -> (bool, Option<u8>, Option<&[u8]>) {
    let mut is_fragment = false;
    for _ in 0..=MAX_EXTENSIONS {
        let (next, len) = match next_header {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY | HOST_IDENTITY | SHIM6 => {
                match Ipv6RawExtHeaderSlice::from_slice(rest) {
                    Ok(header) => (header.next_header(), header.slice().len()),
                    Err(_) => return (is_fragment, None, None),
                }
            }
            AUTHENTICATION => match IpAuthHeaderSlice::from_slice(rest) {
                Ok(header) => (header.next_header(), header.slice().len()),
                Err(_) => return (is_fragment, None, None),
            },
            FRAGMENT => {
                let Ok(header) = Ipv6FragmentHeaderSlice::from_slice(rest) else {
                    return (is_fragment, None, None);
                };
                is_fragment |= header.is_fragmenting_payload();
                if header.fragment_offset().value() != 0 {
                    return (true, last_of_chain(header.next_header()), None);
                }
                (header.next_header(), header.slice().len())
            }
            protocol => return (is_fragment, Some(protocol), Some(rest)),
        };
        next_header = next.0;
        rest = &rest[len..];
    }
    (is_fragment, None, None)
}

/// The protocol of a later fragment, unless more extension headers follow, which are in the first fragment.
fn last_of_chain(next_header: IpNumber) -> Option<u8> {
    match next_header.0 {
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS | MOBILITY | HOST_IDENTITY
        | SHIM6 => None,
        protocol => Some(protocol),
    }
}
