//! Frame to facts. What the parser must answer is specified by the packet corpus (reliability goals, section 3).

mod address;
mod embedded;
mod ethernet;
mod ipv4;
mod ipv6;

use aya_ebpf::programs::XdpContext;
use probe_common::{Action, Reason, Verdict};

pub use address::Address;
pub use embedded::judged;
pub use ethernet::{Outermost, outermost_vlan};
pub(crate) use ethernet::{behind_inner_tags, inner_ethernet, is_ipv6_ethertype, is_vlan_tag};
pub use ipv6::wire_source;

use crate::packet::read_at;

/// What a frame says about its packet, as far as the fixed IP header tells. What stands behind that header is read
/// only when it is asked for.
#[derive(Clone, Copy)]
pub struct Facts {
    /// The source that is judged: for an IPv6 source that holds an IPv4 address, that address.
    pub source: Address,
    /// Offset of the IP header in the frame.
    pub ip_offset: u16,
    /// Length of the fixed header with IPv4 options: where the next header begins.
    pub ip_len: u8,
    /// Version of the IP header on the wire: 4 or 6.
    pub version: u8,
    /// IPv4 protocol, or the next header that IPv6's fixed header names.
    pub protocol: u8,
    /// IPv4: any fragment but the first.
    pub is_later_fragment: bool,
    /// IPv4: a fragment, the first included.
    pub is_fragment: bool,
    /// Outermost VLAN; [`probe_common::scope::UNTAGGED`] if there is none.
    pub vlan: u16,
}

impl Facts {
    /// Whether `source` is an IPv4 address that the source on the wire holds.
    #[inline(always)]
    pub const fn is_embedded(&self) -> bool {
        self.version == 6 && self.source.is_v4()
    }
}

/// What a host says about frames. Asked only where it matters: each constant that is read costs something, even where
/// all that follows from it is compiled out.
pub trait FrameOptions {
    /// Whether sources that cannot come by the wire drop.
    fn martians(&self) -> bool;
    /// The IPv4 address inside an IPv6 address, if a configured NAT64 prefix says that there is one.
    fn nat64(&self, address: Address) -> Option<[u8; 4]>;
}

/// As far as is known where no generation judges.
pub struct WithoutGeneration;

impl FrameOptions for WithoutGeneration {
    #[inline(always)]
    fn martians(&self) -> bool {
        false
    }

    #[inline(always)]
    fn nat64(&self, _address: Address) -> Option<[u8; 4]> {
        None
    }
}

/// An answer that holds under any policy.
#[derive(Clone, Copy)]
pub struct Answer {
    /// The answer.
    pub verdict: Verdict,
    /// Ethertype of a frame that is not IP ([`Reason::NotIp`]); 0 with any other reason.
    pub ethertype: u16,
}

/// Reads a frame. `Err` is an answer that holds under any
/// policy.
#[inline(always)]
pub fn parse(ctx: &XdpContext, options: &impl FrameOptions) -> Result<Facts, Answer> {
    let ip = ethernet::find_ip(ctx)?;
    if ip.is_v6 {
        ipv6::parse(ctx, ip.offset, ip.vlan, options)
    } else {
        ipv4::parse(ctx, ip.offset, ip.vlan, options)
    }
}

/// The destination on the wire.
#[inline(always)]
pub fn destination(ctx: &XdpContext, facts: &Facts) -> Option<Address> {
    let offset = usize::from(facts.ip_offset);
    if facts.version == 4 {
        read_at(ctx, offset + 16).map(Address::from_v4)
    } else {
        read_at(ctx, offset + 24).map(Address::from_v6)
    }
}

const TRUNCATED: Answer = drop(Reason::Truncated);
const MALFORMED: Answer = drop(Reason::Malformed);

#[inline(always)]
const fn pass(reason: Reason) -> Answer {
    Answer {
        verdict: Verdict::without_class(Action::Pass, reason),
        ethertype: 0,
    }
}

#[inline(always)]
const fn drop(reason: Reason) -> Answer {
    Answer {
        verdict: Verdict::without_class(Action::Drop, reason),
        ethertype: 0,
    }
}
