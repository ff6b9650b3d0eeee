//! What stands behind the IP header, in one word.
//!
//! A function of its own for the verifier: walking extension headers is many paths, and all that follows would be gone
//! through once for each of them.

use core::hint::black_box;

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use probe_ebpf::{
    l4::{l4, opens_connection},
    parse::Facts,
};

use crate::word;

const DESTINATION_PORT_SHIFT: u32 = 16;
const PROTOCOL_SHIFT: u32 = 32;
const HAS_PROTOCOL: u64 = 1 << 40;
const HAS_PORTS: u64 = 1 << 41;
const OPENS: u64 = 1 << 42;
const LATER_FRAGMENT: u64 = 1 << 43;
const OFFSET_SHIFT: u32 = 44;
/// No transport header begins behind it.
const OFFSET_MASK: u64 = 0x7fff;

/// Transport protocol and ports of a packet, as far as they can be read.
#[derive(Clone, Copy)]
pub struct Transport(u64);

impl Transport {
    /// From one word, as global functions take and give it. The compiler knows which bits can be set, the verifier does
    /// not: so the compiler must not leave masks away.
    #[inline(always)]
    pub fn from_word(word: u64) -> Self {
        Self(black_box(word))
    }

    /// As one word.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Reads them.
    #[inline(always)]
    pub fn of(ctx: &XdpContext, facts: &Facts) -> Self {
        Self::from_word(cordon_transport(ctx.ctx, word::pack(facts)))
    }

    /// Puts together what was read otherwise. Ports: source and destination, host byte order.
    #[inline(always)]
    pub fn new(protocol: Option<u8>, ports: Option<(u16, u16)>) -> Self {
        let protocol = match protocol {
            Some(protocol) => HAS_PROTOCOL | u64::from(protocol) << PROTOCOL_SHIFT,
            None => 0,
        };
        let ports = match ports {
            Some((source, destination)) => {
                HAS_PORTS | u64::from(source) | u64::from(destination) << DESTINATION_PORT_SHIFT
            }
            None => 0,
        };
        Self(protocol | ports)
    }

    /// IP protocol number; `None`: unknown.
    #[inline(always)]
    pub const fn protocol(self) -> Option<u8> {
        if self.0 & HAS_PROTOCOL == 0 {
            None
        } else {
            Some((self.0 >> PROTOCOL_SHIFT) as u8)
        }
    }

    /// Source and destination port of TCP and UDP, host byte order; `None`: unknown, or the protocol has none.
    #[inline(always)]
    pub const fn ports(self) -> Option<(u16, u16)> {
        if self.0 & HAS_PORTS == 0 {
            None
        } else {
            Some((self.0 as u16, (self.0 >> DESTINATION_PORT_SHIFT) as u16))
        }
    }

    /// Whether the packet opens a connection, so that a drain stops it.
    #[inline(always)]
    pub const fn opens(self) -> bool {
        self.0 & OPENS != 0
    }

    /// Any fragment but the first.
    #[inline(always)]
    pub const fn is_later_fragment(self) -> bool {
        self.0 & LATER_FRAGMENT != 0
    }

    /// Where the transport header begins in the frame.
    #[inline(always)]
    pub const fn offset(self) -> usize {
        (self.0 >> OFFSET_SHIFT & OFFSET_MASK) as usize
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_transport(ctx: *mut xdp_md, packet: u64) -> u64 {
    let ctx = &XdpContext::new(ctx);
    let l4 = l4(ctx, &word::unpack(packet));
    let transport = Transport::new(l4.protocol(), l4.source_port().zip(l4.destination_port()));
    let mut word = transport.0 | (l4.offset as u64 & OFFSET_MASK) << OFFSET_SHIFT;
    if opens_connection(ctx, &l4) {
        word |= OPENS;
    }
    if l4.is_later_fragment {
        word |= LATER_FRAGMENT;
    }
    word
}
