//! Frames that the harness has no word for.

use std::net::Ipv6Addr;

use etherparse::PacketBuilder;
use integration_tests::lab::{EDGE_MAC, EDGE_V6, INTERNET_MAC};

/// Length of an Ethernet header without tags.
pub(super) const ETHERNET_LEN: usize = 14;
/// Length of an IPv4 header without options.
pub(super) const IPV4_LEN: usize = 20;
/// Length of the fixed IPv6 header.
pub(super) const IPV6_LEN: usize = 40;

const NEXT_HEADER_FRAGMENT: u8 = 44;
const FRAGMENT_HEADER_LEN: u8 = 8;

/// A UDP frame with all its addresses and ports.
pub(super) fn udp_v4(source: [u8; 4], destination: [u8; 4], from_port: u16, to_port: u16) -> Vec<u8> {
    let packet = PacketBuilder::ethernet2(INTERNET_MAC, EDGE_MAC)
        .ipv4(source, destination, 64)
        .udp(from_port, to_port);
    let mut frame = Vec::new();
    packet.write(&mut frame, &[0; 240]).unwrap();
    frame
}

/// An ICMPv6 message to the edge.
pub(super) fn neighbour_discovery(source: &str, icmp_type: u8, hop_limit: u8) -> Vec<u8> {
    let source: Ipv6Addr = source.parse().unwrap();
    let packet = PacketBuilder::ethernet2(INTERNET_MAC, EDGE_MAC)
        .ipv6(source.octets(), EDGE_V6.octets(), hop_limit)
        .icmpv6_raw(icmp_type, 0, [0; 4]);
    let mut frame = Vec::new();
    packet.write(&mut frame, &EDGE_V6.octets()).unwrap();
    assert_eq!(
        (frame[ETHERNET_LEN + 7], frame[ETHERNET_LEN + IPV6_LEN]),
        (hop_limit, icmp_type)
    );
    frame
}

/// Puts a fragment header of a first and only fragment between the IPv6 header and what it carries.
pub(super) fn behind_fragment_header(frame: &[u8]) -> Vec<u8> {
    let mut fragment = frame.to_vec();
    let next_header = fragment[ETHERNET_LEN + 6];
    fragment[ETHERNET_LEN + 6] = NEXT_HEADER_FRAGMENT;
    fragment[ETHERNET_LEN + 5] += FRAGMENT_HEADER_LEN;
    let at = ETHERNET_LEN + IPV6_LEN;
    fragment.splice(at..at, [next_header, 0, 0, 0, 0, 0, 0, 1]);
    fragment
}

/// Lengthens an IPv4 header to a number of 32-bit words by options that do nothing.
pub(super) fn with_options(frame: &[u8], n_words: u8) -> Vec<u8> {
    const NO_OPERATION: u8 = 1;
    let n_bytes = usize::from(n_words - 5) * 4;
    let mut longer = frame.to_vec();
    longer[ETHERNET_LEN] = 0x40 | n_words;
    let total_len = u16::from_be_bytes([frame[ETHERNET_LEN + 2], frame[ETHERNET_LEN + 3]]);
    let total_len = total_len + u16::try_from(n_bytes).unwrap();
    longer[ETHERNET_LEN + 2..][..2].copy_from_slice(&total_len.to_be_bytes());
    let at = ETHERNET_LEN + IPV4_LEN;
    longer.splice(at..at, std::iter::repeat_n(NO_OPERATION, n_bytes));
    longer
}
