//! What `drain` does on the rows of other modules: what opens a connection drops, and what hides whether it does.

use std::net::IpAddr;

use probe_common::Reason::{self, DrainPass, Failsafe, PolicyDrain, PolicyPass};

use super::{ALLOWED, BLOCKED, UNLISTED, judged, passes, plain};
use crate::corpus::{
    Case,
    build::{
        ACK, MORE_FRAGMENTS, SYN, V4, V6, extension, fragment, icmp, ip_frame, number, tcp, udp, v4, v6,
    },
    places::{B4, B6},
};

const VERSION_1: [u8; 4] = [0, 0, 0, 1];
const VERSION_2: [u8; 4] = [0x6b, 0x33, 0x43, 0xcf];
/// Length of the UDP header.
const UDP_LEN: usize = 8;

fn drained(name: impl Into<String>, frame: Vec<u8>, reason: Reason) -> Case {
    judged(format!("drain: {}", name.into()), frame, reason).policy("drain")
}

fn segment(flags: u8) -> Vec<u8> {
    tcp(40_000, 443, flags, b"")
}

/// A datagram that begins like a QUIC packet with a long header.
fn quic(first: u8, version: [u8; 4]) -> Vec<u8> {
    let payload = [&[first][..], &version, b"corpus: connection IDs and more"].concat();
    udp(40_000, 443, &payload)
}

fn initial() -> Vec<u8> {
    quic(0xc3, VERSION_1)
}

/// From B, in one piece (row 1).
pub(super) fn of_blocked() -> Vec<Case> {
    let mut cases = Vec::new();
    for (who, source) in BLOCKED {
        for (name, flags, reason) in [
            ("SYN", SYN, PolicyDrain),
            ("SYN with ECE and CWR", SYN | 0xc0, PolicyDrain),
            ("SYN and FIN", SYN | 1, PolicyDrain),
            ("SYN and ACK", SYN | ACK, DrainPass),
            ("ACK", ACK, DrainPass),
            ("FIN and ACK", ACK | 1, DrainPass),
            ("RST", 4, DrainPass),
            ("no flag", 0, DrainPass),
        ] {
            let frame = ip_frame(source, number::TCP, &segment(flags));
            cases.push(drained(format!("TCP with {name}, {who}"), frame, reason));
        }
        for (name, datagram, reason) in [
            ("Initial of version 1", quic(0xc3, VERSION_1), PolicyDrain),
            (
                "Initial of version 1, all bits",
                quic(0xcf, VERSION_1),
                PolicyDrain,
            ),
            ("Initial of version 2", quic(0xd0, VERSION_2), PolicyDrain),
            ("0-RTT of version 1", quic(0xd0, VERSION_1), DrainPass),
            ("handshake of version 1", quic(0xe0, VERSION_1), DrainPass),
            ("retry of version 1", quic(0xf0, VERSION_1), DrainPass),
            ("retry of version 2", quic(0xc0, VERSION_2), DrainPass),
            ("0-RTT of version 2", quic(0xe0, VERSION_2), DrainPass),
            ("version negotiation", quic(0xc0, [0; 4]), DrainPass),
            ("no fixed bit", quic(0x80, VERSION_1), DrainPass),
            ("short header", quic(0x43, VERSION_1), DrainPass),
            (
                "shorter than any header",
                udp(40_000, 443, &[0xc3, 0, 0, 0]),
                DrainPass,
            ),
            ("nothing", udp(40_000, 443, b""), DrainPass),
            ("no QUIC", udp(40_000, 53, b"corpus"), DrainPass),
        ] {
            let frame = ip_frame(source, number::UDP, &datagram);
            cases.push(drained(format!("UDP with {name}, {who}"), frame, reason));
        }
        let echo = if source.is_ipv4() {
            ip_frame(source, number::ICMP, &icmp(8, 0, &[0, 1, 0, 1]))
        } else {
            ip_frame(source, number::ICMPV6, &icmp(128, 0, &[0, 1, 0, 1]))
        };
        cases.push(drained(format!("echo, {who}"), echo, DrainPass));
        let esp = ip_frame(source, number::ESP, &[0xe5; 48]);
        cases.push(drained(format!("ESP, {who}"), esp, DrainPass));
        let prefix = if source.is_ipv4() {
            "198.51.100.7/32"
        } else {
            "2001:db8:b::7/128"
        };
        let syn = ip_frame(source, number::TCP, &segment(SYN));
        let name = format!("drain: TCP with SYN, {who}, but failsafe");
        cases.push(passes(name, syn, Failsafe).policy("drain").failsafe(prefix));
    }
    cases
}

/// From A (row 2).
pub(super) fn of_allowed() -> Vec<Case> {
    ALLOWED.map(not_drained).concat()
}

/// From U (row 3).
pub(super) fn of_unlisted() -> Vec<Case> {
    UNLISTED.map(not_drained).concat()
}

fn not_drained((who, source): (&str, IpAddr)) -> Vec<Case> {
    let syn = ip_frame(source, number::TCP, &segment(SYN));
    let initial = ip_frame(source, number::UDP, &initial());
    vec![
        drained(format!("TCP with SYN, {who}"), syn, PolicyPass),
        drained(format!("UDP with Initial, {who}"), initial, PolicyPass),
        drained(format!("UDP, {who}"), plain(source), PolicyPass),
    ]
}

/// In fragments of IPv4 (row 12).
pub(super) fn in_v4_fragments() -> Vec<Case> {
    let frame = |field, protocol, payload: &[u8]| {
        V4 {
            fragment: field,
            ..v4(B4, protocol)
        }
        .frame(payload)
    };
    let (syn, ack, initial) = (segment(SYN), segment(ACK), initial());
    [
        (
            "first fragment of SYN",
            MORE_FRAGMENTS,
            number::TCP,
            &syn[..],
            PolicyDrain,
        ),
        (
            "first fragment of ACK",
            MORE_FRAGMENTS,
            number::TCP,
            &ack[..],
            DrainPass,
        ),
        (
            "first fragment, TCP without flags",
            MORE_FRAGMENTS,
            number::TCP,
            &ack[..8],
            PolicyDrain,
        ),
        (
            "TCP header cut off before its flags",
            0,
            number::TCP,
            &ack[..13],
            PolicyDrain,
        ),
        (
            "TCP header cut off behind its flags",
            0,
            number::TCP,
            &ack[..14],
            DrainPass,
        ),
        (
            "later fragment that looks like SYN",
            1,
            number::TCP,
            &syn[..],
            DrainPass,
        ),
        (
            "middle fragment that looks like SYN",
            MORE_FRAGMENTS | 1,
            number::TCP,
            &syn[..],
            DrainPass,
        ),
        (
            "first fragment of Initial",
            MORE_FRAGMENTS,
            number::UDP,
            &initial[..],
            PolicyDrain,
        ),
        (
            "first fragment, UDP header only",
            MORE_FRAGMENTS,
            number::UDP,
            &initial[..UDP_LEN],
            PolicyDrain,
        ),
        ("UDP header only", 0, number::UDP, &initial[..UDP_LEN], DrainPass),
        (
            "later fragment that looks like Initial",
            1,
            number::UDP,
            &initial[..],
            DrainPass,
        ),
        (
            "first fragment of ICMP",
            MORE_FRAGMENTS,
            number::ICMP,
            &[8, 0][..],
            DrainPass,
        ),
    ]
    .map(|(name, field, protocol, payload, reason)| {
        drained(format!("{name}, from B"), frame(field, protocol, payload), reason)
    })
    .into()
}

/// Behind extension headers of IPv6, fragments included (row 14).
pub(super) fn behind_extensions() -> Vec<Case> {
    use number::{DESTINATION_OPTIONS, FRAGMENT, TCP, UDP};
    let (syn, ack, initial) = (segment(SYN), segment(ACK), initial());
    let chain = |n_headers| {
        let mut payload = ack.clone();
        let mut next_header = TCP;
        for _ in 0..n_headers {
            payload = extension(next_header, 0, &payload);
            next_header = DESTINATION_OPTIONS;
        }
        payload
    };
    let options = extension(TCP, 0, &syn);
    [
        (
            "options before SYN",
            DESTINATION_OPTIONS,
            extension(TCP, 0, &syn),
            PolicyDrain,
        ),
        (
            "options before ACK",
            DESTINATION_OPTIONS,
            extension(TCP, 0, &ack),
            DrainPass,
        ),
        (
            "options before Initial",
            DESTINATION_OPTIONS,
            extension(UDP, 0, &initial),
            PolicyDrain,
        ),
        (
            "options and nothing behind them",
            DESTINATION_OPTIONS,
            extension(59, 0, &[]),
            DrainPass,
        ),
        ("options cut off", DESTINATION_OPTIONS, vec![TCP], PolicyDrain),
        ("10 headers before ACK", DESTINATION_OPTIONS, chain(10), DrainPass),
        (
            "11 headers before ACK",
            DESTINATION_OPTIONS,
            chain(11),
            PolicyDrain,
        ),
        (
            "first fragment of SYN",
            FRAGMENT,
            fragment(TCP, 0, true, &syn),
            PolicyDrain,
        ),
        (
            "first fragment of ACK",
            FRAGMENT,
            fragment(TCP, 0, true, &ack),
            DrainPass,
        ),
        (
            "first fragment, TCP without flags",
            FRAGMENT,
            fragment(TCP, 0, true, &ack[..8]),
            PolicyDrain,
        ),
        (
            "later fragment that looks like SYN",
            FRAGMENT,
            fragment(TCP, 1, false, &syn),
            DrainPass,
        ),
        (
            "later fragment of options that look like SYN's",
            FRAGMENT,
            fragment(DESTINATION_OPTIONS, 1, false, &options),
            DrainPass,
        ),
        (
            "first fragment, UDP header only",
            FRAGMENT,
            fragment(UDP, 0, true, &initial[..UDP_LEN]),
            PolicyDrain,
        ),
        (
            "atomic fragment, UDP header only",
            FRAGMENT,
            fragment(UDP, 0, false, &initial[..UDP_LEN]),
            DrainPass,
        ),
        (
            "later fragment that looks like Initial",
            FRAGMENT,
            fragment(UDP, 1, true, &initial),
            DrainPass,
        ),
    ]
    .map(|(name, next_header, payload, reason)| {
        let frame = v6(B6, next_header).frame(&payload);
        drained(format!("{name}, from B"), frame, reason)
    })
    .into()
}

/// Bytes behind the packet's own end that look like something (row 43).
pub(super) fn padded() -> Vec<Case> {
    let [initial, ack] = [initial(), segment(ACK)];
    let mut cases = Vec::new();
    for (name, protocol, payload, len, reason) in [
        (
            "UDP ends before what looks like Initial",
            number::UDP,
            &initial,
            UDP_LEN,
            DrainPass,
        ),
        (
            "UDP ends within Initial",
            number::UDP,
            &initial,
            UDP_LEN + 4,
            DrainPass,
        ),
        (
            "UDP ends behind what makes it Initial",
            number::UDP,
            &initial,
            UDP_LEN + 5,
            PolicyDrain,
        ),
        ("TCP ends before its flags", number::TCP, &ack, 13, PolicyDrain),
        ("TCP ends behind its flags", number::TCP, &ack, 14, DrainPass),
    ] {
        let frame = V4 {
            total_len: Some(20 + len as u16),
            ..v4(B4, protocol)
        }
        .frame(payload);
        cases.push(drained(format!("{name}, IPv4 from B"), frame, reason));
        let frame = V6 {
            payload_len: Some(len as u16),
            ..v6(B6, protocol)
        }
        .frame(payload);
        cases.push(drained(format!("{name}, IPv6 from B"), frame, reason));
    }
    cases
}
