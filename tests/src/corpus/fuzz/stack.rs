//! Frames of random layers.

use super::addresses;
use crate::{
    corpus::build::{
        self, V4, V6, authentication, ethernet, extension, fragment, geneve, gre, icmp, mpls, number, pppoe,
        routing, tagged, tcp, udp, vxlan,
    },
    rng::Rng,
};

/// How deep tunnels may nest.
const DEEPEST: usize = 2;

fn one_of<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.below(choices.len())]
}

fn chance(rng: &mut Rng, one_in: usize) -> bool {
    rng.below(one_in) == 0
}

fn some_bytes(rng: &mut Rng, most: usize) -> Vec<u8> {
    (0..rng.below(most + 1)).map(|_| rng.next_u64() as u8).collect()
}

/// A frame.
pub(super) fn frame(rng: &mut Rng) -> Vec<u8> {
    frame_of(rng, 0)
}

fn frame_of(rng: &mut Rng, depth: usize) -> Vec<u8> {
    let frame = match rng.below(24) {
        0 => ethernet(rng.next_u64() as u16, &some_bytes(rng, 60)),
        1 => {
            let ether_type = one_of(
                rng,
                &[0x0806, 0x8035, 0x88cc, 0x8809, 0x888e, 0x88f7, 0x88e5, 0x8863],
            );
            ethernet(ether_type, &some_bytes(rng, 60))
        }
        2 => length_frame(rng, depth),
        3 => {
            let packet = packet(rng, depth).1;
            let n_labels = rng.below(5) as u8;
            ethernet(
                one_of(rng, &[number::MPLS, number::MPLS_MULTICAST]),
                &mpls(n_labels, &packet),
            )
        }
        4 | 5 => in_pppoe(rng, depth),
        _ => {
            let (ether_type, packet) = packet(rng, depth);
            ethernet(ether_type, &packet)
        }
    };
    if chance(rng, 3) {
        let n_tags = one_of(rng, &[1, 1, 1, 2, 2, 3, 4, 5, 6]);
        let tags: Vec<(u16, u16)> = (0..n_tags)
            .map(|_| {
                let tag_protocol = one_of(rng, &[number::DOT1Q, number::DOT1AD, number::QINQ]);
                let tag = one_of(rng, &[42, 42, 43, 0, 0xe02a, 0xffff]);
                (tag_protocol, tag)
            })
            .collect();
        tagged(&tags, &frame)
    } else {
        frame
    }
}

fn length_frame(rng: &mut Rng, depth: usize) -> Vec<u8> {
    let mut llc = match rng.below(3) {
        0 => some_bytes(rng, 40),
        1 => vec![0x42, 0x42, 3],
        _ => {
            let mut snap = vec![0xaa, 0xaa, 3, 0, 0, 0];
            if chance(rng, 4) {
                let at = rng.below(6);
                snap[at] ^= 1 << rng.below(8);
            }
            let (ether_type, packet) = packet(rng, depth);
            snap.extend(if chance(rng, 4) { 0x0806_u16 } else { ether_type }.to_be_bytes());
            snap.extend(packet);
            snap
        }
    };
    let length = if chance(rng, 4) {
        rng.below(0x0601)
    } else {
        llc.len()
    };
    if chance(rng, 8) {
        llc.truncate(8);
    }
    ethernet(length as u16, &llc)
}

fn in_pppoe(rng: &mut Rng, depth: usize) -> Vec<u8> {
    let (ether_type, packet) = packet(rng, depth);
    let is_v4 = ether_type == number::IPV4;
    let mut ppp: Vec<u8> = match (rng.below(6), is_v4) {
        (0, true) => vec![0x21],
        (0, false) => vec![0x57],
        (1, _) => some_bytes(rng, 2),
        (_, true) => vec![0, 0x21],
        (_, false) => vec![0, 0x57],
    };
    ppp.extend(packet);
    ethernet(number::PPPOE_SESSION, &pppoe(&ppp))
}

/// An IP packet with its EtherType.
fn packet(rng: &mut Rng, depth: usize) -> (u16, Vec<u8>) {
    if chance(rng, 2) {
        (number::IPV4, v4_packet(rng, depth))
    } else {
        (number::IPV6, v6_packet(rng, depth))
    }
}

fn v4_packet(rng: &mut Rng, depth: usize) -> Vec<u8> {
    let (protocol, payload) = transport(rng, depth, number::ICMP);
    let n_words = if chance(rng, 4) { rng.below(11) } else { 0 };
    let mut header = V4 {
        destination: addresses::destination_v4(rng),
        ttl: one_of(rng, &[64, 255, 1]),
        options: vec![1; n_words * 4],
        ..build::v4(addresses::v4(rng), protocol)
    };
    if chance(rng, 5) {
        header.fragment = one_of(rng, &[0x2000, 0x2001, 1, 2, 185, 0x1fff, 0x4000, 0x8000, 0xffff]);
    }
    match rng.below(40) {
        0 => header.version = rng.below(16) as u8,
        1 => header.ihl = Some(rng.below(16) as u8),
        2 | 3 => header.total_len = Some(one_of(rng, &[0, 19, 20, 21, 24, 28, 59, 60, 61, 1500, 0xffff])),
        _ => {}
    }
    header.around(&payload)
}

fn v6_packet(rng: &mut Rng, depth: usize) -> Vec<u8> {
    let (protocol, mut payload) = transport(rng, depth, number::ICMPV6);
    let mut next_header = protocol;
    if chance(rng, 3) {
        let n_headers = one_of(rng, &[1, 1, 1, 2, 2, 3, 4, 9, 10, 11, 12]);
        for _ in 0..n_headers {
            (next_header, payload) = extended(rng, next_header, &payload);
        }
    }
    let mut header = V6 {
        destination: addresses::destination_v6(rng),
        hop_limit: one_of(rng, &[64, 255, 255, 254]),
        ..build::v6(addresses::v6(rng), next_header)
    };
    match rng.below(40) {
        0 => header.version = rng.below(16) as u8,
        1 | 2 => header.payload_len = Some(one_of(rng, &[0, 1, 7, 8, 1500, 0xffff])),
        _ => {}
    }
    header.around(&payload)
}

/// Puts one extension header before a payload.
fn extended(rng: &mut Rng, next_header: u8, payload: &[u8]) -> (u8, Vec<u8>) {
    match rng.below(8) {
        0 => (
            number::HOP_BY_HOP,
            extension(next_header, rng.below(3) as u8, payload),
        ),
        1 => (
            number::ROUTING,
            routing(next_header, one_of(rng, &[0, 2, 4]), payload),
        ),
        2 => {
            let offset = one_of(rng, &[0, 0, 0, 1, 0x1fff]);
            let has_more = chance(rng, 2);
            (number::FRAGMENT, fragment(next_header, offset, has_more, payload))
        }
        3 => (number::AH, authentication(next_header, payload)),
        4 => {
            let kind = one_of(rng, &[135, 139, 140]);
            (kind, extension(next_header, rng.below(2) as u8, payload))
        }
        _ => (
            number::DESTINATION_OPTIONS,
            extension(next_header, rng.below(3) as u8, payload),
        ),
    }
}

/// A protocol and what it carries.
fn transport(rng: &mut Rng, depth: usize, icmp_protocol: u8) -> (u8, Vec<u8>) {
    let port = |rng: &mut Rng| {
        one_of(
            rng,
            &[
                443, 80, 53, 67, 68, 7999, 8000, 8010, 8011, 4789, 6081, 546, 547, 40_000,
            ],
        )
    };
    match rng.below(12) {
        0 => (rng.next_u64() as u8, some_bytes(rng, 40)),
        1 | 2 => {
            let (from, to) = (port(rng), port(rng));
            let flags = rng.next_u64() as u8;
            let mut segment = tcp(from, to, flags, &some_bytes(rng, 8));
            if chance(rng, 8) {
                segment.truncate(rng.below(20));
            }
            (number::TCP, segment)
        }
        3 | 4 => {
            let (from, to) = (port(rng), port(rng));
            let mut datagram = udp(from, to, &some_bytes(rng, 40));
            if chance(rng, 8) {
                datagram.truncate(rng.below(9));
            }
            (number::UDP, datagram)
        }
        5 | 6 => {
            let message_type = one_of(
                rng,
                &[
                    0, 1, 2, 3, 4, 5, 8, 11, 12, 128, 132, 133, 134, 135, 136, 137, 138,
                ],
            );
            let code = one_of(rng, &[0, 0, 1, 3, 4, 5]);
            let mut message = icmp(message_type, code, &some_bytes(rng, 24));
            if chance(rng, 8) {
                message.truncate(rng.below(4));
            }
            let other = if icmp_protocol == number::ICMP {
                number::ICMPV6
            } else {
                number::ICMP
            };
            (if chance(rng, 8) { other } else { icmp_protocol }, message)
        }
        7 => (
            one_of(rng, &[number::ESP, number::AH, number::NO_NEXT, 132, 136]),
            some_bytes(rng, 24),
        ),
        _ if depth < DEEPEST => tunnel(rng, depth + 1),
        _ => (number::UDP, udp(port(rng), port(rng), b"deep")),
    }
}

fn tunnel(rng: &mut Rng, depth: usize) -> (u8, Vec<u8>) {
    let inner_frame = |rng: &mut Rng| frame_of(rng, depth);
    let (mut protocol, mut payload) = match rng.below(5) {
        0 => (number::IPIP, v4_packet(rng, depth)),
        1 => (number::IPV6_IN_IP, v6_packet(rng, depth)),
        2 => {
            let flags = one_of(rng, &[0, 0x80, 0x20, 0x10, 0xa0, 0xb0, 0x40]);
            let (ether_type, inner) = match rng.below(8) {
                0 => {
                    // What stands behind a frame's addresses: tags, often.
                    let frame = inner_frame(rng);
                    let ether_type = u16::from_be_bytes([frame[12], frame[13]]);
                    (ether_type, frame[14..].to_vec())
                }
                1 => {
                    let mut redirected = vec![0; one_of(rng, &[0, 4, 4])];
                    redirected.extend(packet(rng, depth).1);
                    (number::WCCP, redirected)
                }
                2..5 => packet(rng, depth),
                _ => (number::BRIDGED, inner_frame(rng)),
            };
            (number::GRE, gre(flags, ether_type, &inner))
        }
        3 => {
            let inner = inner_frame(rng);
            (number::UDP, udp(50_000, number::VXLAN_PORT, &vxlan(&inner)))
        }
        _ => {
            let (ether_type, inner) = if chance(rng, 3) {
                packet(rng, depth)
            } else {
                (number::BRIDGED, inner_frame(rng))
            };
            let datagram = geneve(one_of(rng, &[0, 0, 1, 3, 63]), ether_type, &inner);
            (number::UDP, udp(50_000, number::GENEVE_PORT, &datagram))
        }
    };
    if chance(rng, 12) {
        payload.truncate(rng.below(payload.len().max(1)));
    }
    if chance(rng, 20) {
        protocol = one_of(rng, &[number::IPIP, number::IPV6_IN_IP, number::GRE, number::UDP]);
    }
    (protocol, payload)
}
