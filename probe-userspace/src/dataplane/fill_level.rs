//! How full the maps are. Read in another thread than the one that owns the dataplane: a look at a map takes a call for
//! each of its keys.

use std::{os::fd::AsFd as _, path::PathBuf, sync::Arc};

use aya::maps::MapData;
use ipnet::IpNet;
use probe_common::map_name;

use super::{Dataplane, sys};
use crate::compile::Image;

/// Maps whose keys are counted: small ones that user space writes.
const COUNTED: [&str; 9] = [
    map_name::FAILSAFE_V4,
    map_name::FAILSAFE_V6,
    map_name::OWN_V4,
    map_name::OWN_V6,
    map_name::INTERFACES,
    map_name::ENDPOINTS,
    map_name::VLANS,
    map_name::TARGETS,
    map_name::ETHERTYPES,
];

/// Maps that the programs fill and that forget what is oldest: nobody knows how full they are but by walking all of
/// them.
const UNCOUNTED: [&str; 2] = [map_name::FLOWS, map_name::BUCKETS];

/// How full a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FillLevel {
    /// Its name.
    pub map: &'static str,
    /// Entries; `None`: not counted.
    pub n_entries: Option<u64>,
    /// Most entries.
    pub capacity: u64,
}

/// Where the maps are, and what is known of them without asking.
#[derive(Clone, Debug)]
pub struct FillReader {
    shared_dir: PathBuf,
    n_runtime: [u64; 2],
    generation: Option<(PathBuf, Arc<Image>)>,
}

impl Dataplane {
    /// Tells how full the maps are that there are now, wherever it is sent.
    pub fn fill_reader(&self) -> FillReader {
        let n_v4 = self
            .runtime
            .present()
            .keys()
            .filter(|prefix| prefix.addr().is_ipv4());
        let n_v4 = n_v4.count() as u64;
        let generation = self.effective().and_then(|generation| {
            let image = generation.image.as_ref()?;
            Some((generation.dir.clone(), Arc::clone(image)))
        });
        FillReader {
            shared_dir: self.pins.dir().to_owned(),
            n_runtime: [n_v4, self.runtime.present().len() as u64 - n_v4],
            generation,
        }
    }
}

impl FillReader {
    /// The levels. Maps that are gone meanwhile are left out.
    pub fn read(&self) -> Vec<FillLevel> {
        let shared = |map: &'static str| (self.shared_dir.join(map), map);
        let mut wanted: Vec<_> = COUNTED.map(shared).map(|at| (at, Entries::Count)).into();
        wanted.extend(UNCOUNTED.map(shared).map(|at| (at, Entries::Unknown)));
        let runtime = [map_name::RUNTIME_V4, map_name::RUNTIME_V6].map(shared);
        wanted.extend(runtime.into_iter().zip(self.n_runtime.map(Entries::Known)));
        if let Some((dir, image)) = &self.generation {
            let is_v4 = |prefix: &IpNet| prefix.addr().is_ipv4();
            let n_overrides = image.overrides.len();
            let n_overrides_v4 = image
                .overrides
                .iter()
                .filter(|entry| is_v4(&entry.prefix))
                .count();
            for (map, n) in [
                (map_name::LOCATION_V4, image.location.prefixes_v4.len()),
                (map_name::LOCATION_V6, image.location.prefixes_v6.len()),
                (map_name::OVERRIDES_V4, n_overrides_v4),
                (map_name::OVERRIDES_V6, n_overrides - n_overrides_v4),
            ] {
                wanted.push(((dir.join(map), map), Entries::Known(n as u64)));
            }
        }
        let level = |((path, map), entries): ((PathBuf, &'static str), Entries)| {
            let data = MapData::from_pin(&path).ok()?;
            let info = data.info().ok()?;
            let n_entries = match entries {
                Entries::Known(n) => Some(n),
                Entries::Unknown => None,
                Entries::Count => {
                    sys::count_keys(data.fd().as_fd(), info.key_size(), info.max_entries()).ok()
                }
            };
            Some(FillLevel {
                map,
                n_entries,
                capacity: u64::from(info.max_entries()),
            })
        };
        wanted.into_iter().filter_map(level).collect()
    }
}

enum Entries {
    Known(u64),
    Count,
    Unknown,
}
