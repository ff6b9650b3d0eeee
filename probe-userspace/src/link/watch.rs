//! Waiting for changes of interfaces and addresses.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, SockFlag, recv},
};
use tokio::io::unix::AsyncFd;

use super::netlink;

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV6_IFADDR` (include/uapi/linux/rtnetlink.h).
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// Wakes up when an interface or an address of this network namespace changes. What changed is not told: a
/// [`super::snapshot`] taken afterwards says how things are, also when messages were lost.
#[derive(Debug)]
pub struct Watch {
    socket: AsyncFd<OwnedFd>,
}

impl Watch {
    /// Begins to listen; within a tokio runtime. Changes from now on are not missed.
    #[expect(
        deprecated,
        reason = "an OwnedFd keeps its descriptor open, which is what `register` would have unsafe code promise"
    )]
    pub fn new() -> io::Result<Self> {
        let socket = netlink::open(SockFlag::SOCK_NONBLOCK, GROUPS)?;
        Ok(Self {
            socket: AsyncFd::new(socket)?,
        })
    }

    /// Returns after the next change, or at once if something changed since the last call. All that is waiting is
    /// taken as one change.
    pub async fn changed(&self) -> io::Result<()> {
        let mut ready = self.socket.readable().await?;
        let mut buffer = [0; 4096];
        loop {
            // What does not fit into the buffer is cut off by the kernel: nothing is read from it.
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(_) | Err(Errno::EINTR) => {}
                // Messages were lost: that is a change too.
                Err(Errno::ENOBUFS) => {}
                Err(Errno::EAGAIN) => {
                    ready.clear_ready();
                    return Ok(());
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
