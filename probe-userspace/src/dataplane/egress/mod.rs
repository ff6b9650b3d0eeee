//! The egress program: on every interface that packets are judged on, while a generation in force asks for it.
//!
//! It is attached by a pinned tcx link where the kernel has them (Linux 6.6), which nobody can replace. Otherwise it
//! is a filter on the clsact qdisc, which outlives the process without a link; a directory in the pin directory
//! says that it is there.

mod btf;
mod clsact;
mod socket;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    maps::MapInfo,
    programs::{
        LinkOrder, ProgramError, RawTracePoint, SchedClassifier, TcAttachType,
        links::{FdLink, PinnedLink},
        tc::{SchedClassifierLink, TcAttachOptions},
    },
};
use probe_common::map_name::{self, global, program};

use super::{DataplaneError, attach, object::Loaders, pins::Pins, sys};
use crate::host::EgressHook;

/// The programs that count what redirects lose, and their tracepoints.
const TRACEPOINTS: [(&str, &str); 2] = [
    (program::REDIRECT_ERRORS, "xdp_devmap_xmit"),
    (program::REDIRECT_REFUSED, "xdp_redirect_err"),
];

/// How the program is attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A tcx link.
    Tcx,
    /// A filter of this priority on clsact.
    Clsact(u16),
}

impl Hook {
    /// Name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact(_) => "clsact",
        }
    }
}

/// An interface that the program is attached to.
#[derive(Clone, Debug)]
pub struct Hooked {
    /// Index.
    pub ifindex: u32,
    /// How.
    pub hook: Hook,
    /// The pinned link, or the directory that stands for the filter.
    path: PathBuf,
}

/// The egress object. It is loaded when it is first needed.
pub struct Egress {
    choice: EgressHook,
    object: Option<Ebpf>,
    /// Whether the links on the tracepoints are this process's.
    is_counting: bool,
}

impl Egress {
    /// Nothing loaded yet.
    pub fn new(choice: EgressHook) -> Self {
        Self {
            choice,
            object: None,
            is_counting: false,
        }
    }

    /// Attaches to an interface, unless it is attached already.
    pub fn attach(&mut self, loaders: &mut Loaders, pins: &Pins, ifindex: u32) -> Result<(), DataplaneError> {
        let ifname = sys::interface_name(ifindex).ok_or_else(|| DataplaneError::NoInterface {
            ifname: format!("if{ifindex}"),
        })?;
        let choice = self.choice;
        let hooked = hooked(pins).into_iter().find(|hooked| hooked.ifindex == ifindex);
        let program = self.program(loaders, pins)?;
        match (hooked.map(|hooked| hooked.hook), choice) {
            (Some(Hook::Tcx), _) => Ok(()),
            // Anyone may have deleted the filter meanwhile.
            (Some(Hook::Clsact(_)), _) | (None, EgressHook::Clsact) => {
                attach_clsact(pins, program, &ifname, ifindex)
            }
            (None, EgressHook::Tcx) => attach_tcx(pins, program, &ifname, ifindex),
            (None, EgressHook::Auto) => match attach_tcx(pins, program, &ifname, ifindex) {
                Err(DataplaneError::NoEgress { .. }) => attach_clsact(pins, program, &ifname, ifindex),
                attached => attached,
            },
        }
    }

    /// Replaces the program everywhere by this binary's own, atomically for each interface.
    pub fn update(&mut self, loaders: &mut Loaders, pins: &Pins) -> Result<(), DataplaneError> {
        for Hooked { ifindex, hook, path } in hooked(pins) {
            let Some(ifname) = sys::interface_name(ifindex) else {
                continue;
            };
            let program = self.program(loaders, pins)?;
            let failed = |error: &(dyn std::error::Error + 'static)| {
                DataplaneError::kernel(format!("updating {}", path.display()), error)
            };
            let id = program.info().map_err(|error| failed(&error))?.id();
            match hook {
                Hook::Clsact(_) => attach_clsact(pins, program, &ifname, ifindex)?,
                Hook::Tcx if attach::link_info(&path)?.prog_id == id => {}
                Hook::Tcx => {
                    let link: FdLink = PinnedLink::from_pin(&path)
                        .map_err(|error| failed(&error))?
                        .into();
                    let link = SchedClassifierLink::try_from(link).map_err(|error| failed(&error))?;
                    let link_id = program.attach_to_link(link).map_err(|error| failed(&error))?;
                    // Hand the descriptor back so that it is closed: the pin keeps the link.
                    let link = program.take_link(link_id).map_err(|error| failed(&error))?;
                    drop(FdLink::try_from(link));
                }
            }
        }
        Ok(())
    }

    /// What the verifier went through, if the program was loaded by this process.
    pub fn verified_instructions(&self) -> Option<Option<u32>> {
        let program = self.object.as_ref()?.program(program::EGRESS)?;
        let info = program.info().ok()?;
        Some(info.verified_instruction_count())
    }

    /// Counts from now on what redirects lose, whether this process lives or not, in place of what an earlier process
    /// does.
    pub fn count_redirect_errors(
        &mut self,
        loaders: &mut Loaders,
        pins: &Pins,
    ) -> Result<(), DataplaneError> {
        if self.is_counting && is_counting(pins) {
            return Ok(());
        }
        let object = self.object(loaders, pins)?;
        for (name, tracepoint) in TRACEPOINTS {
            let failed = |error: &(dyn std::error::Error + 'static)| {
                DataplaneError::kernel(format!("attaching to the tracepoint {tracepoint}"), error)
            };
            let counting = object
                .program_mut(name)
                .ok_or_else(|| DataplaneError::missing(name))?;
            let counting: &mut RawTracePoint = counting
                .try_into()
                .map_err(|error: ProgramError| failed(&error))?;
            if counting.fd().is_err() {
                counting.load().map_err(|error| failed(&error))?;
            }
            let link_id = counting.attach(tracepoint).map_err(|error| failed(&error))?;
            let link = counting.take_link(link_id).map_err(|error| failed(&error))?;
            remove_pin(&pins.tracepoint(tracepoint))?;
            FdLink::from(link)
                .pin(pins.tracepoint(tracepoint))
                .map_err(|error| failed(&error))?;
        }
        self.is_counting = true;
        Ok(())
    }

    fn program(
        &mut self,
        loaders: &mut Loaders,
        pins: &Pins,
    ) -> Result<&mut SchedClassifier, DataplaneError> {
        let name = program::EGRESS;
        let failed = |error: &(dyn std::error::Error + 'static)| {
            DataplaneError::kernel("loading the egress program", error)
        };
        let object = self.object(loaders, pins)?;
        let egress = object
            .program_mut(name)
            .ok_or_else(|| DataplaneError::missing(name))?;
        let egress: &mut SchedClassifier = egress.try_into().map_err(|error: ProgramError| failed(&error))?;
        if egress.fd().is_err() {
            egress.load().map_err(|error| failed(&error))?;
        }
        Ok(egress)
    }

    fn object(&mut self, loaders: &mut Loaders, pins: &Pins) -> Result<&mut Ebpf, DataplaneError> {
        let object = match self.object.take() {
            Some(object) => object,
            None => {
                let [first, last] = socket::ephemeral_ports();
                let locks = socket::userlocks();
                let redirect = MapInfo::from_pin(pins.map(map_name::REDIRECT))
                    .map_err(|error| DataplaneError::kernel("asking for the map of redirects", &error))?;
                loaders.egress(
                    pins,
                    [
                        (global::REDIRECT_ID, redirect.id()),
                        (global::EPHEMERAL_FIRST, first),
                        (global::EPHEMERAL_LAST, last),
                        (global::USERLOCKS_OFFSET, locks.offset),
                        (global::USERLOCKS_BIT, locks.bit),
                    ],
                )?
            }
        };
        Ok(self.object.insert(object))
    }
}

/// The interfaces that the program is attached to.
pub fn hooked(pins: &Pins) -> Vec<Hooked> {
    pins.egress_entries()
        .into_iter()
        .filter_map(|(name, path)| {
            let (ifindex, hook) = parse_name(&name)?;
            // A link whose interface is gone, or that was detached by hand, is on none.
            let is_on = hook != Hook::Tcx || attach::link_ifindex(&path).is_ok_and(|on| on == ifindex);
            is_on.then_some(Hooked { ifindex, hook, path })
        })
        .collect()
}

/// Detaches from every interface but these, and removes what is left of interfaces that are gone.
pub fn keep_only(pins: &Pins, kept: &BTreeSet<u32>) -> Result<(), DataplaneError> {
    for (name, path) in pins.egress_entries() {
        let ifindex = parse_name(&name).map_or(0, |(ifindex, _)| ifindex);
        let is_dead = || path.is_file() && attach::link_ifindex(&path).is_ok_and(|ifindex| ifindex == 0);
        if !kept.contains(&ifindex) || is_dead() || sys::interface_name(ifindex).is_none() {
            remove(&name, &path)?;
        }
    }
    Ok(())
}

/// Detaches what a name in the egress directory stands for, and removes it.
pub fn remove(name: &str, path: &Path) -> Result<(), DataplaneError> {
    match parse_name(name) {
        Some((_, Hook::Tcx)) => attach::remove_link(path),
        Some((ifindex, Hook::Clsact(priority))) => {
            clsact::delete(ifindex, priority)?;
            std::fs::remove_dir(path)
                .map_err(|error| DataplaneError::kernel(format!("removing {}", path.display()), &error))
        }
        None => Ok(()),
    }
}

/// Whether anything counts what redirects lose.
pub fn is_counting(pins: &Pins) -> bool {
    TRACEPOINTS
        .iter()
        .any(|(_, tracepoint)| pins.tracepoint(tracepoint).exists())
}

/// Stops counting what redirects lose; what was counted stays.
pub fn stop_counting(pins: &Pins) -> Result<(), DataplaneError> {
    TRACEPOINTS
        .iter()
        .try_for_each(|(_, tracepoint)| remove_pin(&pins.tracepoint(tracepoint)))
}

fn remove_pin(path: &Path) -> Result<(), DataplaneError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(DataplaneError::kernel(
            format!("removing {}", path.display()),
            &error,
        )),
        _ => Ok(()),
    }
}

fn attach_tcx(
    pins: &Pins,
    program: &mut SchedClassifier,
    ifname: &str,
    ifindex: u32,
) -> Result<(), DataplaneError> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        DataplaneError::kernel(format!("attaching to packets that leave {ifname}"), error)
    };
    // First, because a program before it could end the walk.
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let link_id = program
        .attach_with_options(ifname, TcAttachType::Egress, options)
        .map_err(|error| match &error {
            // Kernels before 6.6 do not know this kind of link.
            ProgramError::SyscallError(syscall)
                if matches!(
                    syscall.io_error.raw_os_error(),
                    Some(libc::EINVAL | libc::EOPNOTSUPP)
                ) =>
            {
                DataplaneError::NoEgress {
                    ifname: ifname.to_owned(),
                    hook: Hook::Tcx.name(),
                    reason: syscall.io_error.to_string(),
                }
            }
            _ => failed(&error),
        })?;
    let link = program.take_link(link_id).map_err(|error| failed(&error))?;
    let link: FdLink = link
        .try_into()
        .map_err(|error: aya::programs::links::LinkError| failed(&error))?;
    let path = pins.egress().join(format!("if{ifindex}-tcx"));
    // A pin of the same name is of a link that was detached by hand.
    let _ = std::fs::remove_file(&path);
    link.pin(&path).map_err(|error| failed(&error))?;
    Ok(())
}

/// Makes a filter, or replaces the one that is there. Its directory says where it is: made after the filter, so that
/// no directory stands for nothing. A process that dies in between leaves a filter that the next one finds by its
/// handle.
fn attach_clsact(
    pins: &Pins,
    program: &mut SchedClassifier,
    ifname: &str,
    ifindex: u32,
) -> Result<(), DataplaneError> {
    let priority = clsact::put(program, ifname)?;
    let path = pins.egress().join(format!("if{ifindex}-clsact-{priority}"));
    if !path.exists() {
        std::fs::create_dir(&path).map_err(|error| {
            let _ = clsact::delete(ifindex, priority);
            DataplaneError::kernel(format!("making {}", path.display()), &error)
        })?;
    }
    // An earlier filter was of another priority: it may be there still, and would see each packet again.
    for (name, path) in pins.egress_entries() {
        if let Some((its_ifindex, Hook::Clsact(its_priority))) = parse_name(&name)
            && its_ifindex == ifindex
            && its_priority != priority
        {
            remove(&name, &path)?;
        }
    }
    Ok(())
}

/// Interface and hook of a name in the egress directory.
fn parse_name(name: &str) -> Option<(u32, Hook)> {
    let (ifindex, hook) = name.strip_prefix("if")?.split_once('-')?;
    let hook = match hook.strip_prefix("clsact-") {
        Some(priority) => Hook::Clsact(priority.parse().ok()?),
        None if hook == "tcx" => Hook::Tcx,
        None => return None,
    };
    Some((ifindex.parse().ok()?, hook))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_interface_and_hook() {
        assert_eq!(parse_name("if12-tcx"), Some((12, Hook::Tcx)));
        assert_eq!(parse_name("if3-clsact-7"), Some((3, Hook::Clsact(7))));
        for foreign in ["if12-native", "tcx", "ifx-tcx", "if3-clsact-", "if3-clsact"] {
            assert_eq!(parse_name(foreign), None, "{foreign}");
        }
    }
}
