//! A filter on the clsact qdisc, for kernels without tcx links. It is known by its handle; other programs' filters
//! are never touched, and the qdisc stays when the filter goes, because others may use it.

use aya::programs::{
    Link as _, ProgramError, SchedClassifier, TcAttachType,
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
};

use super::{DataplaneError, Hook};
use crate::dataplane::sys;

/// Handle of cordon's filter among those of its priority: "cord".
const HANDLE: TcHandle = TcHandle::new(0x636f, 0x7264);
/// Priorities that are tried, from 1 on: filters run in their order, and each may be taken by filters of another
/// kind.
const N_PRIORITIES: u16 = 16;

/// Makes the program cordon's filter on an interface, in place of an earlier one; gives its priority.
pub fn put(program: &mut SchedClassifier, ifname: &str) -> Result<u16, DataplaneError> {
    match tc::qdisc_add_clsact(ifname) {
        Ok(()) => {}
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
        Err(error) => return Err(refused(ifname, &ProgramError::TcError(error))),
    }
    let mut last = None;
    for priority in 1..=N_PRIORITIES {
        match create(program, ifname, priority) {
            Err(error) if errno(&error) == Some(libc::EEXIST) => {
                return replace(program, ifname, priority)
                    .map(|()| priority)
                    .map_err(|error| refused(ifname, &error));
            }
            // The priority belongs to filters of another kind or protocol.
            Err(error) if errno(&error) == Some(libc::EINVAL) => last = Some(error),
            created => {
                return created
                    .map(|()| priority)
                    .map_err(|error| refused(ifname, &error));
            }
        }
    }
    let error = last.unwrap_or(ProgramError::NotAttached);
    Err(refused(ifname, &error))
}

/// Deletes cordon's filter, if it and its interface are there.
pub fn delete(ifindex: u32, priority: u16) -> Result<(), DataplaneError> {
    let Some(ifname) = sys::interface_name(ifindex) else {
        return Ok(());
    };
    let Ok(link) = SchedClassifierLink::attached(&ifname, TcAttachType::Egress, priority, HANDLE, None)
    else {
        return Ok(());
    };
    match link.detach() {
        // The filter, its priority or the qdisc is gone.
        Err(error) if matches!(errno(&error), Some(libc::ENOENT | libc::EINVAL | libc::ENODEV)) => Ok(()),
        Err(error) => Err(DataplaneError::kernel(
            format!("deleting the filter on packets that leave {ifname}"),
            &error,
        )),
        Ok(()) => Ok(()),
    }
}

fn create(program: &mut SchedClassifier, ifname: &str, priority: u16) -> Result<(), ProgramError> {
    let options = TcAttachOptions::Netlink(NlOptions {
        priority,
        handle: HANDLE,
        classid: None,
    });
    let link_id = program.attach_with_options(ifname, TcAttachType::Egress, options)?;
    keep(program.take_link(link_id)?);
    Ok(())
}

fn replace(program: &mut SchedClassifier, ifname: &str, priority: u16) -> Result<(), ProgramError> {
    let link = SchedClassifierLink::attached(ifname, TcAttachType::Egress, priority, HANDLE, None)
        .map_err(TcError::IoError)?;
    let link_id = program.attach_to_link(link)?;
    keep(program.take_link(link_id)?);
    Ok(())
}

/// aya deletes the filter when it drops the link; this one outlives the process.
fn keep(link: SchedClassifierLink) {
    std::mem::forget(link);
}

fn refused(ifname: &str, error: &ProgramError) -> DataplaneError {
    match errno(error) {
        Some(libc::EPERM | libc::EACCES) => DataplaneError::NotPermitted {
            what: format!("a filter on packets that leave {ifname}"),
        },
        _ => DataplaneError::NoEgress {
            ifname: ifname.to_owned(),
            hook: Hook::Clsact(0).name(),
            reason: error.to_string(),
        },
    }
}

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::NetlinkError(error) | ProgramError::TcError(TcError::NetlinkError(error)) => {
            error.raw_os_error()
        }
        _ => None,
    }
}
