//! Echo requests.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, connect, recv, send,
            setsockopt, socket, sockopt,
        },
        time::TimeVal,
    },
};

/// Types of RFC 792 and RFC 4443: request and answer.
const ECHO_V4: (u8, u8) = (8, 0);
const ECHO_V6: (u8, u8) = (128, 129);
const HEADER_LEN: usize = 8;

/// Holds if the address answers.
pub fn ping(address: IpAddr, timeout: Duration) -> Result<(), String> {
    try_ping(address, timeout).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer to an echo request".to_owned(),
        _ => format!("no answer to an echo request: {error}"),
    })
}

fn try_ping(address: IpAddr, timeout: Duration) -> io::Result<()> {
    let socket = open(address)?;
    connect(
        socket.as_raw_fd(),
        &SockaddrStorage::from(SocketAddr::new(address, 0)),
    )?;
    // What comes back is known by it: a raw socket sees the answers to others too.
    let token = RandomState::new().hash_one(0_u8).to_be_bytes();
    let (request, answer) = match address {
        IpAddr::V4(_) => ECHO_V4,
        IpAddr::V6(_) => ECHO_V6,
    };
    send(socket.as_raw_fd(), &message(request, &token), MsgFlags::empty())?;
    let deadline = Instant::now() + timeout;
    let mut buffer = [0; 256];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let left = TimeVal::new(
            i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            i64::from(left.subsec_micros()).max(1),
        );
        setsockopt(&socket, sockopt::ReceiveTimeout, &left)?;
        let n = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        if is_answer(&buffer[..n], answer, &token) {
            return Ok(());
        }
    }
}

/// A ping socket, where the sysctl `net.ipv4.ping_group_range` lets us, else a raw one.
fn open(address: IpAddr) -> io::Result<OwnedFd> {
    let (family, protocol) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let open = |kind| socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol);
    match open(SockType::Datagram) {
        Err(Errno::EACCES | Errno::EPERM) => Ok(open(SockType::Raw)?),
        result => Ok(result?),
    }
}

/// Id and sequence are zero; the token tells ours from others.
fn message(kind: u8, token: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend(token);
    // The kernel fills it in for ICMPv6, where it covers addresses too, and puts its own for ping sockets.
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// A raw IPv4 socket gives the IP header too.
fn is_answer(packet: &[u8], kind: u8, token: &[u8]) -> bool {
    let header_len = match packet.first() {
        Some(first) if first >> 4 == 4 => usize::from(first & 0xf) * 4,
        _ => 0,
    };
    let Some(message) = packet.get(header_len..) else {
        return false;
    };
    message.first() == Some(&kind) && message.get(HEADER_LEN..) == Some(token)
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) as u16).wrapping_add((folded >> 16) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_our_token_with_an_ip_header_or_without() {
        let token = [7; 8];
        let answer = message(0, &token);
        assert!(is_answer(&answer, 0, &token));
        let mut with_header = vec![0; 20];
        with_header[0] = 0x45;
        with_header.extend(&answer);
        assert!(is_answer(&with_header, 0, &token));
        assert!(!is_answer(&answer, 0, &[8; 8]), "somebody else's");
        assert!(!is_answer(&message(8, &token), 0, &token), "our own request");
        for n in 0..answer.len() {
            assert!(!is_answer(&answer[..n], 0, &token), "cut to {n} bytes");
        }
    }

    #[test]
    fn a_message_with_its_checksum_sums_up_to_nothing() {
        assert_eq!(checksum(&message(8, b"abcdefg")), 0);
    }

    #[test]
    fn loopback_answers() {
        assert_eq!(ping("127.0.0.1".parse().unwrap(), Duration::from_secs(1)), Ok(()));
        assert_eq!(ping("::1".parse().unwrap(), Duration::from_secs(1)), Ok(()));
    }
}
