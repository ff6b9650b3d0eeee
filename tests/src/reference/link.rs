//! From the start of a frame to the start of IP.

use etherparse::{Ethernet2HeaderSlice, SingleVlanHeaderSlice};
use probe_common::{Reason, limits::VLAN_MAX_DEPTH};

const TAG_PROTOCOLS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// Tags that are read of a frame inside a tunnel.
const MAX_INNER_TAGS: usize = 2;
const FIRST_ETHER_TYPE: u16 = 0x0600;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// What a frame holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    /// What claims to be an IPv4 packet, to the end of the frame.
    V4(&'a [u8]),
    /// What claims to be an IPv6 packet.
    V6(&'a [u8]),
    /// Nothing to ask a policy about.
    Answered(Reason),
}

/// A frame's content and its outermost VLAN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub content: Content<'a>,
    pub vlan: Option<u16>,
}

/// Reads a frame up to IP.
pub(super) fn read(frame: &[u8]) -> Frame<'_> {
    let mut vlan = None;
    let content = match content(frame, &mut vlan) {
        Ok(content) => content,
        Err(reason) => Content::Answered(reason),
    };
    Frame { content, vlan }
}

fn content<'a>(frame: &'a [u8], vlan: &mut Option<u16>) -> Result<Content<'a>, Reason> {
    let (ether_type, rest) = tags(frame, VLAN_MAX_DEPTH, |tag| {
        // A tag with VLAN 0 carries a priority only (IEEE 802.1Q): Linux takes the frame for what it is without it.
        if tag != 0 {
            vlan.get_or_insert(tag);
        }
    })?;
    Ok(match ether_type {
        IPV4 => Content::V4(rest),
        IPV6 => Content::V6(rest),
        0x0806 | 0x8035 => Content::Answered(Reason::Arp),
        0x8847 | 0x8848 => Content::Answered(Reason::Mpls),
        0x8864 => in_pppoe(rest)?,
        length if length < FIRST_ETHER_TYPE => Content::Answered(in_llc(rest)),
        _ => Content::Answered(Reason::NotIp),
    })
}

/// EtherType and payload behind the tags of what a tunnel carries, a frame if its type is `bridged`; or why there are
/// none.
pub(super) fn behind_inner_tags(ether_type: u16, rest: &[u8], bridged: u16) -> Result<(u16, &[u8]), Reason> {
    if ether_type == bridged {
        tags(rest, MAX_INNER_TAGS, |_| ())
    } else {
        tags_behind(ether_type, rest, MAX_INNER_TAGS, |_| ())
    }
}

fn tags(frame: &[u8], max_tags: usize, seen: impl FnMut(u16)) -> Result<(u16, &[u8]), Reason> {
    let ethernet = Ethernet2HeaderSlice::from_slice(frame).map_err(|_| Reason::Truncated)?;
    let rest = &frame[ethernet.slice().len()..];
    tags_behind(ethernet.ether_type().0, rest, max_tags, seen)
}

fn tags_behind(
    mut ether_type: u16,
    mut rest: &[u8],
    max_tags: usize,
    mut seen: impl FnMut(u16),
) -> Result<(u16, &[u8]), Reason> {
    let mut n_tags = 0;
    while TAG_PROTOCOLS.contains(&ether_type) {
        if n_tags == max_tags {
            return Err(Reason::DeepVlan);
        }
        // A tag counts also where the type behind it is cut off.
        if let Some(control) = rest.first_chunk() {
            seen(u16::from_be_bytes(*control) & 0x0fff);
        }
        let tag = SingleVlanHeaderSlice::from_slice(rest).map_err(|_| Reason::Truncated)?;
        ether_type = tag.ether_type().0;
        rest = &rest[tag.slice().len()..];
        n_tags += 1;
    }
    Ok((ether_type, rest))
}

/// PPPoE (RFC 2516) holds PPP, whose protocol field may be compressed to its odd byte (RFC 1661, 6.5).
fn in_pppoe(session: &[u8]) -> Result<Content<'_>, Reason> {
    let ppp = session.get(6..).ok_or(Reason::Truncated)?;
    Ok(match ppp {
        [] => return Err(Reason::Truncated),
        [0x21, packet @ ..] | [0x00, 0x21, packet @ ..] => Content::V4(packet),
        [0x57, packet @ ..] | [0x00, 0x57, packet @ ..] => Content::V6(packet),
        [first] if first & 1 == 0 => return Err(Reason::Truncated),
        _ => Content::Answered(Reason::NotIp),
    })
}

/// IEEE 802.2, and IP behind a SNAP header without an organisation (RFC 1042).
fn in_llc(llc: &[u8]) -> Reason {
    match llc {
        [0xaa, 0xaa, 0x03, 0, 0, 0, high, low, ..] => match u16::from_be_bytes([*high, *low]) {
            IPV4 | IPV6 => Reason::Snap,
            _ => Reason::Llc,
        },
        _ => Reason::Llc,
    }
}
