//! One generation: load its programs, fill its maps, pin them; or find them pinned.

use std::{
    fs,
    os::{fd::AsFd as _, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant as Stopwatch},
};

use aya::{
    Ebpf, Pod,
    maps::{
        Array, Map, MapData, MapError, PerCpuArray,
        lpm_trie::{Key, LpmTrie},
    },
    programs::{ProgramInfo, Xdp},
};
use aya_obj::programs::XdpAttachType;
use ipnet::IpNet;
use probe_common::{
    ABI_VERSION, ClassValue, Counter, GenerationMeta,
    limits::MAX_PREFIXES,
    map_name::{self, program},
    n_counters, profile,
};

use super::{
    DataplaneError,
    object::{GenerationShape, Loaders},
    pins, sys,
};
use crate::{compile::Image, instant::Instant};

/// A generation whose programs and maps are pinned.
pub struct Generation {
    /// What its `META` says.
    pub meta: GenerationMeta,
    /// Id of the program that judges packets.
    pub program_id: u32,
    /// Where it is pinned.
    pub dir: PathBuf,
    /// The side-effect-free sibling.
    pub sample: Xdp,
    /// The image, if it is known: made here, or recognised after adoption.
    pub image: Option<Arc<Image>>,
    /// Time that loading took: the program that judges packets, its sibling. Known if this process made it.
    pub loads: Option<[Duration; 2]>,
    counters: PerCpuArray<MapData, Counter>,
}

/// Time that making a generation took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Loading the programs.
    pub load: Duration,
    /// Filling the maps.
    pub fill: Duration,
}

impl Generation {
    /// Loads, fills and pins a generation. `share`: one whose location maps to use. On any failure nothing is
    /// left behind.
    pub fn make(
        loaders: &mut Loaders,
        dir: &Path,
        number: u32,
        image: &Arc<Image>,
        share: Option<&Path>,
    ) -> Result<(Self, Timings), DataplaneError> {
        let mut builder = fs::DirBuilder::new();
        builder
            .mode(0o700)
            .create(dir)
            .map_err(|error| DataplaneError::kernel(format!("making {}", dir.display()), &error))?;
        let made = Self::make_in(loaders, dir, number, image, share);
        if made.is_err() {
            // Best effort: what stays is swept when the dataplane is opened next.
            let _ = pins::remove_dir(dir);
        }
        made
    }

    fn make_in(
        loaders: &mut Loaders,
        dir: &Path,
        number: u32,
        image: &Arc<Image>,
        share: Option<&Path>,
    ) -> Result<(Self, Timings), DataplaneError> {
        let started = Stopwatch::now();
        let mut ebpf = loaders.generation(&shape(image)?, share)?;
        let mut loads = [Duration::ZERO; 2];
        for (name, load) in [program::GENERATION, program::SAMPLE].into_iter().zip(&mut loads) {
            let started = Stopwatch::now();
            xdp(&mut ebpf, name)?
                .load()
                .map_err(|error| DataplaneError::kernel(format!("loading {name}"), &error))?;
            *load = started.elapsed();
        }
        let load = started.elapsed();
        #[cfg(feature = "log")]
        super::kernel_log::forward(&mut ebpf, dir.to_owned());

        let started = Stopwatch::now();
        fill(&mut ebpf, image, share.is_none())
            .map_err(|error| DataplaneError::kernel("filling the maps", &error))?;
        let meta = GenerationMeta {
            abi_version: ABI_VERSION,
            number,
            published_s: u64::from(Instant::now().0),
            image_digest: image.digest,
            location_digest: image.location.digest,
        };
        let mut meta_map: Array<_, GenerationMeta> = typed(&mut ebpf, map_name::META)?;
        meta_map
            .set(0, meta, 0)
            .map_err(|error| DataplaneError::kernel("filling META", &error))?;
        let fill = started.elapsed();

        for name in map_name::GENERATION {
            let map = ebpf.map(name).ok_or_else(|| missing(name))?;
            map.pin(dir.join(name))
                .map_err(|error| DataplaneError::kernel(format!("pinning {name}"), &error))?;
        }
        for name in [program::GENERATION, program::SAMPLE] {
            xdp(&mut ebpf, name)?
                .pin(dir.join(name))
                .map_err(|error| DataplaneError::kernel(format!("pinning {name}"), &error))?;
        }
        let mut generation = Self::open(dir)?;
        generation.image = Some(Arc::clone(image));
        generation.loads = Some(loads);
        Ok((generation, Timings { load, fill }))
    }

    /// Opens a pinned generation.
    pub fn open(dir: &Path) -> Result<Self, DataplaneError> {
        let failed = |name: &str, error: &dyn std::error::Error| DataplaneError::Kernel {
            what: format!("opening {}", dir.join(name).display()),
            reason: error.to_string(),
        };
        let map = |name: &str| MapData::from_pin(dir.join(name)).map_err(|error| failed(name, &error));
        let meta: Array<_, GenerationMeta> = Map::Array(map(map_name::META)?)
            .try_into()
            .map_err(|error: MapError| failed(map_name::META, &error))?;
        let info = ProgramInfo::from_pin(dir.join(program::GENERATION))
            .map_err(|error| failed(program::GENERATION, &error))?;
        Ok(Self {
            meta: meta.get(&0, 0).map_err(|error| failed(map_name::META, &error))?,
            program_id: info.id(),
            dir: dir.to_owned(),
            sample: Xdp::from_pin(dir.join(program::SAMPLE), XdpAttachType::Interface)
                .map_err(|error| failed(program::SAMPLE, &error))?,
            image: None,
            loads: None,
            counters: Map::PerCpuArray(map(map_name::COUNTERS)?)
                .try_into()
                .map_err(|error: MapError| failed(map_name::COUNTERS, &error))?,
        })
    }

    /// The program that judges packets.
    pub fn program(&self) -> Result<Xdp, DataplaneError> {
        Xdp::from_pin(self.dir.join(program::GENERATION), XdpAttachType::Interface)
            .map_err(|error| DataplaneError::kernel("opening the generation's program", &error))
    }

    /// Refuses writes to the tables from now on. Counters stay open: the program writes them. Location tables
    /// that another generation shares with this one are frozen already, and cannot be frozen twice.
    pub fn freeze(&self, has_own_location: bool) -> Result<(), DataplaneError> {
        let own = |name: &str| match name {
            map_name::COUNTERS => false,
            map_name::LOCATION_V4 | map_name::LOCATION_V6 => has_own_location,
            _ => true,
        };
        for name in map_name::GENERATION.into_iter().filter(|name| own(name)) {
            let failed = |error: &(dyn std::error::Error + 'static)| {
                DataplaneError::kernel(format!("freezing {name}"), error)
            };
            let map = MapData::from_pin(self.dir.join(name)).map_err(|error| failed(&error))?;
            sys::freeze(map.fd().as_fd()).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// The counters that are not zero: (index, sum over CPUs).
    pub fn counters(&self) -> Result<Vec<(u32, Counter)>, DataplaneError> {
        non_zero(&self.counters)
    }
}

/// The elements of a per-CPU array that are not zero: (index, sum over CPUs).
pub fn non_zero(counters: &PerCpuArray<MapData, Counter>) -> Result<Vec<(u32, Counter)>, DataplaneError> {
    let mut found = Vec::new();
    for idx in 0..counters.len() {
        let values = counters
            .get(&idx, 0)
            .map_err(|error| DataplaneError::kernel("reading counters", &error))?;
        let sum = values.iter().fold(Counter::default(), |sum, counter| Counter {
            packets: sum.packets + counter.packets,
            bytes: sum.bytes + counter.bytes,
        });
        if sum != Counter::default() {
            found.push((idx, sum));
        }
    }
    Ok(found)
}

fn shape(image: &Image) -> Result<GenerationShape, DataplaneError> {
    let size = |what: &'static str, n: usize, limit: u32| match u32::try_from(n) {
        Ok(size) if size <= limit => Ok(size),
        _ => Err(DataplaneError::TooMany { what, n, limit }),
    };
    let location = &image.location;
    let n_overrides_v4 = image
        .overrides
        .iter()
        .filter(|entry| entry.prefix.addr().is_ipv4())
        .count();
    let n_classes = size("the class table", location.classes.len(), 1 << 16)?;
    Ok(GenerationShape {
        n_locations: [
            size(
                "the IPv4 location table",
                location.prefixes_v4.len(),
                MAX_PREFIXES,
            )?,
            size(
                "the IPv6 location table",
                location.prefixes_v6.len(),
                MAX_PREFIXES,
            )?,
        ],
        n_cells: size("the verdict matrix", image.matrix.cells.len(), 1 << 22)?,
        n_stages: size("the stage table", image.stages.len(), 1 << 16)?,
        n_overrides: [
            size("the IPv4 override table", n_overrides_v4, MAX_PREFIXES)?,
            size(
                "the IPv6 override table",
                image.overrides.len() - n_overrides_v4,
                MAX_PREFIXES,
            )?,
        ],
        n_counters: n_counters(n_classes),
        n_classes,
        has_denies: image
            .overrides
            .iter()
            .any(|entry| entry.value.profile == profile::DENY),
    })
}

fn fill(ebpf: &mut Ebpf, image: &Image, with_location: bool) -> Result<(), DataplaneError> {
    if with_location {
        let class = |class: u16| ClassValue { class, reserved: 0 };
        let v4 = image.location.prefixes_v4.iter();
        let v4 = v4.map(|entry| (entry.prefix_len, entry.addr.to_be_bytes(), class(entry.class)));
        fill_trie(ebpf, map_name::LOCATION_V4, v4)?;
        let v6 = image.location.prefixes_v6.iter();
        let v6 = v6.map(|entry| (entry.prefix_len, entry.addr.to_be_bytes(), class(entry.class)));
        fill_trie(ebpf, map_name::LOCATION_V6, v6)?;
    }
    fill_array(
        ebpf,
        map_name::MATRIX,
        image.matrix.cells.iter().map(|cell| cell.0),
    )?;
    fill_array(ebpf, map_name::STAGES, image.stages.iter().copied())?;
    let v4 = image.overrides.iter().filter_map(|entry| match entry.prefix {
        IpNet::V4(prefix) => Some((prefix.prefix_len(), prefix.network().octets(), entry.value)),
        IpNet::V6(_) => None,
    });
    fill_trie(ebpf, map_name::OVERRIDES_V4, v4)?;
    let v6 = image.overrides.iter().filter_map(|entry| match entry.prefix {
        IpNet::V6(prefix) => Some((prefix.prefix_len(), prefix.network().octets(), entry.value)),
        IpNet::V4(_) => None,
    });
    fill_trie(ebpf, map_name::OVERRIDES_V6, v6)
}

/// Fills an LPM trie with (prefix length, address in network order, value).
fn fill_trie<A: Pod, V: Pod>(
    ebpf: &mut Ebpf,
    name: &str,
    entries: impl Iterator<Item = (u8, A, V)>,
) -> Result<(), DataplaneError> {
    let mut trie: LpmTrie<_, A, V> = typed(ebpf, name)?;
    for (prefix_len, addr, value) in entries {
        trie.insert(&Key::new(u32::from(prefix_len), addr), value, 0)
            .map_err(|error| DataplaneError::kernel(format!("filling {name}"), &error))?;
    }
    Ok(())
}

fn fill_array<V: Pod>(
    ebpf: &mut Ebpf,
    name: &str,
    values: impl Iterator<Item = V>,
) -> Result<(), DataplaneError> {
    let mut array: Array<_, V> = typed(ebpf, name)?;
    for (idx, value) in (0..).zip(values) {
        array
            .set(idx, value, 0)
            .map_err(|error| DataplaneError::kernel(format!("filling {name}"), &error))?;
    }
    Ok(())
}

fn typed<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<T, DataplaneError>
where
    T: TryFrom<&'a mut Map, Error = MapError>,
{
    let map = ebpf.map_mut(name).ok_or_else(|| missing(name))?;
    map.try_into()
        .map_err(|error| DataplaneError::kernel(format!("opening {name}"), &error))
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, DataplaneError> {
    let program = ebpf.program_mut(name).ok_or_else(|| missing(name))?;
    program
        .try_into()
        .map_err(|error| DataplaneError::kernel(format!("opening {name}"), &error))
}

fn missing(name: &str) -> DataplaneError {
    DataplaneError::Kernel {
        what: format!("opening {name}"),
        reason: "the eBPF object built into this binary lacks it".to_owned(),
    }
}
