//! One generation: load its programs, fill its maps, pin them; or find them pinned.

use std::{
    fs,
    os::{fd::AsFd as _, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant as Stopwatch},
};

use aya::{
    Ebpf,
    maps::{Array, Map, MapData, MapError, PerCpuArray},
    programs::{ProgramInfo, SchedClassifier, Xdp},
};
use aya_obj::programs::XdpAttachType;
use probe_common::{
    ABI_VERSION, Counter, GenerationMeta,
    map_name::{self, program},
    need,
};

use super::{
    DataplaneError, counters,
    fill::{fill, typed},
    location::{self, LocationTables},
    object::Loaders,
    pins,
    shape::Shape,
    sys,
};
use crate::{compile::Image, instant::Instant};

/// A generation whose programs and maps are pinned.
pub struct Generation {
    /// What its `META` says.
    pub meta: GenerationMeta,
    /// Id of the program that judges packets.
    pub program_id: u32,
    /// Id of the program that judges leaving packets, if there is one.
    pub egress_id: Option<u32>,
    /// Where it is pinned.
    pub dir: PathBuf,
    /// The side-effect-free sibling.
    pub sample: Xdp,
    /// See [`location::lpm_prefixes`].
    pub lpm_prefixes: usize,
    /// The image, if it is known: made here, or recognised after adoption.
    pub image: Option<Arc<Image>>,
    /// Time that loading took: the program that judges packets, its sibling. Known if this process made it.
    pub loads: Option<[Duration; 2]>,
    counters: CounterArray,
}

/// Counters, one for each CPU, that another thread may read too.
pub type CounterArray = Arc<PerCpuArray<MapData, Counter>>;

/// Time that making a generation took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Building an index of the location.
    pub build: Duration,
    /// Loading the programs.
    pub load: Duration,
    /// Filling the maps.
    pub fill: Duration,
}

impl Generation {
    /// Loads, fills and pins a generation. On any failure nothing is left behind.
    pub fn make(
        loaders: &mut Loaders,
        dir: &Path,
        number: u32,
        image: &Arc<Image>,
        tables: &LocationTables,
    ) -> Result<(Self, Timings), DataplaneError> {
        let mut builder = fs::DirBuilder::new();
        builder
            .mode(0o700)
            .create(dir)
            .map_err(|error| DataplaneError::kernel(format!("making {}", dir.display()), &error))?;
        let made = Self::make_in(loaders, dir, number, image, tables);
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
        tables: &LocationTables,
    ) -> Result<(Self, Timings), DataplaneError> {
        let started = Stopwatch::now();
        let shape = Shape::of(image, tables)?;
        let mut ebpf = loaders.generation(&shape, tables.shared_dir())?;
        let mut loads = [Duration::ZERO; 2];
        for (name, load) in [program::GENERATION, program::SAMPLE].into_iter().zip(&mut loads) {
            let started = Stopwatch::now();
            xdp(&mut ebpf, name)?
                .load()
                .map_err(|error| DataplaneError::kernel(format!("loading {name}"), &error))?;
            *load = started.elapsed();
        }
        if shape.needs & need::BOTH != 0 {
            load_egress(&mut ebpf, dir)?;
        }
        let load = started.elapsed();
        #[cfg(feature = "log")]
        super::kernel_log::forward(&mut ebpf, dir.to_owned());

        let started = Stopwatch::now();
        fill(&mut ebpf, image, tables).map_err(|error| DataplaneError::kernel("filling the maps", &error))?;
        let meta = GenerationMeta {
            abi_version: ABI_VERSION,
            number,
            published_s: u64::from(Instant::now().0),
            image_digest: image.digest,
            location_digest: image.location.digest,
            needs: shape.needs,
            indexed: tables.indexed(),
        };
        let mut meta_map: Array<_, GenerationMeta> = typed(&mut ebpf, map_name::META)?;
        meta_map
            .set(0, meta, 0)
            .map_err(|error| DataplaneError::kernel("filling META", &error))?;
        let fill = started.elapsed();

        for name in map_name::GENERATION {
            let map = ebpf.map(name).ok_or_else(|| DataplaneError::missing(name))?;
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
        let build = Duration::ZERO;
        Ok((generation, Timings { build, load, fill }))
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
        let meta = meta.get(&0, 0).map_err(|error| failed(map_name::META, &error))?;
        let egress = (meta.needs & need::BOTH != 0)
            .then(|| ProgramInfo::from_pin(dir.join(program::EGRESS_GENERATION)))
            .transpose()
            .map_err(|error| failed(program::EGRESS_GENERATION, &error))?;
        Ok(Self {
            meta,
            program_id: info.id(),
            egress_id: egress.map(|info| info.id()),
            dir: dir.to_owned(),
            sample: Xdp::from_pin(dir.join(program::SAMPLE), XdpAttachType::Interface)
                .map_err(|error| failed(program::SAMPLE, &error))?,
            lpm_prefixes: location::lpm_prefixes(dir)?,
            image: None,
            loads: None,
            counters: Arc::new(
                PerCpuArray::try_from(Map::PerCpuArray(map(map_name::COUNTERS)?))
                    .map_err(|error: MapError| failed(map_name::COUNTERS, &error))?,
            ),
        })
    }

    /// The program that judges packets.
    pub fn program(&self) -> Result<Xdp, DataplaneError> {
        Xdp::from_pin(self.dir.join(program::GENERATION), XdpAttachType::Interface)
            .map_err(|error| DataplaneError::kernel("opening the generation's program", &error))
    }

    /// The program that judges leaving packets, if the policy says something about them.
    pub fn egress_program(&self) -> Result<Option<SchedClassifier>, DataplaneError> {
        if self.meta.needs & need::BOTH == 0 {
            return Ok(None);
        }
        SchedClassifier::from_pin(self.dir.join(program::EGRESS_GENERATION))
            .map(Some)
            .map_err(|error| DataplaneError::kernel("opening the generation's egress program", &error))
    }

    /// Refuses writes to the tables from now on. Counters stay open: the program writes them. Location tables
    /// that another generation shares with this one are frozen already, and cannot be frozen twice.
    pub fn freeze(&self, has_own_location: bool) -> Result<(), DataplaneError> {
        let own = |name: &str| match name {
            map_name::COUNTERS => false,
            name if map_name::LOCATION.contains(&name) => has_own_location,
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

    /// The counters.
    pub fn counter_array(&self) -> &CounterArray {
        &self.counters
    }
}

/// The elements of a per-CPU array that are not zero: (index, sum over CPUs).
pub fn non_zero(counters: &PerCpuArray<MapData, Counter>) -> Result<Vec<(u32, Counter)>, DataplaneError> {
    let mut found = Vec::new();
    for idx in 0..counters.len() {
        let values = counters
            .get(&idx, 0)
            .map_err(|error| DataplaneError::kernel("reading counters", &error))?;
        let sum = counters::sum(&values);
        if sum != Counter::default() {
            found.push((idx, sum));
        }
    }
    Ok(found)
}

/// Loads and pins the program that judges leaving packets.
fn load_egress(ebpf: &mut Ebpf, dir: &Path) -> Result<(), DataplaneError> {
    let name = program::EGRESS_GENERATION;
    let failed =
        |error: &(dyn std::error::Error + 'static)| DataplaneError::kernel(format!("loading {name}"), error);
    let egress = ebpf
        .program_mut(name)
        .ok_or_else(|| DataplaneError::missing(name))?;
    let egress: &mut SchedClassifier = egress
        .try_into()
        .map_err(|error: aya::programs::ProgramError| failed(&error))?;
    egress.load().map_err(|error| failed(&error))?;
    egress.pin(dir.join(name)).map_err(|error| failed(&error))
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, DataplaneError> {
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| DataplaneError::missing(name))?;
    program
        .try_into()
        .map_err(|error| DataplaneError::kernel(format!("opening {name}"), &error))
}
