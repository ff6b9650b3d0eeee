//! Writes frames byte by byte, wrong ones too. Nothing here is shared with the reference, which reads them by
//! `etherparse`: an error in one of the two shows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::lab::{EDGE_MAC, EDGE_V4, EDGE_V6, INTERNET_MAC};

/// Ethernet types, protocol numbers and other constants of the wire.
pub mod number {
    /// EtherType of IPv4.
    pub const IPV4: u16 = 0x0800;
    /// EtherType of IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// EtherType of ARP.
    pub const ARP: u16 = 0x0806;
    /// EtherType of RARP.
    pub const RARP: u16 = 0x8035;
    /// EtherType of an 802.1Q tag.
    pub const DOT1Q: u16 = 0x8100;
    /// EtherType of an 802.1ad tag.
    pub const DOT1AD: u16 = 0x88a8;
    /// EtherType of tags before 802.1ad.
    pub const QINQ: u16 = 0x9100;
    /// EtherType of PPPoE discovery.
    pub const PPPOE_DISCOVERY: u16 = 0x8863;
    /// EtherType of a PPPoE session.
    pub const PPPOE_SESSION: u16 = 0x8864;
    /// EtherType of MPLS.
    pub const MPLS: u16 = 0x8847;
    /// EtherType of MPLS multicast.
    pub const MPLS_MULTICAST: u16 = 0x8848;
    /// EtherType of bridged Ethernet in GRE and Geneve.
    pub const BRIDGED: u16 = 0x6558;
    /// EtherType of packets that a router redirects to a cache (WCCP), in GRE.
    pub const WCCP: u16 = 0x883e;
    /// Protocol ICMP.
    pub const ICMP: u8 = 1;
    /// Protocol IPv4 in IP.
    pub const IPIP: u8 = 4;
    /// Protocol TCP.
    pub const TCP: u8 = 6;
    /// Protocol UDP.
    pub const UDP: u8 = 17;
    /// Protocol IPv6 in IP.
    pub const IPV6_IN_IP: u8 = 41;
    /// Protocol GRE.
    pub const GRE: u8 = 47;
    /// Protocol ESP.
    pub const ESP: u8 = 50;
    /// Authentication header.
    pub const AH: u8 = 51;
    /// Protocol ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// Hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// Routing header.
    pub const ROUTING: u8 = 43;
    /// Fragment header.
    pub const FRAGMENT: u8 = 44;
    /// No next header.
    pub const NO_NEXT: u8 = 59;
    /// Destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// UDP port of VXLAN.
    pub const VXLAN_PORT: u16 = 4789;
    /// UDP port of Geneve.
    pub const GENEVE_PORT: u16 = 6081;
}

use number::{ICMP, ICMPV6, IPV4, IPV6, TCP, UDP};

/// An Ethernet frame from the internet to the edge.
pub fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    ethernet_to(EDGE_MAC, ether_type, payload)
}

/// An Ethernet frame to any address.
pub fn ethernet_to(destination: [u8; 6], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [destination, INTERNET_MAC].concat();
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// What stands behind the MAC addresses: tags (tag protocol, tag), then an EtherType and its payload.
pub fn tagged(tags: &[(u16, u16)], frame: &[u8]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    let mut tagged = addresses.to_vec();
    for (tag_protocol, tag) in tags {
        tagged.extend(tag_protocol.to_be_bytes());
        tagged.extend(tag.to_be_bytes());
    }
    tagged.extend(rest);
    tagged
}

/// An IPv4 header to be, with every field that a case may lie in.
#[derive(Clone, Debug)]
pub struct V4 {
    /// Source.
    pub source: Ipv4Addr,
    /// Destination.
    pub destination: Ipv4Addr,
    /// Protocol.
    pub protocol: u8,
    /// Time to live.
    pub ttl: u8,
    /// Flags and fragment offset, as the field holds them.
    pub fragment: u16,
    /// Options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// Version, if it lies.
    pub version: u8,
    /// Header length in words, if it lies.
    pub ihl: Option<u8>,
    /// Total length, if it lies.
    pub total_len: Option<u16>,
}

/// "More fragments" in [`V4::fragment`].
pub const MORE_FRAGMENTS: u16 = 0x2000;

/// A plain IPv4 header to the edge.
pub fn v4(source: Ipv4Addr, protocol: u8) -> V4 {
    V4 {
        source,
        destination: EDGE_V4,
        protocol,
        ttl: 64,
        fragment: 0,
        options: Vec::new(),
        version: 4,
        ihl: None,
        total_len: None,
    }
}

impl V4 {
    /// The packet around a payload. Checksums are right unless the header lies or this is a fragment.
    pub fn around(&self, payload: &[u8]) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let ihl = self.ihl.unwrap_or((header_len / 4) as u8);
        let total_len = self.total_len.unwrap_or((header_len + payload.len()) as u16);
        let mut packet = vec![self.version << 4 | ihl & 15, 0];
        packet.extend(total_len.to_be_bytes());
        packet.extend([0x12, 0x34]);
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([self.ttl, self.protocol, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(&self.options);
        let checksum = checksum(0, &packet).to_be_bytes();
        packet[10..12].copy_from_slice(&checksum);
        let mut payload = payload.to_vec();
        if self.fragment & 0x3fff == 0 {
            let addresses = [self.source.octets(), self.destination.octets()].concat();
            fill_checksum(self.protocol, &addresses, &mut payload);
        }
        packet.extend(payload);
        packet
    }

    /// The frame around a payload.
    pub fn frame(&self, payload: &[u8]) -> Vec<u8> {
        ethernet(IPV4, &self.around(payload))
    }
}

/// An IPv6 header to be.
#[derive(Clone, Debug)]
pub struct V6 {
    /// Source.
    pub source: Ipv6Addr,
    /// Destination.
    pub destination: Ipv6Addr,
    /// Next header.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Version, if it lies.
    pub version: u8,
    /// Payload length, if it lies.
    pub payload_len: Option<u16>,
}

/// A plain IPv6 header to the edge.
pub fn v6(source: Ipv6Addr, next_header: u8) -> V6 {
    V6 {
        source,
        destination: EDGE_V6,
        next_header,
        hop_limit: 64,
        version: 6,
        payload_len: None,
    }
}

impl V6 {
    /// The packet around a payload, extension headers included.
    pub fn around(&self, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![self.version << 4, 0, 0, 0];
        packet.extend(self.payload_len.unwrap_or(payload.len() as u16).to_be_bytes());
        packet.extend([self.next_header, self.hop_limit]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        let mut payload = payload.to_vec();
        let addresses = [self.source.octets(), self.destination.octets()].concat();
        fill_checksum(self.next_header, &addresses, &mut payload);
        packet.extend(payload);
        packet
    }

    /// The frame around a payload.
    pub fn frame(&self, payload: &[u8]) -> Vec<u8> {
        ethernet(IPV6, &self.around(payload))
    }
}

/// An IP packet to the edge, of the family of the source.
pub fn ip(source: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match source {
        IpAddr::V4(source) => v4(source, protocol).around(payload),
        IpAddr::V6(source) => v6(source, protocol).around(payload),
    }
}

/// EtherType of an address's family.
pub fn ether_type(source: IpAddr) -> u16 {
    if source.is_ipv4() { IPV4 } else { IPV6 }
}

/// A frame to the edge, of the family of the source.
pub fn ip_frame(source: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(ether_type(source), &ip(source, protocol, payload))
}

/// A UDP datagram; the IP header fills in the checksum.
pub fn udp(from_port: u16, to_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(from_port.to_be_bytes());
    datagram.extend(to_port.to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// Flag SYN of [`tcp`].
pub const SYN: u8 = 2;
/// Flag ACK of [`tcp`].
pub const ACK: u8 = 16;

/// A TCP segment without options; the IP header fills in the checksum.
pub fn tcp(from_port: u16, to_port: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(from_port.to_be_bytes());
    segment.extend(to_port.to_be_bytes());
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    segment
}

/// An ICMP or ICMPv6 message; the IP header fills in the checksum.
pub fn icmp(message_type: u8, code: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![message_type, code, 0, 0];
    message.extend(body);
    message
}

/// An IPv6 extension header of 8 bytes times (1 + `n_more`), filled with padding, before what follows it.
pub fn extension(next_header: u8, n_more: u8, rest: &[u8]) -> Vec<u8> {
    let n_padding = 6 + 8 * usize::from(n_more);
    let mut header = vec![next_header, n_more, 1, (n_padding - 2) as u8];
    header.resize(2 + n_padding, 0);
    header.extend(rest);
    header
}

/// A routing header of a type, without segments left, before what follows it.
pub fn routing(next_header: u8, routing_type: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = vec![next_header, 2, routing_type, 0, 0, 0, 0, 0];
    header.extend(Ipv6Addr::LOCALHOST.octets());
    header.extend(rest);
    header
}

/// A fragment header before what follows it; the offset in units of 8 bytes.
pub fn fragment(next_header: u8, offset: u16, has_more: bool, rest: &[u8]) -> Vec<u8> {
    let mut header = vec![next_header, 0];
    header.extend((offset << 3 | u16::from(has_more)).to_be_bytes());
    header.extend([0, 0, 0x56, 0x78]);
    header.extend(rest);
    header
}

/// An authentication header of 24 bytes before what follows it.
pub fn authentication(next_header: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = vec![next_header, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
    header.extend([0xa5; 12]);
    header.extend(rest);
    header
}

/// GRE around a packet, with any of the flags checksum 0x80, key 0x20, sequence 0x10 (RFC 2784, 2890).
pub fn gre(flags: u8, ether_type: u16, rest: &[u8]) -> Vec<u8> {
    let mut header = vec![flags, 0];
    header.extend(ether_type.to_be_bytes());
    for flag in [0x80, 0x20, 0x10] {
        if flags & flag != 0 {
            header.extend([0, 0, 0, 0]);
        }
    }
    header.extend(rest);
    header
}

/// VXLAN around a frame (RFC 7348).
pub fn vxlan(frame: &[u8]) -> Vec<u8> {
    let mut header = vec![0x08, 0, 0, 0, 0, 0, 42, 0];
    header.extend(frame);
    header
}

/// Geneve around what its protocol says, with options of a number of words (RFC 8926).
pub fn geneve(n_option_words: u8, ether_type: u16, rest: &[u8]) -> Vec<u8> {
    let mut header = vec![n_option_words, 0];
    header.extend(ether_type.to_be_bytes());
    header.extend([0, 0, 42, 0]);
    header.resize(8 + 4 * usize::from(n_option_words), 0);
    header.extend(rest);
    header
}

/// A PPPoE session header around what stands behind it, the PPP protocol included.
pub fn pppoe(ppp: &[u8]) -> Vec<u8> {
    let mut header = vec![0x11, 0, 0, 1];
    header.extend((ppp.len() as u16).to_be_bytes());
    header.extend(ppp);
    header
}

/// MPLS labels before a packet; the last one says that it is.
pub fn mpls(n_labels: u8, packet: &[u8]) -> Vec<u8> {
    let mut labels = Vec::new();
    for idx in 1..=n_labels {
        labels.extend([0, 1, u8::from(idx == n_labels), 64]);
    }
    labels.extend(packet);
    labels
}

/// The Internet checksum (RFC 1071) of some bytes, on top of a sum.
fn checksum(start: u32, bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2);
    let sum = words.fold(start, |sum, word| {
        sum + (u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)))
    });
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

fn fill_checksum(protocol: u8, addresses: &[u8], payload: &mut [u8]) {
    let at = match protocol {
        TCP => 16,
        UDP => 6,
        ICMP | ICMPV6 => 2,
        _ => return,
    };
    if payload.len() < at + 2 {
        return;
    }
    let start = if protocol == ICMP {
        0
    } else {
        let of_addresses = !checksum(0, addresses);
        u32::from(of_addresses) + u32::from(protocol) + payload.len() as u32
    };
    let sum = match checksum(start, payload) {
        // "No checksum" of UDP.
        0 if protocol == UDP => 0xffff,
        sum => sum,
    };
    payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, SlicedPacket};

    use super::*;

    #[test]
    fn a_plain_frame_is_the_one_that_etherparse_writes() {
        let source = Ipv4Addr::new(198, 51, 100, 7);
        let source_v6: Ipv6Addr = "2001:db8:b::7".parse().unwrap();
        let mut expected = Vec::new();
        let ethernet = || PacketBuilder::ethernet2(INTERNET_MAC, EDGE_MAC);
        let packet = ethernet().ipv6(source_v6.octets(), EDGE_V6.octets(), 64);
        packet.udp(1, 2).write(&mut expected, b"abc").unwrap();
        assert_eq!(v6(source_v6, UDP).frame(&udp(1, 2, b"abc")), expected);
        let frame = v4(source, TCP).frame(&tcp(1, 2, SYN, b"abc"));
        let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
        let net = sliced.net.unwrap();
        let header = net.ipv4_ref().unwrap().header().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        let etherparse::TransportSlice::Tcp(segment) = sliced.transport.unwrap() else {
            panic!("a TCP segment was written");
        };
        assert_eq!(
            segment.checksum(),
            segment
                .calc_checksum_ipv4(source.octets(), EDGE_V4.octets())
                .unwrap()
        );
    }
}
