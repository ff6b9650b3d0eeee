//! Where the IP header is: Ethernet, VLAN tags, PPPoE.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use probe_common::{Action, Reason, Verdict, limits::VLAN_MAX_DEPTH, scope::UNTAGGED};

use super::{Answer, TRUNCATED, drop, pass};
use crate::packet::{read, read_at};

const ETH_ADDRS_LEN: usize = 12;
const ETHERTYPE_LEN: usize = 2;
const VLAN_TCI_LEN: usize = 2;
/// The identifier in a tag's control information (IEEE 802.1Q).
const VLAN_ID_MASK: u16 = 0x0fff;
/// Version, type, code, session, length (RFC 2516 section 4).
const PPPOE_LEN: usize = 6;

// IEEE 802 numbers, as registered by IANA.
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_RARP: u16 = 0x8035;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_MPLS: u16 = 0x8847;
const ETHERTYPE_MPLS_MULTICAST: u16 = 0x8848;
const ETHERTYPE_PPPOE: u16 = 0x8864;
const ETHERTYPE_QINQ: u16 = 0x88a8;
/// Q-in-Q before 802.1ad; not registered, but on wires.
const ETHERTYPE_QINQ_OLD: u16 = 0x9100;
/// Values below it are the length of an 802.3 frame (IEEE 802.3 clause 3.2.6).
const MIN_ETHERTYPE: u16 = 1536;

// PPP protocol numbers, as registered by IANA.
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;

/// No IP header begins later in a frame: Ethernet, four tags, PPPoE.
const OFFSET_MASK: usize = 0x3f;

/// VLAN tags of a frame inside a tunnel that are read.
const INNER_VLAN_MAX_DEPTH: usize = 2;

/// Whether a VLAN tag begins with this type.
#[inline(always)]
pub(crate) const fn is_vlan_tag(ethertype: u16) -> bool {
    matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_QINQ | ETHERTYPE_QINQ_OLD)
}

/// The VLAN that a tag's control information names; [`UNTAGGED`] for a tag that carries a priority only (VLAN 0): Linux
/// takes such a frame for what it is without that tag.
#[inline(always)]
const fn vlan_id(tci: [u8; 2]) -> u16 {
    match u16::from_be_bytes(tci) & VLAN_ID_MASK {
        0 => UNTAGGED as u16,
        id => id,
    }
}

/// The outermost VLAN of a frame from the wire, also where the rest of it cannot be read.
pub enum Outermost {
    /// No tag names one.
    Untagged,
    /// This one.
    Vlan(u16),
    /// It is behind more priority tags than are read. Linux takes off any number of them.
    TooDeep,
}

/// Reads as many tags as the parser.
#[inline(always)]
pub fn outermost_vlan(ctx: &XdpContext) -> Outermost {
    let mut offset = ETH_ADDRS_LEN;
    // As many rounds as the parser: the last one finds another type behind the last tag, or one tag too many.
    for round in 0..=VLAN_MAX_DEPTH {
        let Some(ethertype) = read(ctx, offset) else {
            return Outermost::Untagged;
        };
        if !is_vlan_tag(u16::from_be_bytes(ethertype)) {
            return Outermost::Untagged;
        }
        if round == VLAN_MAX_DEPTH {
            break;
        }
        let Some(tci) = read(ctx, offset + ETHERTYPE_LEN) else {
            return Outermost::Untagged;
        };
        let vlan = vlan_id(tci);
        if u32::from(vlan) != UNTAGGED {
            return Outermost::Vlan(vlan);
        }
        offset += ETHERTYPE_LEN + VLAN_TCI_LEN;
    }
    Outermost::TooDeep
}

/// An IP header in a frame.
pub(super) struct Ip {
    pub(super) offset: usize,
    pub(super) vlan: u16,
    pub(super) is_v6: bool,
}

/// Finds the IP header of a frame, or the answer that needs none.
#[inline(always)]
pub(super) fn find_ip(ctx: &XdpContext) -> Result<Ip, Answer> {
    let ethertype = u16::from_be_bytes(read(ctx, ETH_ADDRS_LEN).ok_or(TRUNCATED)?);
    let offset = ETH_ADDRS_LEN + ETHERTYPE_LEN;
    if let Some(is_v6) = is_ipv6_ethertype(ethertype) {
        return Ok(Ip {
            offset,
            vlan: UNTAGGED as u16,
            is_v6,
        });
    }
    // One tag is common, and the call below takes longer than reading it.
    if ethertype == ETHERTYPE_VLAN
        && let Some([tci_high, tci_low, type_high, type_low]) = read(ctx, offset)
        && let Some(is_v6) = is_ipv6_ethertype(u16::from_be_bytes([type_high, type_low]))
    {
        return Ok(Ip {
            offset: offset + VLAN_TCI_LEN + ETHERTYPE_LEN,
            vlan: vlan_id([tci_high, tci_low]),
            is_v6,
        });
    }
    Found(cordon_find_ip(ctx.ctx)).unpack()
}

/// What is behind the first type of a frame if that is not IP's.
///
/// A function of its own for the verifier: it forgets here how many tags there were, instead of going through all
/// that follows once for each number of them.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_find_ip(ctx: *mut xdp_md) -> u64 {
    Found::pack(find_ip_behind_tags(&XdpContext::new(ctx))).0
}

#[inline(always)]
fn find_ip_behind_tags(ctx: &XdpContext) -> Result<Ip, Answer> {
    let mut offset = ETH_ADDRS_LEN;
    let mut vlan = UNTAGGED as u16;
    // One round more than there may be tags: the last round reads the ethertype behind the last tag.
    for _ in 0..=VLAN_MAX_DEPTH {
        let ethertype = u16::from_be_bytes(read(ctx, offset).ok_or(TRUNCATED)?);
        offset += ETHERTYPE_LEN;
        match ethertype {
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => {
                return Ok(Ip {
                    offset,
                    vlan,
                    is_v6: ethertype == ETHERTYPE_IPV6,
                });
            }
            ETHERTYPE_VLAN | ETHERTYPE_QINQ | ETHERTYPE_QINQ_OLD => {
                // If it is cut off, so is the type behind it; of one tag too many nothing is read.
                if u32::from(vlan) == UNTAGGED
                    && let Some(tci) = read(ctx, offset)
                {
                    vlan = vlan_id(tci);
                }
                offset += VLAN_TCI_LEN;
            }
            ETHERTYPE_ARP | ETHERTYPE_RARP => return Err(pass(Reason::Arp)),
            ETHERTYPE_PPPOE => return find_ip_in_ppp(ctx, offset + PPPOE_LEN, vlan),
            ETHERTYPE_MPLS | ETHERTYPE_MPLS_MULTICAST => return Err(pass(Reason::Mpls)),
            ..MIN_ETHERTYPE => return Err(pass(without_ethertype(ctx, offset))),
            _ => return Err(not_ip(ethertype)),
        }
    }
    Err(drop(Reason::DeepVlan))
}

/// The result of [`find_ip_behind_tags`] in one register: bit 0 whether it is an answer. Of an IP header, bit 1
/// whether it is IPv6, 8-15 the offset, 16-31 the VLAN. Of an answer, 8-15 the action, 16-23 the reason, 32-47 the
/// ethertype.
#[derive(Clone, Copy)]
struct Found(u64);

impl Found {
    const ANSWER: u64 = 1;
    const IS_V6: u64 = 2;

    #[inline(always)]
    fn pack(result: Result<Ip, Answer>) -> Self {
        Self(match result {
            Ok(ip) => u64::from(ip.is_v6) << 1 | (ip.offset as u64) << 8 | u64::from(ip.vlan) << 16,
            Err(answer) => {
                Self::ANSWER
                    | (answer.verdict.action as u64) << 8
                    | (answer.verdict.reason as u64) << 16
                    | u64::from(answer.ethertype) << 32
            }
        })
    }

    #[inline(always)]
    fn unpack(self) -> Result<Ip, Answer> {
        if self.0 & Self::ANSWER == 0 {
            return Ok(Ip {
                offset: (self.0 >> 8) as usize & OFFSET_MASK,
                vlan: (self.0 >> 16) as u16,
                is_v6: self.0 & Self::IS_V6 != 0,
            });
        }
        let (Some(action), Some(reason)) = (
            Action::from_code((self.0 >> 8) as u8),
            Reason::from_code((self.0 >> 16) as u8),
        ) else {
            return Err(TRUNCATED);
        };
        Err(Answer {
            verdict: Verdict::without_class(action, reason),
            ethertype: (self.0 >> 32) as u16,
        })
    }
}

/// A PPPoE session carries PPP without flags and address (RFC 2516). Linux takes the protocol in its compressed form
/// of one byte too (RFC 1661 section 6.5): it is odd, and the first of two is even.
#[inline(always)]
fn find_ip_in_ppp(ctx: &XdpContext, offset: usize, vlan: u16) -> Result<Ip, Answer> {
    let [first] = read::<1>(ctx, offset).ok_or(TRUNCATED)?;
    let (protocol, len) = if first & 1 == 1 {
        (u16::from(first), 1)
    } else {
        (u16::from_be_bytes(read(ctx, offset).ok_or(TRUNCATED)?), 2)
    };
    match protocol {
        PPP_IPV4 | PPP_IPV6 => Ok(Ip {
            offset: offset + len,
            vlan,
            is_v6: protocol == PPP_IPV6,
        }),
        _ => Err(not_ip(ETHERTYPE_PPPOE)),
    }
}

/// What an 802.3 frame is, whose payload begins at `offset`: IP behind a SNAP header (RFC 1042) or anything else.
#[inline(always)]
fn without_ethertype(ctx: &XdpContext, offset: usize) -> Reason {
    match read::<8>(ctx, offset) {
        Some([0xaa, 0xaa, 0x03, 0, 0, 0, 0x08, 0x00] | [0xaa, 0xaa, 0x03, 0, 0, 0, 0x86, 0xdd]) => {
            Reason::Snap
        }
        _ => Reason::Llc,
    }
}

/// The type of a frame inside a tunnel, and where what it means begins.
#[inline(always)]
pub(crate) fn inner_ethernet(ctx: &XdpContext, offset: usize) -> Option<(usize, u16)> {
    let ethertype = read_at(ctx, offset + ETH_ADDRS_LEN)?;
    Some((
        offset + ETH_ADDRS_LEN + ETHERTYPE_LEN,
        u16::from_be_bytes(ethertype),
    ))
}

/// The same behind tags, if there are any; it is one of a tag again if there are more than are read.
#[inline(always)]
pub(crate) fn behind_inner_tags(
    ctx: &XdpContext,
    mut offset: usize,
    mut ethertype: u16,
) -> Option<(usize, u16)> {
    for _ in 0..INNER_VLAN_MAX_DEPTH {
        if !is_vlan_tag(ethertype) {
            break;
        }
        ethertype = u16::from_be_bytes(read_at(ctx, offset + VLAN_TCI_LEN)?);
        offset += VLAN_TCI_LEN + ETHERTYPE_LEN;
    }
    Some((offset, ethertype))
}

/// Whether an ethertype means IPv6; `None` if it does not mean IP.
#[inline(always)]
pub(crate) const fn is_ipv6_ethertype(ethertype: u16) -> Option<bool> {
    match ethertype {
        ETHERTYPE_IPV4 => Some(false),
        ETHERTYPE_IPV6 => Some(true),
        _ => None,
    }
}

#[inline(always)]
const fn not_ip(ethertype: u16) -> Answer {
    Answer {
        verdict: Verdict::without_class(Action::Pass, Reason::NotIp),
        ethertype,
    }
}
