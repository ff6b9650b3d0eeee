//! A request to a service of this host's own.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Longest status line.
const MAX_LINE_BYTES: usize = 1024;

/// Holds if the answer has this status.
pub fn get(address: SocketAddr, target: &str, status: u16, timeout: Duration) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("no answer: {error}");
    let mut stream =
        TcpStream::connect_timeout(&address, timeout).map_err(|error| format!("no connection: {error}"))?;
    stream.set_read_timeout(Some(timeout)).map_err(failed)?;
    stream.set_write_timeout(Some(timeout)).map_err(failed)?;
    let request = format!(
        "GET {target} HTTP/1.1\r\nhost: {address}\r\nuser-agent: cordon/{}\r\nconnection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < MAX_LINE_BYTES && !line.ends_with(b"\n") {
        match stream.read(&mut byte).map_err(failed)? {
            0 => break,
            _ => line.push(byte[0]),
        }
    }
    match status_of(&line) {
        Some(found) if found == status => Ok(()),
        Some(found) => Err(format!("it answered {found}, not {status}")),
        None => Err("its answer is no HTTP".to_owned()),
    }
}

/// RFC 9112 section 4.
fn status_of(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let mut words = line.strip_prefix("HTTP/1.")?.split_ascii_whitespace();
    words.next()?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_the_second_word() {
        assert_eq!(status_of(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        assert_eq!(status_of(b"HTTP/1.0 200\r\n"), Some(200));
        for line in [
            &b"HTTP/1.1 204"[..],
            b"HTTP/2 200\r\n",
            b"\xff\r\n",
            b"",
            b"HTTP/1.1 x\r\n",
        ] {
            assert_eq!(status_of(line), None, "{line:?}");
        }
    }
}
