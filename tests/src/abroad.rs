//! Servers elsewhere, which the edge is a client of: HTTP, DNS and NTP at one address of the internet.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context as _;

use crate::netns::Netns;

/// Port of the HTTP server.
pub const HTTP_PORT: u16 = 80;
/// Port of the DNS server.
pub const DNS_PORT: u16 = 53;
/// Port of the NTP server.
pub const NTP_PORT: u16 = 123;
/// What the HTTP server says.
pub const PAGE: &str = "from abroad\n";
/// The address that the DNS server has for every name.
pub const RECORD: [u8; 4] = [192, 0, 2, 53];

/// How long a server may take to notice that it shall end.
const TICK: Duration = Duration::from_millis(50);

/// The running servers; dropping them ends them.
#[derive(Debug)]
pub struct Abroad {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Abroad {
    /// Starts them on an address that a namespace takes as its own.
    pub fn start(netns: &Netns, address: IpAddr) -> anyhow::Result<Self> {
        let listener = netns
            .run(|| TcpListener::bind((address, HTTP_PORT)))
            .with_context(|| format!("cannot listen for HTTP on {address}"))?;
        listener
            .set_nonblocking(true)
            .context("cannot make a listener non-blocking")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stop_http = Arc::clone(&stop);
        let mut threads = vec![thread::spawn(move || serve_http(&listener, &stop_http))];
        for (port, answer) in [
            (DNS_PORT, dns_answer as fn(&[u8]) -> Option<Vec<u8>>),
            (NTP_PORT, ntp_answer),
        ] {
            let socket = netns
                .run(|| UdpSocket::bind((address, port)))
                .with_context(|| format!("cannot listen on UDP port {port} of {address}"))?;
            let stop = Arc::clone(&stop);
            threads.push(thread::spawn(move || serve_udp(&socket, answer, &stop)));
        }
        Ok(Self { stop, threads })
    }
}

impl Drop for Abroad {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A server that panicked has already said so.
            thread.join().ok();
        }
    }
}

/// A query for the IPv4 address of `example.org` (RFC 1035, section 4.1).
pub fn dns_query(id: u16) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    query.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    query.extend_from_slice(b"\x07example\x03org\x00");
    query.extend_from_slice(&[0, 1, 0, 1]);
    query
}

/// Whether this answers [`dns_query`] with [`RECORD`].
pub fn is_dns_answer(answer: &[u8], id: u16) -> bool {
    answer.len() > 12 && answer[..2] == id.to_be_bytes() && answer[2] & 0x80 != 0 && answer.ends_with(&RECORD)
}

/// An NTP client's request (RFC 5905, section 7.3), told apart by its transmit timestamp.
pub fn ntp_request(stamp: [u8; 8]) -> Vec<u8> {
    let mut request = vec![0; 48];
    request[0] = 4 << 3 | 3;
    request[40..].copy_from_slice(&stamp);
    request
}

/// Whether this answers [`ntp_request`]: a server's packet that returns the timestamp.
pub fn is_ntp_answer(answer: &[u8], stamp: [u8; 8]) -> bool {
    answer.len() == 48 && answer[0] & 7 == 4 && answer[24..32] == stamp
}

/// Errors end the connection, which the client notices.
fn serve_http(listener: &TcpListener, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        stream.set_nonblocking(false).ok();
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok();
        let mut request = Vec::new();
        let mut byte = [0; 1];
        while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
            request.push(byte[0]);
        }
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{PAGE}",
            PAGE.len()
        )
        .ok();
    }
}

fn serve_udp(socket: &UdpSocket, answer: fn(&[u8]) -> Option<Vec<u8>>, stop: &AtomicBool) {
    socket.set_read_timeout(Some(TICK)).ok();
    let mut datagram = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let asked: Option<(usize, SocketAddr)> = socket.recv_from(&mut datagram).ok();
        if let Some((n, from)) = asked
            && let Some(answer) = answer(&datagram[..n])
        {
            socket.send_to(&answer, from).ok();
        }
    }
}

/// The question again, and one answer to it.
fn dns_answer(query: &[u8]) -> Option<Vec<u8>> {
    let mut answer = query.to_vec();
    let flags = answer.get_mut(2..8)?;
    flags.copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
    // The name as a pointer to the question's; type A, class IN, a minute, four bytes.
    answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    answer.extend_from_slice(&RECORD);
    Some(answer)
}

fn ntp_answer(request: &[u8]) -> Option<Vec<u8>> {
    let stamp = request.get(40..48)?;
    let mut answer = vec![0; 48];
    // Version 4, mode server, stratum 1.
    answer[0] = 4 << 3 | 4;
    answer[1] = 1;
    answer[24..32].copy_from_slice(stamp);
    Some(answer)
}
