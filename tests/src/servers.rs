//! Real servers on the edge: HTTP over TCP, and UDP echo. Ping is answered by the kernel.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{setsockopt, sockopt},
};

use crate::netns::Netns;

/// Port of the HTTP server.
pub const HTTP_PORT: u16 = 80;
/// Port of the UDP echo server (RFC 862).
pub const ECHO_PORT: u16 = 7;

/// How long a server may take to notice that it shall end.
const TICK_MS: u16 = 50;
/// How long a client may take to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// The running servers; dropping them ends them.
#[derive(Debug)]
pub struct Servers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Servers {
    /// Starts them on all addresses of a namespace, IPv4 and IPv6.
    pub fn start(netns: &Netns) -> anyhow::Result<Self> {
        let any = Ipv6Addr::UNSPECIFIED;
        let listener = netns
            .run(|| TcpListener::bind((any, HTTP_PORT)))
            .context("cannot listen for HTTP")?;
        let echo = netns
            .run(|| UdpSocket::bind((any, ECHO_PORT)))
            .context("cannot listen for UDP")?;
        // A burst from every source at once must fit, or the lab would lose what cordon let pass.
        setsockopt(&echo, sockopt::RcvBufForce, &(8 << 20)).context("cannot enlarge a receive buffer")?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stop_http, stop_echo) = (Arc::clone(&stop), Arc::clone(&stop));
        let threads = vec![
            thread::spawn(move || serve_http(&listener, "edge", &stop_http)),
            thread::spawn(move || serve_echo(&echo, &stop_echo)),
        ];
        Ok(Self { stop, threads })
    }

    /// Starts one more HTTP server, on a port of its own. What it answers begins with `name`.
    pub fn start_http(netns: &Netns, port: u16, name: &'static str) -> anyhow::Result<Self> {
        let listener = netns
            .run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))
            .with_context(|| format!("cannot listen for HTTP on port {port}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stop_http = Arc::clone(&stop);
        let threads = vec![thread::spawn(move || serve_http(&listener, name, &stop_http))];
        Ok(Self { stop, threads })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A server that panicked has already said so.
            thread.join().ok();
        }
    }
}

fn serve_http(listener: &TcpListener, name: &'static str, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(TICK_MS)) != Ok(1) {
            continue;
        }
        if let Ok((stream, _)) = listener.accept() {
            // A thread each: a client whose request is dropped on the way must not hold up the others.
            thread::spawn(move || answer_http(stream, name));
        }
    }
}

/// Answers one request with the name and its own path. Errors end the connection, which the client notices.
fn answer_http(mut stream: TcpStream, name: &str) {
    stream.set_read_timeout(Some(REQUEST_TIMEOUT)).ok();
    let mut request = Vec::new();
    let mut chunk = [0; 512];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(n) => request.extend_from_slice(&chunk[..n]),
        }
    }
    let request = String::from_utf8_lossy(&request);
    let path = request.split(' ').nth(1).unwrap_or("/");
    let body = format!("{name} {path}\n");
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .ok();
}

fn serve_echo(socket: &UdpSocket, stop: &AtomicBool) {
    let tick = Duration::from_millis(TICK_MS.into());
    socket.set_read_timeout(Some(tick)).ok();
    let mut datagram = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((n, from)) = socket.recv_from(&mut datagram) {
            socket.send_to(&datagram[..n], from).ok();
        }
    }
}
