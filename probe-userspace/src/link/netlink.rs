//! Dumps by rtnetlink.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use netlink_packet_core::{
    ErrorBuffer, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};

/// `RTM_NEWLINK` and its request (include/uapi/linux/rtnetlink.h).
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
/// The same for addresses.
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;

const HEADER_LEN: usize = 16;
/// The kernel sends at most 32 KiB at a time (`netlink_dump` in net/netlink/af_netlink.c).
const BUFFER_LEN: usize = 64 << 10;
/// How often to ask again if the table changed while it was read.
const MAX_TRIES: usize = 8;

/// The same for neighbours.
const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// Interfaces.
    Links,
    /// Addresses of all interfaces, IPv4 and IPv6.
    Addresses,
    /// Neighbours on all interfaces.
    Neighbours,
}

/// A route netlink socket that hears these multicast groups (`RTMGRP_*`).
pub(super) fn open(flags: SockFlag, groups: u32) -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        flags | SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(socket)
}

/// `RTM_GETSTATS`, and `IFLA_STATS_LINK_64` as its filter asks for it (include/uapi/linux/if_link.h).
const GET_STATS: u16 = 94;
const LINK_64: u32 = 1;

/// The answer to a question for the statistics of an interface, behind its netlink header.
pub(super) fn stats(ifindex: u32) -> io::Result<Vec<u8>> {
    let socket = open(SockFlag::empty(), 0)?;
    // Behind the header: `if_stats_msg`, four bytes of zeroes, index and filter.
    let mut message = vec![0; HEADER_LEN + 12];
    let len = message.len() as u32;
    let mut header = NetlinkBuffer::new(&mut message[..]);
    header.set_length(len);
    header.set_message_type(GET_STATS);
    header.set_flags(NLM_F_REQUEST);
    message[HEADER_LEN + 4..HEADER_LEN + 8].copy_from_slice(&ifindex.to_ne_bytes());
    message[HEADER_LEN + 8..].copy_from_slice(&LINK_64.to_ne_bytes());
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;
    let mut buffer = vec![0; 4096];
    let n = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
    let answer = NetlinkBuffer::new_checked(&buffer[..n]).map_err(|error| malformed(&error.to_string()))?;
    match answer.message_type() {
        NLMSG_ERROR => Err(error_of(answer.payload())),
        _ => Ok(answer.payload().to_vec()),
    }
}

/// The bodies of all messages of a table, behind their netlink headers. A table that changes while it is read is
/// read again.
pub(super) fn dump(table: Table) -> io::Result<Vec<Vec<u8>>> {
    for _ in 1..MAX_TRIES {
        if let Some(bodies) = dump_once(table)? {
            return Ok(bodies);
        }
    }
    Err(io::Error::other(
        "the interfaces change faster than they can be read",
    ))
}

/// `None`: the table changed on the way.
fn dump_once(table: Table) -> io::Result<Option<Vec<Vec<u8>>>> {
    let socket = open(SockFlag::empty(), 0)?;
    // Behind the header: `ifinfomsg`, `ifaddrmsg` or `ndmsg`, all zero.
    let (request, answer, body_len) = match table {
        Table::Links => (GET_LINK, NEW_LINK, 16),
        Table::Addresses => (GET_ADDRESS, NEW_ADDRESS, 8),
        Table::Neighbours => (GET_NEIGHBOUR, NEW_NEIGHBOUR, 12),
    };
    let mut message = vec![0; HEADER_LEN + body_len];
    let mut header = NetlinkBuffer::new(&mut message[..]);
    header.set_length((HEADER_LEN + body_len) as u32);
    header.set_message_type(request);
    header.set_flags(NLM_F_REQUEST | NLM_F_DUMP);
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;

    let mut bodies = Vec::new();
    let mut is_whole = true;
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let n = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC)?;
        let mut rest = buffer.get(..n).ok_or_else(|| malformed("too long"))?;
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).map_err(|error| malformed(&error.to_string()))?;
            is_whole &= message.flags() & NLM_F_DUMP_INTR == 0;
            match message.message_type() {
                NLMSG_DONE => return Ok(is_whole.then_some(bodies)),
                NLMSG_ERROR => return Err(error_of(message.payload())),
                kind if kind == answer => bodies.push(message.payload().to_vec()),
                _ => {}
            }
            // Messages are aligned to four bytes.
            let len = (message.length() as usize).next_multiple_of(4);
            rest = rest.get(len..).unwrap_or_default();
        }
    }
}

fn error_of(payload: &[u8]) -> io::Error {
    match ErrorBuffer::new_checked(payload) {
        Ok(error) => match error.code() {
            Some(code) => io::Error::from_raw_os_error(code.get().saturating_neg()),
            None => malformed("an acknowledgement"),
        },
        Err(error) => malformed(&error.to_string()),
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the kernel's answer about interfaces cannot be read: {what}"),
    )
}
