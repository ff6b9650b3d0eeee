//! Frames that the tests of actions send by hand: TCP segments, QUIC packets and fragments, as the internet sends
//! them to the edge.

use std::net::IpAddr;

use etherparse::{EtherType, IpFragOffset, IpNumber, Ipv4Header, PacketBuilder, PacketBuilderStep};

use crate::{
    frames::ethernet_frame,
    lab::{EDGE_MAC, EDGE_V4, INTERNET_MAC, edge_address},
};

/// Source port of everything built here.
pub const CLIENT_PORT: u16 = 40_000;
/// Sequence number of the segments built here.
pub const SEQUENCE: u32 = 0x1000_0000;
/// Acknowledgement number of the segments built here that acknowledge.
pub const ACKNOWLEDGED: u32 = 0x2000_0000;

/// The flags of a segment, as far as the tests need them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    /// Opens a connection.
    Syn,
    /// Answers one that opens.
    SynAck,
    /// Belongs to one that is open.
    Ack,
    /// Breaks one off.
    Rst,
}

/// A TCP segment from an address to a port of the edge.
pub fn tcp_frame(source: IpAddr, port: u16, flags: Flags, payload: &[u8]) -> Vec<u8> {
    tcp_frame_between(source, edge_address(source), CLIENT_PORT, port, flags, payload)
}

/// A TCP segment to any destination that the edge's MAC address stands for.
pub fn tcp_frame_between(
    source: IpAddr,
    destination: IpAddr,
    source_port: u16,
    port: u16,
    flags: Flags,
    payload: &[u8],
) -> Vec<u8> {
    let segment = ip_step(source, destination).tcp(source_port, port, SEQUENCE, 1024);
    let segment = match flags {
        Flags::Syn => segment.syn(),
        Flags::SynAck => segment.syn().ack(ACKNOWLEDGED),
        Flags::Ack => segment.ack(ACKNOWLEDGED),
        Flags::Rst => segment.rst(),
    };
    let mut frame = Vec::with_capacity(segment.size(payload.len()));
    segment.write(&mut frame, payload).expect("writing to a vector");
    frame
}

/// A UDP datagram to any destination that the edge's MAC address stands for.
pub fn udp_frame_between(
    source: IpAddr,
    destination: IpAddr,
    source_port: u16,
    port: u16,
    payload: &[u8],
) -> Vec<u8> {
    let datagram = ip_step(source, destination).udp(source_port, port);
    let mut frame = Vec::with_capacity(datagram.size(payload.len()));
    datagram.write(&mut frame, payload).expect("writing to a vector");
    frame
}

/// A UDP datagram of this length in bytes on the wire.
pub fn udp_frame_of(source: IpAddr, port: u16, frame_bytes: usize) -> Vec<u8> {
    let empty = udp_frame_between(source, edge_address(source), CLIENT_PORT, port, &[]);
    let payload = vec![b'.'; frame_bytes - empty.len()];
    udp_frame_between(source, edge_address(source), CLIENT_PORT, port, &payload)
}

/// The payload of a client's first QUIC datagram: an Initial packet of version 1, padded (RFC 9000, 14.1 and 17.2.2).
pub fn quic_initial() -> Vec<u8> {
    let mut packet = vec![0xc3, 0, 0, 0, 1, 8];
    packet.extend_from_slice(b"\x01\x02\x03\x04\x05\x06\x07\x08");
    packet.resize(1200, 0);
    packet
}

/// The payload of a QUIC packet of a connection that is open: short header (RFC 9000, 17.3.1).
pub fn quic_short() -> Vec<u8> {
    let mut packet = vec![0x43];
    packet.extend_from_slice(b"\x01\x02\x03\x04\x05\x06\x07\x08");
    packet.resize(100, 7);
    packet
}

/// A later fragment of an IPv4 packet of a protocol: no port in it.
pub fn later_fragment(source: [u8; 4], protocol: IpNumber) -> Vec<u8> {
    // What would be ports, if this were no fragment: 443 and 443.
    let payload = [[0x01, 0xbb], [0x01, 0xbb]].concat().repeat(10);
    let mut header = Ipv4Header::new(payload.len() as u16, 64, protocol, source, EDGE_V4.octets())
        .expect("a short payload");
    header.fragment_offset = IpFragOffset::try_new(100).expect("an offset of 13 bits");
    header.header_checksum = header.calc_header_checksum();
    let mut packet = header.to_bytes().to_vec();
    packet.extend_from_slice(&payload);
    ethernet_frame(EtherType::IPV4.0, &packet)
}

fn ip_step(source: IpAddr, destination: IpAddr) -> PacketBuilderStep<etherparse::IpHeaders> {
    let ethernet = PacketBuilder::ethernet2(INTERNET_MAC, EDGE_MAC);
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ethernet.ipv4(source.octets(), destination.octets(), 64)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            ethernet.ipv6(source.octets(), destination.octets(), 64)
        }
        _ => unreachable!("both ends are of one family"),
    }
}
