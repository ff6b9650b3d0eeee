//! A question to a resolver: who serves the root? Every resolver can answer it, and it says nothing about this host.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

/// Where resolvers listen.
pub const PORT: u16 = 53;
/// Questions before it is given up.
const N_TRIES: u32 = 2;
/// The root, type NS, class IN.
const QUESTION: [u8; 5] = [0, 0, 2, 0, 1];
const HEADER_LEN: usize = 12;

/// Asks by UDP. An answer that the resolver failed (SERVFAIL, REFUSED) is none.
pub fn ask(resolver: SocketAddr, timeout: Duration) -> Result<(), String> {
    let local = match resolver {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let failed = |error: std::io::Error| format!("cannot ask it: {error}");
    let socket = UdpSocket::bind(local).map_err(failed)?;
    socket.connect(resolver).map_err(failed)?;
    let mut last = String::new();
    for _ in 0..N_TRIES {
        let id = (RandomState::new().hash_one(0_u8) & 0xffff) as u16;
        let sent = socket.send(&question(id));
        match sent.map_err(failed).and_then(|_| receive(&socket, id, timeout)) {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn receive(socket: &UdpSocket, id: u16, timeout: Duration) -> Result<(), String> {
    let deadline = Instant::now() + timeout;
    let mut buffer = [0; 512];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("no answer".to_owned());
        }
        socket
            .set_read_timeout(Some(left))
            .map_err(|error| error.to_string())?;
        match socket.recv(&mut buffer) {
            Ok(n) => {
                if let Some(result) = answer(&buffer[..n], id) {
                    return result;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Err("no answer".to_owned());
            }
            Err(error) => return Err(format!("no answer: {error}")),
        }
    }
}

/// RFC 1035 section 4.1.1: id, flags (recursion desired), one question.
fn question(id: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(QUESTION);
    message
}

/// `None`: this answers another question.
fn answer(message: &[u8], id: u16) -> Option<Result<(), String>> {
    let header = message.get(..HEADER_LEN)?;
    let is_answer = header[..2] == id.to_be_bytes() && header[2] & 0x80 != 0 && header[4..6] == [0, 1];
    let question = message.get(HEADER_LEN..HEADER_LEN + QUESTION.len())?;
    if !is_answer || question != QUESTION {
        return None;
    }
    // NOERROR and NXDOMAIN are answers, the others say that there is none.
    Some(match header[3] & 0xf {
        0 | 3 => Ok(()),
        2 => Err("it could not answer (SERVFAIL)".to_owned()),
        5 => Err("it refused to answer (REFUSED)".to_owned()),
        code => Err(format!("it could not answer (code {code})")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_to_this_question_counts() {
        let mut message = question(0x1234);
        assert_eq!(answer(&message, 0x1234), None, "that is the question");
        message[2] |= 0x80;
        assert_eq!(answer(&message, 0x1234), Some(Ok(())));
        assert_eq!(answer(&message, 0x1235), None);
        for (code, holds) in [(0, true), (2, false), (3, true), (5, false), (9, false)] {
            message[3] = 0x80 | code;
            assert_eq!(
                answer(&message, 0x1234).map(|answer| answer.is_ok()),
                Some(holds),
                "{code}"
            );
        }
        let mut other = message.clone();
        other[13] = 1;
        assert_eq!(answer(&other, 0x1234), None);
        for n in 0..message.len() {
            assert_eq!(answer(&message[..n], 0x1234), None, "cut to {n} bytes");
        }
    }
}
