//! `reject`: the packet becomes the answer to itself and goes back where it came from.
//!
//! TCP is answered with a reset (RFC 9293 section 3.10.7.1), anything else with the ICMP error "communication
//! administratively prohibited" (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1), which quotes the packet. Who must not
//! be answered is not (RFC 1122 section 3.2.2, RFC 4443 section 2.4).

mod ip;
mod link;
mod prohibit;
mod reset;
mod sum;

use aya_ebpf::programs::XdpContext;
use probe_ebpf::{packet::load, parse::Facts};

use self::{ip::Ip, link::Link, prohibit::prohibit, reset::reset};
use crate::{transport::Transport, word};

const PROTO_TCP: u8 = 6;

/// Whether the packet was made an answer. If not, it is to drop, whatever it looks like now.
#[inline(always)]
pub fn answer(ctx: &XdpContext, facts: &Facts) -> bool {
    let transport = Transport::of(ctx, facts);
    let packet = word::pack(facts);
    match transport.protocol() {
        None => false,
        Some(PROTO_TCP) => reset(ctx, packet, transport),
        Some(_) => prohibit(ctx, packet, transport),
    }
}

/// A packet that came from one host to one host, so that an answer may be sent.
struct Question {
    link: Link,
    ip: Ip,
}

impl Question {
    #[inline(always)]
    fn read(ctx: &XdpContext, facts: &Facts, transport: Transport) -> Option<Self> {
        // The group bit of a MAC address: multicast and broadcast.
        let [first] = load::<1>(ctx, 0)?;
        if first & 1 != 0 || transport.is_later_fragment() {
            return None;
        }
        Some(Self {
            link: Link::read(ctx, word::ip_offset(facts))?,
            ip: Ip::read(ctx, facts)?,
        })
    }
}
