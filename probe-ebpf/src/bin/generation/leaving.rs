//! Leaving packets: for orders with `direction = "both"`, the destination is judged like a source.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use probe_common::{
    Action, Reason,
    l4::{Extension, MAX_EXTENSION_HEADERS, extension},
    limits::VLAN_MAX_DEPTH,
    scope::UNTAGGED,
};
use probe_ebpf::{
    parse::{Address, judged},
    record::count,
    skb::{load, read},
};

use crate::{
    act::Draft,
    env::Env,
    frame::Frames,
    generation_maps::COUNTERS,
    judge::judge_address,
    scope::{self, Endpoint},
    shared_maps::is_failsafe,
    transport::Transport,
};

// IEEE 802 and IP protocol numbers, as registered by IANA.
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_QINQ: u16 = 0x88a8;
const ETHERTYPE_PPPOE: u16 = 0x8864;
/// Version, type, code, session, length (RFC 2516 section 4).
const PPPOE_LEN: usize = 6;
/// PPP protocol numbers, as registered by IANA.
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;
const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;

const ETHERTYPE_OFFSET: usize = 12;
const VLAN_TAG_LEN: usize = 4;
const VLAN_ID_MASK: u16 = 0x0fff;

/// What a leaving packet says about itself.
struct Leaving<'a> {
    ctx: &'a TcContext,
    local: Address,
    remote: Address,
    /// IPv4 protocol, or the next header that IPv6's fixed header names.
    protocol: u8,
    /// Where the header of `protocol` begins.
    offset: usize,
    /// IPv4: any fragment but the first.
    is_later_fragment: bool,
    is_v6: bool,
    vlan: u16,
}

/// Whether the policy stops the packet; counts it if so.
#[inline(always)]
pub fn is_stopped(ctx: &TcContext) -> bool {
    let Some(leaving) = Leaving::read(ctx) else {
        return false;
    };
    if has_no_place(&leaving.remote) {
        return false;
    }
    // SAFETY: `skb` is the program's context.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    let row = scope::row(ifindex, &leaving);
    let remote = judged(leaving.remote, &Frames);
    let judgement = judge_address(remote, row, &mut Env::live());
    let stops = matches!(
        judgement.reason,
        Reason::PolicyDrop | Reason::PolicyReject | Reason::Deny
    );
    if !stops || !judgement.decision.is_both() || is_failsafe(&leaving.remote) {
        return false;
    }
    let verdict = judgement.verdict_as(Action::Drop, Reason::EgressDrop);
    let bytes = u64::from(ctx.len());
    if Draft::is_drawn(false) {
        let draft = Draft::new(leaving.transport(), leaving.vlan);
        draft.tell(Some(remote), ifindex, verdict, bytes);
    }
    count(&COUNTERS, verdict, bytes);
    true
}

/// Destinations that no table places: link-local, multicast, broadcast.
#[inline(always)]
fn has_no_place(remote: &Address) -> bool {
    if remote.is_v4() {
        let [a, b, _, _] = remote.v4();
        a >= 224 || a == 169 && b == 254
    } else {
        let [a, b, ..] = remote.halves()[0].to_ne_bytes();
        a == 0xff || a == 0xfe && b & 0xc0 == 0x80
    }
}

impl<'a> Leaving<'a> {
    /// Reads Ethernet, VLAN tags, beside the frame or in it, PPPoE, and IP. `None` for anything else.
    #[inline(always)]
    fn read(ctx: &'a TcContext) -> Option<Self> {
        let mut offset = ETHERTYPE_OFFSET;
        let mut vlan = vlan_beside(ctx);
        for _ in 0..=VLAN_MAX_DEPTH {
            let ethertype = u16::from_be_bytes(read(ctx, offset)?);
            match ethertype {
                ETHERTYPE_IPV4 => return Self::read_ipv4(ctx, offset + 2, vlan),
                ETHERTYPE_IPV6 => return Self::read_ipv6(ctx, offset + 2, vlan),
                ETHERTYPE_VLAN | ETHERTYPE_QINQ => {
                    if u32::from(vlan) == UNTAGGED {
                        let id = u16::from_be_bytes(read(ctx, offset + 2)?) & VLAN_ID_MASK;
                        // A tag with a priority only.
                        vlan = if id == 0 { UNTAGGED as u16 } else { id };
                    }
                    offset += VLAN_TAG_LEN;
                }
                ETHERTYPE_PPPOE => return Self::read_pppoe(ctx, offset + 2, vlan),
                _ => return None,
            }
        }
        None
    }

    /// Linux sends PPP's protocol in its form of two bytes.
    #[inline(always)]
    fn read_pppoe(ctx: &'a TcContext, offset: usize, vlan: u16) -> Option<Self> {
        let offset = offset + PPPOE_LEN;
        match u16::from_be_bytes(read(ctx, offset)?) {
            PPP_IPV4 => Self::read_ipv4(ctx, offset + 2, vlan),
            PPP_IPV6 => Self::read_ipv6(ctx, offset + 2, vlan),
            _ => None,
        }
    }

    #[inline(always)]
    fn read_ipv4(ctx: &'a TcContext, offset: usize, vlan: u16) -> Option<Self> {
        let header: [u8; 20] = read(ctx, offset)?;
        Some(Self {
            ctx,
            local: Address::from_v4([header[12], header[13], header[14], header[15]]),
            remote: Address::from_v4([header[16], header[17], header[18], header[19]]),
            protocol: header[9],
            offset: offset + usize::from(header[0] & 0x0f) * 4,
            is_later_fragment: header[6] & 0x1f != 0 || header[7] != 0,
            is_v6: false,
            vlan,
        })
    }

    #[inline(always)]
    fn read_ipv6(ctx: &'a TcContext, offset: usize, vlan: u16) -> Option<Self> {
        let [next_header] = read(ctx, offset + 6)?;
        Some(Self {
            ctx,
            local: Address::from_v6(read(ctx, offset + 8)?),
            remote: Address::from_v6(read(ctx, offset + 24)?),
            protocol: next_header,
            offset: offset + 40,
            is_later_fragment: false,
            is_v6: true,
            vlan,
        })
    }

    #[inline(always)]
    fn transport(&self) -> Transport {
        if self.is_later_fragment {
            return Transport::new(Some(self.protocol), None);
        }
        let start = self.offset as u64 | u64::from(self.protocol) << 32 | u64::from(self.is_v6) << 40;
        Transport::from_word(cordon_leaving_transport(self.ctx.skb.skb, start))
    }
}

/// What stands behind the IP header of a leaving packet. `start`: where, 32 bits; the first header, 8 bits; whether it
/// is IPv6, so that it may be an extension header.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_leaving_transport(ctx: *mut __sk_buff, start: u64) -> u64 {
    let ctx = &TcContext::new(ctx);
    let offset = start as u32 as usize;
    let protocol = (start >> 32) as u8;
    let (protocol, offset) = if start >> 40 == 0 {
        (Some(protocol), Some(offset))
    } else {
        behind_extensions(ctx, offset, protocol)
    };
    let ports = match (protocol, offset) {
        (Some(PROTO_TCP | PROTO_UDP), Some(offset)) => load(ctx, offset)
            .map(|[l0, l1, r0, r1]| (u16::from_be_bytes([l0, l1]), u16::from_be_bytes([r0, r1]))),
        _ => None,
    };
    Transport::new(protocol, ports).word()
}

/// Follows IPv6 extension headers: the protocol behind them, and where it begins, as far as that can be told.
#[inline(always)]
fn behind_extensions(ctx: &TcContext, mut offset: usize, mut next_header: u8) -> (Option<u8>, Option<usize>) {
    for _ in 0..=MAX_EXTENSION_HEADERS {
        let Some(kind) = extension(next_header) else {
            return (Some(next_header), Some(offset));
        };
        let Some([next, second, fragment_high, fragment_low]) = load(ctx, offset) else {
            return (None, None);
        };
        next_header = next;
        let is_later_fragment = fragment_high != 0 || fragment_low & 0xf8 != 0;
        if kind == Extension::Fragment && is_later_fragment {
            return match extension(next_header) {
                Some(_) => (None, None),
                None => (Some(next_header), None),
            };
        }
        offset += kind.len(second) as usize;
    }
    (None, None)
}

impl scope::Heading for Leaving<'_> {
    #[inline(always)]
    fn vlan(&self) -> u16 {
        self.vlan
    }

    #[inline(always)]
    fn local(&self) -> Option<Address> {
        Some(self.local)
    }

    #[inline(always)]
    fn endpoint(&self) -> Endpoint {
        let transport = self.transport();
        Endpoint {
            protocol: transport.protocol(),
            port: transport.ports().map(|(local, _)| local),
        }
    }
}

/// The VLAN that stands beside the frame, for the interface to put in.
#[inline(always)]
fn vlan_beside(ctx: &TcContext) -> u16 {
    // SAFETY: `skb` is the program's context.
    let (is_there, tci) = unsafe { ((*ctx.skb.skb).vlan_present, (*ctx.skb.skb).vlan_tci) };
    if is_there == 0 {
        UNTAGGED as u16
    } else {
        tci as u16 & VLAN_ID_MASK
    }
}
