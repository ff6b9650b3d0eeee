//! What the driver of an interface says about itself, by the ioctl of ethtool. The only unsafe code outside
//! `dataplane/sys.rs` and the clock: netlink's ethtool family is newer than some supported kernels.

use std::{
    ffi::c_void,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// `ETHTOOL_GFLAGS`, `ETHTOOL_GCHANNELS` (include/uapi/linux/ethtool.h).
const GET_FLAGS: u32 = 0x25;
const GET_CHANNELS: u32 = 0x3c;
/// `ETH_FLAG_RXVLAN`, `ETH_FLAG_LRO`.
const RX_VLAN: u32 = 1 << 8;
const LRO: u32 = 1 << 15;
/// `SIOCETHTOOL` (include/uapi/linux/sockios.h).
const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// Settings of a driver that matter to XDP. What it does not say is `false` or `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Large receive offload: frames are merged before XDP could see them.
    pub lro: bool,
    /// VLAN tags are taken off before XDP could see them.
    pub rx_vlan: bool,
    /// Channels in use and the most there can be.
    pub channels: Option<(u32, u32)>,
}

/// Asks the driver of an interface.
pub fn features(ifname: &str) -> io::Result<Features> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let mut flags = [GET_FLAGS, 0];
    // A driver without the request: nothing is switched on.
    let flags = ask(&socket, ifname, &mut flags).map_or(0, |()| flags[1]);
    // cmd, max_rx, max_tx, max_other, max_combined, rx, tx, other, combined
    let mut channels = [GET_CHANNELS, 0, 0, 0, 0, 0, 0, 0, 0];
    let channels = ask(&socket, ifname, &mut channels)
        .ok()
        .map(|()| (channels[5].max(channels[6]) + channels[8], channels[4]));
    Ok(Features {
        lro: flags & LRO != 0,
        rx_vlan: flags & RX_VLAN != 0,
        channels,
    })
}

fn ask<const N: usize>(socket: &OwnedFd, ifname: &str, request: &mut [u32; N]) -> io::Result<()> {
    // SAFETY: `ifreq` is made of integers and a union of integers and pointers: all zeroes is a value of it.
    let mut ifreq: libc::ifreq = unsafe { std::mem::zeroed() };
    if ifname.len() >= ifreq.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in ifreq.ifr_name.iter_mut().zip(ifname.bytes()) {
        *to = from as libc::c_char;
    }
    ifreq.ifr_ifru.ifru_data = request.as_mut_ptr().cast::<c_void>().cast();
    // SAFETY: the name ends with a zero, and `request` has the size of the structure that its first word, the
    // command, asks for; both live until the call returns.
    let res = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut ifreq) };
    match res {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_has_no_features() {
        assert_eq!(features("no-such-if").unwrap(), Features::default());
        assert!(features("a-name-that-is-far-too-long").unwrap() == Features::default());
    }
}
