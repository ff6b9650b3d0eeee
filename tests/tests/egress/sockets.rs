use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use integration_tests::netns::Netns;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

/// How long an answer may take: on a veth pair it is there within a millisecond, or never.
const PATIENCE: Duration = Duration::from_millis(800);
const TICK: Duration = Duration::from_millis(50);

/// A UDP server on one address that sends back what it gets; dropping it ends it.
pub struct Answerer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Answerer {
    /// Binds explicitly, as a server does.
    pub fn start(netns: &Netns, address: SocketAddr) -> Self {
        let socket = netns.run(|| UdpSocket::bind(address)).unwrap();
        socket.set_read_timeout(Some(TICK)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut datagram = [0; 512];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((n, from)) = socket.recv_from(&mut datagram) {
                    socket.send_to(&datagram[..n], from).ok();
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Opens a TCP connection.
pub fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&to, PATIENCE)
}

/// Fetches a page.
pub fn fetch(from: SocketAddr) -> io::Result<()> {
    let mut stream = connect(from)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /page HTTP/1.1\r\nHost: there\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.ends_with("edge /page\n") {
        true => Ok(()),
        false => Err(io::Error::other(answer)),
    }
}

/// A UDP socket that is connected to its server.
pub fn open_connected(to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((unspecified(to.ip()), 0))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// A UDP client on an address and port of a namespace, connected to a server.
pub fn client(netns: &Netns, from: SocketAddr, to: SocketAddr) -> UdpSocket {
    let socket = netns.run(|| UdpSocket::bind(from)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// One question and its answer over a connected socket.
pub fn exchange(socket: &UdpSocket) -> io::Result<()> {
    socket.send(b"what time is it")?;
    let mut answer = [0; 512];
    let n = socket.recv(&mut answer)?;
    match &answer[..n] {
        b"what time is it" => Ok(()),
        other => Err(io::Error::other(other.escape_ascii().to_string())),
    }
}

/// Asks as DNS resolvers and NTP clients do: from a socket that is connected.
pub fn ask_connected(to: SocketAddr) -> io::Result<()> {
    exchange(&open_connected(to)?)
}

/// Asks from a socket that is not connected, from a port of the kernel's choice.
pub fn ask_unconnected(to: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind((unspecified(to.ip()), 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(b"anybody there", to)?;
    let mut answer = [0; 512];
    let (n, from) = socket.recv_from(&mut answer)?;
    match (&answer[..n], from == to) {
        (b"anybody there", true) => Ok(()),
        (other, _) => Err(io::Error::other(other.escape_ascii().to_string())),
    }
}

/// Pings from an ordinary ping socket.
pub fn ping(to: IpAddr) -> io::Result<()> {
    let (family, protocol, echo_request) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, 8),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, 128),
    };
    let socket: UdpSocket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)?.into();
    socket.connect(SocketAddr::new(to, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // Type, code, checksum, identifier, sequence number; the kernel fills in what is zero.
    let message = [&[echo_request, 0, 0, 0, 0, 0, 0, 1], &b"ping"[..]].concat();
    socket.send(&message)?;
    let mut answer = [0; 512];
    let n = socket.recv(&mut answer)?;
    match answer[..n].ends_with(b"ping") {
        true => Ok(()),
        false => Err(io::Error::other(answer[..n].escape_ascii().to_string())),
    }
}

fn unspecified(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Frames that nobody asked for.
pub mod forged {
    use std::{net::SocketAddr, time::Duration};

    use etherparse::PacketBuilder;
    use integration_tests::{
        frames::FrameSocket,
        lab::{EDGE_IFNAME, EDGE_MAC, INTERNET_IFNAME, INTERNET_MAC, Lab},
    };

    const PATIENCE: Duration = Duration::from_millis(400);

    /// The second packet of a TCP connection.
    pub fn syn_ack(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
        let packet = ip(from, to).tcp(from.port(), to.port(), 1, 64_000).syn().ack(1);
        let mut frame = Vec::new();
        packet.write(&mut frame, b"").unwrap();
        frame
    }

    /// The first one.
    pub fn syn(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
        let packet = ip(from, to).tcp(from.port(), to.port(), 1, 64_000).syn();
        let mut frame = Vec::new();
        packet.write(&mut frame, b"").unwrap();
        frame
    }

    /// The same frame within a PPPoE session (RFC 2516).
    pub fn in_session(frame: &[u8]) -> Vec<u8> {
        const TYPE_CODE_SESSION: [u8; 4] = [0x11, 0, 0, 7];
        let (addresses, packet) = (&frame[..12], &frame[14..]);
        let length = u16::try_from(packet.len() + 2).unwrap().to_be_bytes();
        [
            addresses,
            &[0x88, 0x64],
            &TYPE_CODE_SESSION,
            &length,
            &[0x00, 0x21],
            packet,
        ]
        .concat()
    }

    /// A UDP datagram.
    pub fn udp(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
        let packet = ip(from, to).udp(from.port(), to.port());
        let mut frame = Vec::new();
        packet.write(&mut frame, b"forged").unwrap();
        frame
    }

    fn ip(from: SocketAddr, to: SocketAddr) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else {
            unreachable!("the forged frames are IPv4")
        };
        PacketBuilder::ethernet2(INTERNET_MAC, EDGE_MAC).ipv4(from.ip().octets(), to.ip().octets(), 64)
    }

    /// Sends frames from the internet; whether each got through XDP on the edge.
    pub fn arrived(lab: &Lab, frames: &[Vec<u8>]) -> Vec<bool> {
        let sender = FrameSocket::open(&lab.internet, INTERNET_IFNAME).unwrap();
        let receiver = FrameSocket::open(&lab.edge, EDGE_IFNAME).unwrap();
        for frame in frames {
            sender.send(frame).unwrap();
        }
        let seen = receiver.receive(10_000, PATIENCE).unwrap();
        frames.iter().map(|frame| seen.contains(frame)).collect()
    }
}
