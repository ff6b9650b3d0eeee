//! The entry program: loaded at every start, taken up where it is the same.

use std::time::Duration;

use aya::programs::Xdp;
use aya_obj::programs::XdpAttachType;
use probe_common::map_name::{self, program};

use super::{
    DataplaneError,
    object::Loaders,
    pins::{EntryVariant, Pins},
};

/// Loads the entry program and pins it, unless the pinned one is the same already. Also the time of the load.
pub fn load(
    loaders: &mut Loaders,
    pins: &Pins,
    variant: EntryVariant,
) -> Result<(Xdp, Duration), DataplaneError> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        DataplaneError::kernel("loading the entry program", error)
    };
    // A pinned entry program whose maps are gone reads others than those that this process will write: the tag
    // does not tell, because it leaves out which maps a program uses.
    let had_maps = [map_name::STATE, map_name::SLOTS]
        .iter()
        .all(|name| pins.map(name).exists());
    let mut ebpf = loaders.entry(pins, variant)?;
    let entry: &mut Xdp = match ebpf.program_mut(program::ENTRY) {
        Some(entry) => entry
            .try_into()
            .map_err(|error: aya::programs::ProgramError| failed(&error))?,
        None => return Err(DataplaneError::missing(program::ENTRY)),
    };
    let started = std::time::Instant::now();
    entry.load().map_err(|error| failed(&error))?;
    let load = started.elapsed();

    let path = pins.entry(variant);
    let open = || Xdp::from_pin(&path, XdpAttachType::Interface);
    let tag = entry.info().map_err(|error| failed(&error))?.tag();
    if had_maps
        && let Ok(pinned) = open()
        && pinned.info().is_ok_and(|info| info.tag() == tag)
    {
        return Ok((pinned, load));
    }
    // Pinned under another name first: a reader of the pin always finds a program.
    let fresh = pins.map("cordon_entry_new");
    let _ = std::fs::remove_file(&fresh);
    entry.pin(&fresh).map_err(|error| failed(&error))?;
    std::fs::rename(&fresh, &path).map_err(|error| failed(&error))?;
    for other in pins.other_entries(variant) {
        let _ = std::fs::remove_file(other);
    }
    Ok((open().map_err(|error| failed(&error))?, load))
}
