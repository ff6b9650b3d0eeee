//! The eBPF objects and their loaders.

use std::path::Path;

use aya::{Ebpf, EbpfLoader, maps::MapType};
use probe_common::{
    Counter, OverrideValue, Reason, State,
    limits::{FAILSAFE_ENTRIES, MAX_RUNTIME_OVERRIDES, N_SLOTS},
    map_name::{self, global},
};

use super::{DataplaneError, pins::Pins};

static ENTRY: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/entry"));
/// The programs of a generation. Public for the benchmark that compares builds.
pub static GENERATION: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/generation"));

/// Bench programs and the control scheme of the swap test; not part of a running cordon.
pub static PEERS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/peers"));

/// Sizes and constants of a generation.
#[derive(Clone, Copy, Debug)]
pub struct GenerationShape {
    /// Entries of each location trie; ignored for shared ones.
    pub n_locations: [u32; 2],
    /// Cells of the matrix.
    pub n_cells: u32,
    /// Entries of `STAGES`.
    pub n_stages: u32,
    /// Entries of each override trie.
    pub n_overrides: [u32; 2],
    /// Entries of `COUNTERS`.
    pub n_counters: u32,
    /// Classes: the stride of the matrix.
    pub n_classes: u32,
    /// Whether any override is a deny.
    pub has_denies: bool,
}

/// What a shared map must look like.
pub struct MapSpec {
    /// Name.
    pub name: &'static str,
    /// Type.
    pub map_type: MapType,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Size.
    pub max_entries: u32,
    /// Flags given at creation.
    pub flags: u32,
}

const LPM_KEY_V4: u32 = 4 + 4;
const LPM_KEY_V6: u32 = 4 + 16;
const PRESENT_SIZE: u32 = 4;
const BPF_F_NO_PREALLOC: u32 = 1;
const BPF_F_MMAPABLE: u32 = 1 << 10;

const fn spec(name: &'static str, map_type: MapType, sizes: [u32; 3], flags: u32) -> MapSpec {
    let [key_size, value_size, max_entries] = sizes;
    MapSpec {
        name,
        map_type,
        key_size,
        value_size,
        max_entries,
        flags,
    }
}

/// The maps in the pin directory itself. aya checks nothing about what it finds pinned, so this is compared
/// before a path is handed to it.
pub const SHARED_MAPS: [MapSpec; 7] = {
    let override_size = size_of::<OverrideValue>() as u32;
    let counter_size = size_of::<Counter>() as u32;
    [
        spec(
            map_name::STATE,
            MapType::Array,
            [4, size_of::<State>() as u32, 1],
            BPF_F_MMAPABLE,
        ),
        spec(map_name::SLOTS, MapType::ProgramArray, [4, 4, N_SLOTS], 0),
        spec(
            map_name::FAILSAFE_V4,
            MapType::LpmTrie,
            [LPM_KEY_V4, PRESENT_SIZE, FAILSAFE_ENTRIES],
            BPF_F_NO_PREALLOC,
        ),
        spec(
            map_name::FAILSAFE_V6,
            MapType::LpmTrie,
            [LPM_KEY_V6, PRESENT_SIZE, FAILSAFE_ENTRIES],
            BPF_F_NO_PREALLOC,
        ),
        spec(
            map_name::RUNTIME_V4,
            MapType::LpmTrie,
            [LPM_KEY_V4, override_size, MAX_RUNTIME_OVERRIDES],
            BPF_F_NO_PREALLOC,
        ),
        spec(
            map_name::RUNTIME_V6,
            MapType::LpmTrie,
            [LPM_KEY_V6, override_size, MAX_RUNTIME_OVERRIDES],
            BPF_F_NO_PREALLOC,
        ),
        spec(
            map_name::ENTRY_COUNTERS,
            MapType::PerCpuArray,
            [4, counter_size, Reason::N_WITHOUT_CLASS],
            0,
        ),
    ]
};

/// Loads the objects. A loader parses the kernel's type information when it is made (20 ms, 19 MB), so the two
/// that are needed again and again are kept. There are two, because a pin path given to a loader stays.
#[derive(Debug)]
pub struct Loaders {
    own_location: EbpfLoader<'static>,
    shared_location: EbpfLoader<'static>,
    constants: Vec<&'static u32>,
}

impl Loaders {
    /// Makes the loaders; shared maps are found at, or made at, their pin paths.
    pub fn new(pins: &Pins) -> Self {
        Self {
            own_location: loader(pins),
            shared_location: loader(pins),
            constants: Vec::new(),
        }
    }

    /// Loads the entry object, which also makes the shared maps that it uses.
    pub fn entry(&mut self, pins: &Pins, no_generation_pass: bool) -> Result<Ebpf, DataplaneError> {
        let value = self.constant(u32::from(no_generation_pass));
        loader(pins)
            .override_global(global::NO_GENERATION_PASS, value, true)
            .load(ENTRY)
            .map_err(|error| DataplaneError::kernel("loading the entry object", &error))
    }

    /// Loads the generation object with maps of the given sizes. `share`: directory of the generation whose
    /// location maps to use.
    pub fn generation(
        &mut self,
        shape: &GenerationShape,
        share: Option<&Path>,
    ) -> Result<Ebpf, DataplaneError> {
        let constants = [
            (global::N_CLASSES, shape.n_classes),
            (global::HAS_DENIES, u32::from(shape.has_denies)),
            (global::HAS_OVERRIDES, u32::from(shape.n_overrides != [0, 0])),
            (global::HAS_STAGES, u32::from(shape.n_stages != 0)),
        ]
        .map(|(name, value)| (name, self.constant(value)));
        let loader = match share {
            Some(_) => &mut self.shared_location,
            None => &mut self.own_location,
        };
        if let Some(share) = share {
            for name in [map_name::LOCATION_V4, map_name::LOCATION_V6] {
                loader.map_pin_path(name, share.join(name));
            }
        }
        for (name, value) in constants {
            loader.override_global(name, value, true);
        }
        // No map may be of size 0.
        for (name, size) in [
            (map_name::LOCATION_V4, shape.n_locations[0]),
            (map_name::LOCATION_V6, shape.n_locations[1]),
            (map_name::MATRIX, shape.n_cells),
            (map_name::STAGES, shape.n_stages),
            (map_name::OVERRIDES_V4, shape.n_overrides[0]),
            (map_name::OVERRIDES_V6, shape.n_overrides[1]),
            (map_name::COUNTERS, shape.n_counters),
        ] {
            loader.map_max_entries(name, size.max(1));
        }
        loader
            .load(GENERATION)
            .map_err(|error| DataplaneError::kernel("loading the generation object", &error))
    }

    /// A constant that lives as long as the loaders want it: one allocation for each distinct value ever used.
    fn constant(&mut self, value: u32) -> &'static u32 {
        if let Some(known) = self.constants.iter().find(|known| ***known == value) {
            return known;
        }
        let constant = Box::leak(Box::new(value));
        self.constants.push(constant);
        constant
    }
}

fn loader(pins: &Pins) -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    // The programs read no kernel structures, so there is nothing to relocate against the kernel's types.
    loader.btf(None);
    for map in &SHARED_MAPS {
        loader.map_pin_path(map.name, pins.map(map.name));
    }
    loader
}
