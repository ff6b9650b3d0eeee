//! Raw Ethernet frames: built, sent from one end of the veth pair and seen arriving at the other.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use etherparse::PacketBuilder;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, send, setsockopt, socket, sockopt,
    },
};

use crate::{
    lab::{EDGE_MAC, INTERNET_MAC, edge_address},
    netns::Netns,
};

/// A UDP frame from an address to a port of the edge, as the internet sends it.
pub fn udp_frame(source: IpAddr, port: u16, payload: &[u8]) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(INTERNET_MAC, EDGE_MAC);
    let packet = match (source, edge_address(source)) {
        (IpAddr::V4(source), IpAddr::V4(edge)) => ethernet.ipv4(source.octets(), edge.octets(), 64),
        (IpAddr::V6(source), IpAddr::V6(edge)) => ethernet.ipv6(source.octets(), edge.octets(), 64),
        _ => unreachable!("the edge's address is of the family of the source"),
    };
    let packet = packet.udp(40_000, port);
    let mut frame = Vec::with_capacity(packet.size(payload.len()));
    packet.write(&mut frame, payload).expect("writing to a vector");
    frame
}

/// A frame with a TCP SYN from an address to a port of the edge.
pub fn tcp_syn_frame(source: IpAddr, port: u16) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(INTERNET_MAC, EDGE_MAC);
    let packet = match (source, edge_address(source)) {
        (IpAddr::V4(source), IpAddr::V4(edge)) => ethernet.ipv4(source.octets(), edge.octets(), 64),
        (IpAddr::V6(source), IpAddr::V6(edge)) => ethernet.ipv6(source.octets(), edge.octets(), 64),
        _ => unreachable!("the edge's address is of the family of the source"),
    };
    let packet = packet.tcp(40_000, port, 1, 64_000).syn();
    let mut frame = Vec::with_capacity(packet.size(0));
    packet.write(&mut frame, &[]).expect("writing to a vector");
    frame
}

/// Puts VLAN tags into a frame, the outermost first: (tag protocol, VLAN id).
pub fn with_vlan_tags(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    let mut tagged = addresses.to_vec();
    for (tag_protocol, vlan_id) in tags {
        tagged.extend_from_slice(&tag_protocol.to_be_bytes());
        tagged.extend_from_slice(&vlan_id.to_be_bytes());
    }
    tagged.extend_from_slice(rest);
    tagged
}

/// A frame of any EtherType from the internet to the edge.
pub fn ethernet_frame(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [EDGE_MAC, INTERNET_MAC].concat();
    frame.extend_from_slice(&ether_type.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// An AF_PACKET socket: sends frames out of an interface, and sees the frames that arrive on it, after XDP.
#[derive(Debug)]
pub struct FrameSocket {
    fd: OwnedFd,
}

impl FrameSocket {
    /// Opens a socket on an interface of a namespace.
    pub fn open(netns: &Netns, ifname: &str) -> anyhow::Result<Self> {
        netns.run(|| {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let fd = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)
                .context("cannot open a packet socket: is this root?")?;
            setsockopt(&fd, sockopt::RcvBufForce, &(16 << 20)).context("cannot enlarge a receive buffer")?;
            let ifindex = nix::net::if_::if_nametoindex(ifname)
                .with_context(|| format!("cannot find the interface {ifname}"))?;
            bind_to_interface(&fd, ifindex).with_context(|| format!("cannot bind to {ifname}"))?;
            Ok(Self { fd })
        })
    }

    /// Sends one frame; waits while the queue is full.
    pub fn send(&self, frame: &[u8]) -> anyhow::Result<()> {
        loop {
            match send(self.fd.as_raw_fd(), frame, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(nix::Error::EAGAIN | nix::Error::ENOBUFS) => std::thread::yield_now(),
                Err(errno) => return Err(errno).context("cannot send a frame"),
            }
        }
    }

    /// Tries to send one frame; whether it left. It does not if the queue is full, or if a program on the way out drops it.
    pub fn offer(&self, frame: &[u8]) -> anyhow::Result<bool> {
        match send(self.fd.as_raw_fd(), frame, MsgFlags::empty()) {
            Ok(_) => Ok(true),
            Err(nix::Error::EAGAIN | nix::Error::ENOBUFS) => Ok(false),
            Err(errno) => Err(errno).context("cannot send a frame"),
        }
    }

    /// Frames that arrived within a time from now, those this host sent excepted, up to `n_wanted`.
    pub fn receive(&self, n_wanted: usize, patience: Duration) -> anyhow::Result<Vec<Vec<u8>>> {
        let deadline = Instant::now() + patience;
        let mut frames = Vec::new();
        let mut buffer = vec![0; 65_536];
        while frames.len() < n_wanted {
            match self.receive_one(&mut buffer) {
                Ok(Some(n)) => frames.push(buffer[..n].to_vec()),
                Ok(None) => {}
                Err(nix::Error::EAGAIN) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let left_ms = u16::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
                    let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
                    if poll(&mut fds, PollTimeout::from(left_ms)).context("poll failed")? == 0 {
                        break;
                    }
                }
                Err(errno) => return Err(errno).context("cannot receive a frame"),
            }
        }
        Ok(frames)
    }

    /// One frame; `None` if it was one that this host sent.
    fn receive_one(&self, buffer: &mut [u8]) -> nix::Result<Option<usize>> {
        let mut from = empty_link_address();
        let mut from_len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: buffer and address are valid for the lengths given, and outlive the call.
        let n = unsafe {
            libc::recvfrom(
                self.fd.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
                (&raw mut from).cast(),
                &raw mut from_len,
            )
        };
        let n = nix::errno::Errno::result(n)?;
        Ok((from.sll_pkttype != libc::PACKET_OUTGOING).then_some(n as usize))
    }
}

fn empty_link_address() -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: 0,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}

fn bind_to_interface(fd: &OwnedFd, ifindex: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_ifindex: i32::try_from(ifindex).map_err(io::Error::other)?,
        ..empty_link_address()
    };
    // SAFETY: the address is a valid `sockaddr_ll` of the length given, and outlives the call.
    let bound = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    nix::errno::Errno::result(bound)?;
    Ok(())
}
