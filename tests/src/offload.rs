//! Offloads of an interface, by the kernel's own interface (`SIOCETHTOOL`, include/uapi/linux/ethtool.h).

use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, bail};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::netns::Netns;

/// `SIOCETHTOOL`, which libc does not name.
const SIOCETHTOOL: libc::Ioctl = 0x8946;
/// `ETHTOOL_SGRO`.
const ETHTOOL_SGRO: u32 = 0x2c;

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    cmd: u32,
    data: u32,
}

/// Switches generic receive offload of an interface. A veth end with it polls its queue, and so takes the frames
/// that an XDP program sends or redirects out of the other end.
pub fn set_gro(netns: &Netns, ifname: &str, is_on: bool) -> anyhow::Result<()> {
    if ifname.len() >= libc::IFNAMSIZ {
        bail!("{ifname} is no interface name: too long");
    }
    netns.run(|| {
        let fd = socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .context("cannot open a socket")?;
        let mut value = EthtoolValue {
            cmd: ETHTOOL_SGRO,
            data: is_on.into(),
        };
        // SAFETY: all zeroes is a valid `ifreq`: integers, arrays of them and a null pointer.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(ifname.bytes()) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        // SAFETY: the request and the value that it points to are of the types this call takes, and outlive it.
        let res = unsafe { libc::ioctl(fd.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        nix::errno::Errno::result(res)
            .map(drop)
            .with_context(|| format!("cannot switch receive offload of {ifname}"))
    })
}
