//! The eBPF objects and their loaders.

use std::path::Path;

use aya::{Ebpf, EbpfLoader};
use probe_common::map_name::{self, global};

use super::{
    DataplaneError,
    pins::{EntryVariant, Pins},
    shape::Shape,
    spec::SHARED_MAPS,
    sys,
};
use crate::host::TableSizes;

/// The entry program. Public for the same benchmark.
pub static ENTRY: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/entry"));
static EGRESS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/egress"));
/// The programs of a generation. Public for the benchmark that compares builds.
pub static GENERATION: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/generation"));

/// Bench programs and the control scheme of the swap test; not part of a running cordon.
pub static PEERS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/peers"));

/// Loads the objects. A loader parses the kernel's type information when it is made (20 ms, 19 MB), so the two
/// that are needed again and again are kept. There are two, because a pin path given to a loader stays.
#[derive(Debug)]
pub struct Loaders {
    own_location: EbpfLoader<'static>,
    shared_location: EbpfLoader<'static>,
    sizes: TableSizes,
    constants: Vec<&'static [u8]>,
}

impl Loaders {
    /// Makes the loaders; shared maps are found at, or made at, their pin paths.
    pub fn new(pins: &Pins, sizes: TableSizes) -> Self {
        Self {
            own_location: loader(pins, &sizes),
            shared_location: loader(pins, &sizes),
            sizes,
            constants: Vec::new(),
        }
    }

    /// Makes the shared maps that are not there yet.
    pub fn make_shared(&mut self, pins: &Pins) -> Result<(), DataplaneError> {
        if SHARED_MAPS.iter().all(|spec| pins.map(spec.name).exists()) {
            return Ok(());
        }
        // Loading an object makes its maps; the others go with it again.
        for object in [ENTRY, GENERATION, EGRESS] {
            self.own_location
                .load(object)
                .map_err(|error| DataplaneError::kernel("making the shared maps", &error))?;
        }
        Ok(())
    }

    /// Loads the entry object.
    pub fn entry(&mut self, pins: &Pins, variant: EntryVariant) -> Result<Ebpf, DataplaneError> {
        let constants = [
            (global::NO_GENERATION_PASS, variant.no_generation_pass),
            (global::VLAN_FILTER, variant.vlan_filter),
        ]
        .map(|(name, is_set)| (name, self.constant(sys::bytes_of(&u32::from(is_set)))));
        let mut loader = loader(pins, &self.sizes);
        for (name, value) in constants {
            loader.override_global(name, value, true);
        }
        loader
            .load(ENTRY)
            .map_err(|error| DataplaneError::kernel("loading the entry object", &error))
    }

    /// Loads the egress object with these constants.
    pub fn egress(
        &mut self,
        pins: &Pins,
        constants: impl IntoIterator<Item = (&'static str, u32)>,
    ) -> Result<Ebpf, DataplaneError> {
        let mut loader = loader(pins, &self.sizes);
        for (name, value) in constants {
            loader.override_global(name, self.constant(sys::bytes_of(&value)), true);
        }
        loader
            .load(EGRESS)
            .map_err(|error| DataplaneError::kernel("loading the egress object", &error))
    }

    /// Loads the generation object in a shape. `share`: directory of the generation whose location maps to use.
    pub fn generation(&mut self, shape: &Shape, share: Option<&Path>) -> Result<Ebpf, DataplaneError> {
        let constants: Vec<_> = shape
            .constants
            .iter()
            .map(|(name, value)| (*name, self.constant(value)))
            .collect();
        let loader = match share {
            Some(_) => &mut self.shared_location,
            None => &mut self.own_location,
        };
        if let Some(share) = share {
            for name in map_name::LOCATION {
                loader.map_pin_path(name, share.join(name));
            }
        }
        for (name, value) in constants {
            loader.override_global(name, value, true);
        }
        for (name, size) in &shape.sizes {
            // No map may be of size 0.
            loader.map_max_entries(name, (*size).max(1));
        }
        loader
            .load(GENERATION)
            .map_err(|error| DataplaneError::kernel("loading the generation object", &error))
    }

    /// A constant that lives as long as the loaders want it: one allocation for each distinct value ever used.
    fn constant(&mut self, value: &[u8]) -> &'static [u8] {
        if let Some(known) = self.constants.iter().find(|known| **known == value) {
            return known;
        }
        let constant: &'static [u8] = Box::leak(value.into());
        self.constants.push(constant);
        constant
    }
}

fn loader(pins: &Pins, sizes: &TableSizes) -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    // The programs read no kernel structures by name, so there is nothing to relocate against the kernel's types.
    loader.btf(None);
    for spec in &SHARED_MAPS {
        loader.map_pin_path(spec.name, pins.map(spec.name));
        loader.map_max_entries(spec.name, spec.max_entries(sizes));
    }
    loader
}
