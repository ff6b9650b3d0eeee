//! Which engine the location tables of a generation have, and whether another generation has them already.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use aya::{
    Pod,
    maps::{Map, MapData, MapError, lpm_trie::LpmTrie},
};
use probe_common::{ClassValue, index, map_name};

use super::{Dataplane, DataplaneError, generation::Generation};
use crate::{
    geo::{Index, Location, TooLarge},
    host::EngineChoice,
};

/// `auto` takes the index for tables of more prefixes. With fewer, the roots of an index (256 KiB a family) take more
/// memory than a trie, which is as quick as that while it has a handful of nodes.
const MAX_AUTO_TRIE: usize = 32;

/// What is to be in a generation's location maps.
#[derive(Clone, Debug)]
pub enum LocationTables {
    /// What is in those of the generation pinned in this directory.
    Shared {
        /// Where.
        dir: PathBuf,
        /// See [`probe_common::GenerationMeta::indexed`].
        indexed: u32,
    },
    /// Tables of its own: an index for each family that has one, else the location's prefixes.
    Own(Arc<[Option<Index>; 2]>),
}

impl LocationTables {
    /// See [`probe_common::GenerationMeta::indexed`].
    pub fn indexed(&self) -> u32 {
        match self {
            Self::Shared { indexed, .. } => *indexed,
            Self::Own(indexes) => indexed_of(indexes),
        }
    }

    /// The directory of the generation whose maps are used.
    pub fn shared_dir(&self) -> Option<&Path> {
        match self {
            Self::Shared { dir, .. } => Some(dir),
            Self::Own(_) => None,
        }
    }

    /// Maps and numbers of their entries; 0 for those that are shared or stay empty.
    pub fn sizes(&self, location: &Location) -> [(&'static str, &'static str, usize); 4] {
        let n_prefixes = [location.prefixes_v4.len(), location.prefixes_v6.len()];
        let [[trie_v4, index_v4], [trie_v6, index_v6]] = [0, 1].map(|family: usize| match self {
            Self::Shared { .. } => [0, 0],
            Self::Own(indexes) => match &indexes[family] {
                Some(index) => [0, index.pages().len()],
                None => [n_prefixes[family], 0],
            },
        });
        [
            (map_name::LOCATION_V4, "the IPv4 location table", trie_v4),
            (map_name::LOCATION_V6, "the IPv6 location table", trie_v6),
            (map_name::INDEX_V4, "the IPv4 location index", index_v4),
            (map_name::INDEX_V6, "the IPv6 location index", index_v6),
        ]
    }
}

/// Tables that were made last: those of a database are asked for more than once before they are loaded.
#[derive(Debug)]
pub struct LastTables {
    location_digest: [u8; 32],
    /// What came of them.
    indexed: u32,
    /// Until they are loaded.
    indexes: Option<Arc<[Option<Index>; 2]>>,
}

impl Dataplane {
    /// The location tables for a generation.
    pub(super) fn location_tables(&mut self, location: &Location) -> Result<LocationTables, DataplaneError> {
        let last = self.last_tables.as_ref();
        let last = last.filter(|last| last.location_digest == location.digest);
        let indexed = last.map_or_else(|| wanted(self.engine, location), |last| last.indexed);
        if let Some(dir) = self.pinned_location(location, indexed) {
            return Ok(LocationTables::Shared { dir, indexed });
        }
        if let Some(indexes) = last.and_then(|last| last.indexes.as_ref()) {
            return Ok(LocationTables::Own(Arc::clone(indexes)));
        }
        let indexes = Arc::new(indexes_of(self.engine, location)?);
        let indexed = indexed_of(&indexes);
        self.last_tables = Some(LastTables {
            location_digest: location.digest,
            indexed,
            indexes: Some(Arc::clone(&indexes)),
        });
        // A table that turned out not to fit an index may be pinned as a trie.
        Ok(match self.pinned_location(location, indexed) {
            Some(dir) => LocationTables::Shared { dir, indexed },
            None => LocationTables::Own(indexes),
        })
    }

    /// Gives the memory back of tables that are in the kernel now.
    pub(super) fn forget_tables(&mut self) {
        if let Some(last) = &mut self.last_tables {
            last.indexes = None;
        }
    }

    /// Where location tables of these engines are pinned already.
    fn pinned_location(&self, location: &Location, indexed: u32) -> Option<PathBuf> {
        let has_tables = |dir: &Path| map_name::LOCATION.iter().all(|name| dir.join(name).exists());
        let is_same = |its: &&Generation| {
            its.meta.location_digest == location.digest && its.meta.indexed == indexed && has_tables(&its.dir)
        };
        let mut generations = self.generations.iter().map(|(_, generation)| generation);
        generations.find(is_same).map(|its| its.dir.clone())
    }
}

impl Generation {
    /// The engines of its location tables, IPv4 and IPv6.
    pub(super) fn engines(&self) -> [&'static str; 2] {
        [index::OF_V4, index::OF_V6].map(|family| match self.meta.indexed & family {
            0 => "lpm",
            _ => "index",
        })
    }
}

/// Prefixes in the location tries that are pinned in a directory: an index leaves none to one.
pub fn lpm_prefixes(dir: &Path) -> Result<usize, DataplaneError> {
    Ok(in_trie::<[u8; 4]>(dir, map_name::LOCATION_V4)? + in_trie::<[u8; 16]>(dir, map_name::LOCATION_V6)?)
}

/// A trie is made as large as it has prefixes, but none can be made of size 0.
fn in_trie<A: Pod>(dir: &Path, name: &str) -> Result<usize, DataplaneError> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        DataplaneError::kernel(format!("reading {}", dir.join(name).display()), error)
    };
    let map = MapData::from_pin(dir.join(name)).map_err(|error| failed(&error))?;
    let size = map.info().map_err(|error| failed(&error))?.max_entries();
    let trie: LpmTrie<_, A, ClassValue> = Map::LpmTrie(map)
        .try_into()
        .map_err(|error: MapError| failed(&error))?;
    match trie.keys().next() {
        None => Ok(0),
        Some(first) => first.map(|_| size as usize).map_err(|error| failed(&error)),
    }
}

/// The families that should have an index, by [`index::OF_V4`].
fn wanted(engine: EngineChoice, location: &Location) -> u32 {
    let wants = |n_prefixes: usize| match engine {
        EngineChoice::Auto => n_prefixes > MAX_AUTO_TRIE,
        EngineChoice::Index => true,
        EngineChoice::Lpm => false,
    };
    let bit = |n_prefixes: usize, bit: u32| if wants(n_prefixes) { bit } else { 0 };
    bit(location.prefixes_v4.len(), index::OF_V4) | bit(location.prefixes_v6.len(), index::OF_V6)
}

fn indexes_of(engine: EngineChoice, location: &Location) -> Result<[Option<Index>; 2], DataplaneError> {
    let wanted = wanted(engine, location);
    let made = |family: &'static str, built: Result<Index, TooLarge>| match built {
        Ok(index) => Ok(Some(index)),
        Err(reason) if engine == EngineChoice::Auto => {
            tracing::warn!("the {family} location table gets no index, it stays an LPM trie: {reason}");
            Ok(None)
        }
        Err(reason) => Err(DataplaneError::NoIndex { family, reason }),
    };
    let v4 = match wanted & index::OF_V4 {
        0 => None,
        _ => made("IPv4", Index::of_v4(&location.ranges_v4))?,
    };
    let v6 = match wanted & index::OF_V6 {
        0 => None,
        _ => made("IPv6", Index::of_v6(&location.ranges_v6))?,
    };
    Ok([v4, v6])
}

fn indexed_of([v4, v6]: &[Option<Index>; 2]) -> u32 {
    let bit = |index: &Option<Index>, bit: u32| if index.is_some() { bit } else { 0 };
    bit(v4, index::OF_V4) | bit(v6, index::OF_V6)
}
