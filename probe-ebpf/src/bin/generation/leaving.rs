//! Leaving packets: for orders with `direction = "both"`, the destination is judged like a source.

use aya_ebpf::programs::TcContext;
use probe_common::{
    Action, Reason,
    l4::{Extension, MAX_EXTENSION_HEADERS, extension},
    limits::VLAN_MAX_DEPTH,
    scope::UNTAGGED,
};
use probe_ebpf::{parse::Address, record::count, skb::read};

use crate::{
    act::Draft,
    env::Env,
    generation_maps::COUNTERS,
    judge::{Party as _, Remote, judge_party},
    scope::{self, Endpoint},
    transport::Transport,
};

// IEEE 802 and IP protocol numbers, as registered by IANA.
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_QINQ: u16 = 0x88a8;
const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;

const ETHERTYPE_OFFSET: usize = 12;
const VLAN_TAG_LEN: usize = 4;
const VLAN_ID_MASK: u16 = 0x0fff;
/// No transport header begins behind it; the verifier must see that offsets are small.
const OFFSET_MASK: usize = 0x7fff;

/// What a leaving packet says about itself.
struct Leaving<'a> {
    ctx: &'a TcContext,
    local: Address,
    remote: Address,
    /// `None`: unknown.
    protocol: Option<u8>,
    /// Where the header of `protocol` begins; `None` in a later fragment.
    offset: Option<usize>,
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
    let remote = Remote::new(leaving.remote);
    let judgement = judge_party(&remote, row, &mut Env::live(ifindex));
    let stops = matches!(judgement.reason, Reason::PolicyDrop | Reason::PolicyReject);
    if !stops || !judgement.decision.is_both() {
        return false;
    }
    let verdict = judgement.verdict_as(Action::Drop, Reason::EgressDrop);
    let bytes = u64::from(ctx.len());
    if Draft::is_drawn(false) {
        let transport = Transport::new(leaving.protocol, leaving.ports());
        let draft = Draft::new(transport, leaving.vlan);
        draft.tell(Some(remote.address()), ifindex, verdict, bytes);
    }
    count(&COUNTERS, verdict, bytes);
    true
}

/// Destinations that no table places: link-local, multicast, broadcast.
#[inline(always)]
fn has_no_place(remote: &Address) -> bool {
    match remote {
        Address::V4(remote) => remote[0] >= 224 || remote[0] == 169 && remote[1] == 254,
        Address::V6(remote) => remote[0] == 0xff || remote[0] == 0xfe && remote[1] & 0xc0 == 0x80,
    }
}

impl<'a> Leaving<'a> {
    /// Reads Ethernet, VLAN tags, beside the frame or in it, and IP. `None` for anything else.
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
                        vlan = u16::from_be_bytes(read(ctx, offset + 2)?) & VLAN_ID_MASK;
                    }
                    offset += VLAN_TAG_LEN;
                }
                _ => return None,
            }
        }
        None
    }

    #[inline(always)]
    fn read_ipv4(ctx: &'a TcContext, offset: usize, vlan: u16) -> Option<Self> {
        let header: [u8; 20] = read(ctx, offset)?;
        let is_later_fragment = header[6] & 0x1f != 0 || header[7] != 0;
        Some(Self {
            ctx,
            local: Address::V4([header[12], header[13], header[14], header[15]]),
            remote: Address::V4([header[16], header[17], header[18], header[19]]),
            protocol: Some(header[9]),
            offset: (!is_later_fragment).then_some(offset + usize::from(header[0] & 0x0f) * 4),
            vlan,
        })
    }

    #[inline(always)]
    fn read_ipv6(ctx: &'a TcContext, offset: usize, vlan: u16) -> Option<Self> {
        let [next_header] = read(ctx, offset + 6)?;
        let mut leaving = Self {
            ctx,
            local: Address::V6(read(ctx, offset + 8)?),
            remote: Address::V6(read(ctx, offset + 24)?),
            protocol: None,
            offset: None,
            vlan,
        };
        leaving.walk(offset + 40, next_header);
        Some(leaving)
    }

    /// Follows the extension headers.
    #[inline(always)]
    fn walk(&mut self, mut offset: usize, mut next_header: u8) {
        for _ in 0..=MAX_EXTENSION_HEADERS {
            let Some(kind) = extension(next_header) else {
                self.protocol = Some(next_header);
                self.offset = Some(offset);
                return;
            };
            let Some([next, second, fragment_high, fragment_low]) = read(self.ctx, offset) else {
                return;
            };
            next_header = next;
            let is_later_fragment = fragment_high != 0 || fragment_low & 0xf8 != 0;
            if kind == Extension::Fragment && is_later_fragment {
                self.protocol = match extension(next_header) {
                    Some(_) => None,
                    None => Some(next_header),
                };
                return;
            }
            offset = (offset + kind.len(second) as usize) & OFFSET_MASK;
        }
    }

    /// Local and remote port, host byte order.
    #[inline(always)]
    fn ports(&self) -> Option<(u16, u16)> {
        if !matches!(self.protocol, Some(PROTO_TCP | PROTO_UDP)) {
            return None;
        }
        let [l0, l1, r0, r1] = read(self.ctx, self.offset?)?;
        Some((u16::from_be_bytes([l0, l1]), u16::from_be_bytes([r0, r1])))
    }
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
        Endpoint {
            protocol: self.protocol,
            port: self.ports().map(|(local, _)| local),
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
