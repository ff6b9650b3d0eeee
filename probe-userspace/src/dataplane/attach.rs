//! Links: the entry program on an interface, by a pinned `bpf_link`, never by netlink.

use std::{io, path::Path};

use aya::programs::{ProgramError, Xdp, XdpError, XdpMode, links::FdLink, links::PinnedLink, xdp::XdpLink};

use super::{Attached, DataplaneError, Mode, pins::Pins, sys};
use crate::host::ModeChoice;

impl Mode {
    /// Name in output and pin names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Skb => "skb",
        }
    }

    /// The mode of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Native, Self::Skb]
            .into_iter()
            .find(|mode| mode.name() == name)
    }
}

/// Attaches the entry program. An interface that has a link already keeps it.
pub fn attach(
    pins: &Pins,
    entry: &mut Xdp,
    ifname: &str,
    choice: ModeChoice,
) -> Result<Attached, DataplaneError> {
    let ifindex = sys::interface_index(ifname).ok_or_else(|| DataplaneError::NoInterface {
        ifname: ifname.to_owned(),
    })?;
    if let Some(attached) = interfaces(pins)?
        .into_iter()
        .find(|attached| attached.ifindex == ifindex)
    {
        return Ok(attached);
    }
    let try_mode = |entry: &mut Xdp, mode: Mode| attach_in_mode(pins, entry, ifname, ifindex, mode);
    match choice {
        ModeChoice::Skb => try_mode(entry, Mode::Skb),
        ModeChoice::RequireNative => try_mode(entry, Mode::Native),
        ModeChoice::AllowSkb => match try_mode(entry, Mode::Native) {
            Err(DataplaneError::NoNative { .. }) => try_mode(entry, Mode::Skb),
            attached => attached,
        },
    }
}

fn attach_in_mode(
    pins: &Pins,
    entry: &mut Xdp,
    ifname: &str,
    ifindex: u32,
    mode: Mode,
) -> Result<Attached, DataplaneError> {
    let flags = match mode {
        Mode::Native => XdpMode::Driver,
        Mode::Skb => XdpMode::Skb,
    };
    let ifname = ifname.to_owned();
    let link_id = entry
        .attach_to_if_index(ifindex, flags)
        .map_err(|error| refused(&ifname, mode, error))?;
    let link = entry
        .take_link(link_id)
        .map_err(|error| DataplaneError::kernel("taking the link", &error))?;
    // aya attaches by netlink where the kernel refuses a link; dropping that attachment detaches it again.
    let link: FdLink = link.try_into().map_err(|_| DataplaneError::NoLink {
        ifname: ifname.clone(),
    })?;
    let path = pins.link(ifindex, mode);
    // A pin of the same name belongs to an interface that is gone: the kernel counts indexes up.
    let _ = std::fs::remove_file(&path);
    link.pin(&path)
        .map_err(|error| DataplaneError::kernel(format!("pinning the link of {ifname}"), &error))?;
    Ok(Attached {
        ifname,
        ifindex,
        mode,
        egress: None,
    })
}

/// Turns what the kernel says into what the operator can do about it.
fn refused(ifname: &str, mode: Mode, error: ProgramError) -> DataplaneError {
    let ifname = ifname.to_owned();
    let errno = match &error {
        ProgramError::SyscallError(syscall) => syscall.io_error.raw_os_error(),
        // A link was refused with EINVAL: aya then tried netlink, and this is netlink's answer.
        ProgramError::XdpError(XdpError::NetlinkError(netlink)) => {
            netlink.raw_os_error().or(Some(libc::EINVAL))
        }
        _ => None,
    };
    match errno {
        Some(libc::EBUSY | libc::EEXIST) => DataplaneError::ForeignProgram { ifname },
        // Some drivers answer EINVAL where others say that they have no native XDP, or not at this MTU; ENOSPC or
        // ENOMEM if too few queues are free for it.
        Some(errno @ (libc::EOPNOTSUPP | libc::ERANGE | libc::EINVAL | libc::ENOSPC | libc::ENOMEM))
            if mode == Mode::Native =>
        {
            DataplaneError::NoNative {
                ifname,
                error: io::Error::from_raw_os_error(errno),
            }
        }
        _ => DataplaneError::kernel(format!("attaching to {ifname}"), &error),
    }
}

/// The interfaces that have a pinned link; how leaving packets are seen is not said. One whose interface is gone has index 0 and the name of its pin.
pub fn interfaces(pins: &Pins) -> Result<Vec<Attached>, DataplaneError> {
    let mut found = Vec::new();
    for (path, mode) in pins.links() {
        let ifindex = link_ifindex(&path)?;
        let ifname = match sys::interface_name(ifindex) {
            Some(ifname) => ifname,
            None => path
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        };
        found.push(Attached {
            ifname,
            ifindex,
            mode,
            egress: None,
        });
    }
    found.sort_by(|a, b| a.ifname.cmp(&b.ifname));
    Ok(found)
}

/// Removes the pins of links whose interface is gone, and the link with it.
pub fn sweep_links(pins: &Pins) -> Result<(), DataplaneError> {
    for (path, _) in pins.links() {
        if link_ifindex(&path)? == 0 {
            std::fs::remove_file(&path)
                .map_err(|error| DataplaneError::kernel(format!("removing {}", path.display()), &error))?;
        }
    }
    Ok(())
}

/// Replaces the program of every link that runs another one, atomically for each: no packet goes unjudged.
pub fn update_links(pins: &Pins, entry: &mut Xdp) -> Result<(), DataplaneError> {
    let info = entry
        .info()
        .map_err(|error| DataplaneError::kernel("asking for the entry program", &error))?;
    for (path, _) in pins.links() {
        if link_info(&path)?.prog_id == info.id() {
            continue;
        }
        let failed = |error: &(dyn std::error::Error + 'static)| {
            DataplaneError::kernel(format!("updating {}", path.display()), error)
        };
        let link: FdLink = PinnedLink::from_pin(&path)
            .map_err(|error| failed(&error))?
            .into();
        let link = XdpLink::try_from(link).map_err(|error| failed(&error))?;
        let link_id = entry.attach_to_link(link).map_err(|error| failed(&error))?;
        // Hand the descriptor back so that it is closed: the pin keeps the link.
        let link = entry.take_link(link_id).map_err(|error| failed(&error))?;
        drop(FdLink::try_from(link));
    }
    Ok(())
}

/// Detaches a pinned link and removes its pin. When this returns, the program is off the interface: the kernel
/// lets go of a link whose last pin is removed only some time later, and until then packets would meet a program
/// whose maps are gone.
pub fn remove_link(path: &Path) -> Result<(), DataplaneError> {
    use std::os::fd::AsFd as _;
    sys::open_pin(path)
        .and_then(|link| sys::detach_link(link.as_fd()))
        .map_err(|error| DataplaneError::kernel(format!("detaching {}", path.display()), &error))?;
    std::fs::remove_file(path)
        .map_err(|error| DataplaneError::kernel(format!("removing {}", path.display()), &error))
}

/// Interface of a pinned link; 0 if it is gone.
pub fn link_ifindex(path: &Path) -> Result<u32, DataplaneError> {
    link_info(path).map(|info| info.ifindex)
}

/// What the kernel says about a pinned link.
pub fn link_info(path: &Path) -> Result<sys::LinkInfo, DataplaneError> {
    use std::os::fd::AsFd as _;
    sys::open_pin(path)
        .and_then(|link| sys::link_info(link.as_fd()))
        .map_err(|error| DataplaneError::kernel(format!("reading {}", path.display()), &error))
}
