//! Probes: one question to the edge from a given source address, by TCP, UDP or ping, and whether an answer
//! came back.

use std::{
    fmt,
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect, socket},
};

use crate::{
    lab::edge_address,
    servers::{ECHO_PORT, HTTP_PORT},
};

/// How long to wait for answers, once for each attempt. Only what got no answer is tried again. The last one
/// is long because a probe that is called blocked while its answer is under way would be a false alarm; all
/// end before TCP sends its SYN a second time.
const WINDOWS: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(600)];

/// Most probes under way at once: veth queues hold 256 packets.
const MAX_IN_FLIGHT: usize = 96;

/// How a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP connection and HTTP GET.
    Tcp,
    /// UDP echo.
    Udp,
    /// ICMP or ICMPv6 echo.
    Ping,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Ping];

    /// The name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Ping => "ping",
        }
    }
}

/// One question to the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Probe {
    /// Where it comes from.
    pub source: IpAddr,
    /// How it asks.
    pub protocol: Protocol,
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The right answer came back.
    Passed,
    /// Nothing came back.
    Blocked,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "pass",
            Self::Blocked => "drop",
        })
    }
}

/// What came of probing from one source by every protocol, in the order of [`Protocol::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    outcomes: [Outcome; Protocol::ALL.len()],
}

impl Reach {
    /// The outcomes of one source.
    pub(crate) fn new(outcomes: &[Outcome]) -> Self {
        Self {
            outcomes: std::array::from_fn(|idx| outcomes[idx]),
        }
    }

    /// The outcome, if it is the same for every protocol.
    pub fn uniform(&self) -> Option<Outcome> {
        let [first, ..] = self.outcomes;
        self.outcomes
            .iter()
            .all(|outcome| *outcome == first)
            .then_some(first)
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uniform() {
            Some(outcome) => outcome.fmt(f),
            None => {
                let each = Protocol::ALL.iter().zip(self.outcomes);
                let each: Vec<String> = each
                    .map(|(protocol, outcome)| format!("{} {outcome}", protocol.name()))
                    .collect();
                f.pad(&each.join(", "))
            }
        }
    }
}

/// Sends the probes from the namespace of the calling thread, in batches, and waits for the answers.
pub(crate) fn run(probes: &[Probe]) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = vec![Outcome::Blocked; probes.len()];
    for window in WINDOWS {
        let open: Vec<usize> = (0..probes.len())
            .filter(|idx| outcomes[*idx] == Outcome::Blocked)
            .collect();
        for batch in open.chunks(MAX_IN_FLIGHT) {
            for idx in attempt(probes, batch, window)? {
                outcomes[idx] = Outcome::Passed;
            }
        }
    }
    Ok(outcomes)
}

/// Sends a batch once; returns those that were answered.
fn attempt(probes: &[Probe], batch: &[usize], window: Duration) -> anyhow::Result<Vec<usize>> {
    let mut waiting = Vec::with_capacity(batch.len());
    for idx in batch {
        let probe = probes[*idx];
        let conversation = Conversation::open(probe).with_context(|| describe(probe))?;
        waiting.push((*idx, conversation));
    }
    let mut answered = Vec::new();
    let deadline = Instant::now() + window;
    while !waiting.is_empty() {
        // Rounded up: a timeout of 0 ms would spin, and the last answers deserve their last look.
        let left = deadline.saturating_duration_since(Instant::now());
        let left_ms = u16::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        let mut fds: Vec<PollFd<'_>> = waiting
            .iter()
            .map(|(_, conversation)| PollFd::new(conversation.as_fd(), conversation.awaited()))
            .collect();
        match poll(&mut fds, PollTimeout::from(left_ms)) {
            Ok(0) => break,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("poll failed"),
        }
        let ready: Vec<bool> = fds
            .iter()
            .map(|fd| fd.revents().is_some_and(|events| !events.is_empty()))
            .collect();
        let mut still_waiting = Vec::with_capacity(waiting.len());
        for ((idx, mut conversation), is_ready) in waiting.into_iter().zip(ready) {
            if is_ready && conversation.proceed().with_context(|| describe(probes[idx]))? {
                answered.push(idx);
            } else {
                still_waiting.push((idx, conversation));
            }
        }
        waiting = still_waiting;
    }
    Ok(answered)
}

fn describe(probe: Probe) -> String {
    format!("{} probe from {} failed", probe.protocol.name(), probe.source)
}

/// A probe under way.
enum Conversation {
    Stream {
        stream: TcpStream,
        /// What is still to be sent; `None` once it was.
        request: Option<String>,
        expected: String,
        answer: Vec<u8>,
    },
    Datagram {
        socket: UdpSocket,
        /// The answer ends with it.
        nonce: [u8; 8],
    },
}

impl AsFd for Conversation {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stream { stream, .. } => stream.as_fd(),
            Self::Datagram { socket, .. } => socket.as_fd(),
        }
    }
}

impl Conversation {
    fn open(probe: Probe) -> io::Result<Self> {
        static N_SENT: AtomicU64 = AtomicU64::new(0);
        let nonce = N_SENT.fetch_add(1, Ordering::Relaxed);
        match probe.protocol {
            Protocol::Tcp => Ok(Self::Stream {
                stream: open_socket(probe.source, SockType::Stream, None, HTTP_PORT)?.into(),
                request: Some(format!(
                    "GET /{nonce} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n"
                )),
                expected: format!("edge /{nonce}\n"),
                answer: Vec::new(),
            }),
            Protocol::Udp => {
                let nonce = nonce.to_be_bytes();
                let socket: UdpSocket =
                    open_socket(probe.source, SockType::Datagram, None, ECHO_PORT)?.into();
                socket.send(&nonce)?;
                Ok(Self::Datagram { socket, nonce })
            }
            Protocol::Ping => {
                let nonce = nonce.to_be_bytes();
                let (protocol, echo_request) = match probe.source {
                    IpAddr::V4(_) => (SockProtocol::Icmp, 8),
                    IpAddr::V6(_) => (SockProtocol::IcmpV6, 128),
                };
                let socket: UdpSocket =
                    open_socket(probe.source, SockType::Datagram, Some(protocol), 0)?.into();
                // Type, code, checksum, identifier, sequence number; the kernel fills in what is zero.
                let mut message = vec![echo_request, 0, 0, 0, 0, 0, 0, 1];
                message.extend_from_slice(&nonce);
                socket.send(&message)?;
                Ok(Self::Datagram { socket, nonce })
            }
        }
    }

    fn awaited(&self) -> PollFlags {
        match self {
            Self::Stream { request: Some(_), .. } => PollFlags::POLLOUT,
            Self::Stream { request: None, .. } | Self::Datagram { .. } => PollFlags::POLLIN,
        }
    }

    /// Takes the next step; `true` when the right answer is there. Any other answer is an error: the lab would
    /// not be what it should be.
    fn proceed(&mut self) -> io::Result<bool> {
        match self {
            Self::Stream {
                stream,
                request,
                expected,
                answer,
            } => {
                if let Some(request) = request.take() {
                    if let Some(error) = stream.take_error()? {
                        return Err(error);
                    }
                    stream.write_all(request.as_bytes())?;
                    return Ok(false);
                }
                let mut chunk = [0; 1024];
                match stream.read(&mut chunk) {
                    Ok(0) if answer.ends_with(expected.as_bytes()) => Ok(true),
                    Ok(0) => Err(wrong_answer(answer)),
                    Ok(n) => {
                        answer.extend_from_slice(&chunk[..n]);
                        Ok(answer.ends_with(expected.as_bytes()))
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                    Err(error) => Err(error),
                }
            }
            Self::Datagram { socket, nonce } => {
                let mut answer = [0; 1024];
                match socket.recv(&mut answer) {
                    Ok(n) if answer[..n].ends_with(nonce) => Ok(true),
                    Ok(n) => Err(wrong_answer(&answer[..n])),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

fn wrong_answer(answer: &[u8]) -> io::Error {
    io::Error::other(format!(
        "the answer is not the expected one: {}",
        answer.escape_ascii()
    ))
}

/// A non-blocking socket from a source address to a port of the edge; TCP is connecting.
pub(crate) fn open_socket(
    source: IpAddr,
    kind: SockType,
    protocol: Option<SockProtocol>,
    port: u16,
) -> io::Result<OwnedFd> {
    let family = match source {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(family, kind, flags, protocol)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
    let edge = SocketAddr::new(edge_address(source), port);
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(edge)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(fd),
        Err(errno) => Err(errno.into()),
    }
}
