//! Frame to facts. What the parser must answer is specified by the packet corpus (reliability goals, section 3).

mod embedded;
mod ethernet;
mod ipv4;
mod ipv6;

use aya_ebpf::{Global, programs::XdpContext};
use probe_common::{Action, Nat64, Reason, Verdict, limits::MAX_NAT64};

pub use embedded::judged;
pub use ethernet::outermost_vlan;
pub(crate) use ethernet::{inner_ethernet, is_ipv6_ethertype};
pub use ipv6::wire_source;

use crate::packet::read_at;

/// An address, network order.
#[derive(Clone, Copy)]
pub enum Address {
    /// IPv4.
    V4([u8; 4]),
    /// IPv6.
    V6([u8; 16]),
}

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
        matches!((self.version, self.source), (6, Address::V4(_)))
    }
}

/// What a host says about frames.
pub struct FrameOptions {
    /// Whether sources that cannot come by the wire drop.
    pub martians: bool,
    /// How many NAT64 prefixes are configured, and which ([`probe_common::Nat64Prefixes`]).
    pub nat64: Option<(u32, &'static [Global<Nat64>; MAX_NAT64])>,
}

impl FrameOptions {
    /// As far as is known where no generation judges.
    pub const WITHOUT_GENERATION: Self = Self {
        martians: false,
        nat64: None,
    };
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
pub fn parse(ctx: &XdpContext, options: &FrameOptions) -> Result<Facts, Answer> {
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
        read_at(ctx, offset + 16).map(Address::V4)
    } else {
        read_at(ctx, offset + 24).map(Address::V6)
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
