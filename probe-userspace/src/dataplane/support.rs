//! What this kernel can do, seen by trying: what is backported to an old kernel, or left out of a new one, is seen as it
//! is.

use std::{fs, fs::File, io, path::Path};

use aya::{maps::MapType, programs::ProgramType, sys::is_map_supported, sys::is_program_supported};
use serde::Serialize;

use super::{Dataplane, Settings, attach, pins, sys};

const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Kinds of maps that cordon uses.
const MAPS: [(MapType, &str); 9] = [
    (MapType::Array, "arrays"),
    (MapType::PerCpuArray, "arrays for each CPU"),
    (MapType::Hash, "hash tables"),
    (MapType::PerCpuHash, "hash tables for each CPU"),
    (MapType::LruHash, "LRU hash tables"),
    (MapType::LpmTrie, "LPM tries"),
    (MapType::ProgramArray, "program arrays"),
    (MapType::RingBuf, "ring buffers"),
    (MapType::DevMapHash, "hash tables of devices"),
];

/// Kinds of programs that cordon uses.
const PROGRAMS: [(ProgramType, &str); 2] = [
    (ProgramType::Xdp, "XDP programs"),
    (ProgramType::SchedClassifier, "classifier programs"),
];

/// What the kernel was seen to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KernelSupport {
    /// It has type information.
    pub has_btf: bool,
    /// It has tcx links; only said if it has type information.
    pub has_tcx: bool,
    /// Kinds of programs and maps that it refused.
    pub lacking: Vec<String>,
    /// Why it did not take the entry program and the shared maps.
    pub load_error: Option<String>,
}

/// Asks the kernel. Nothing is attached, and nothing stays.
pub fn kernel_support() -> KernelSupport {
    let btf = fs::read(BTF).unwrap_or_default();
    let maps = MAPS.into_iter();
    // One that cannot be asked for says so when the programs are loaded.
    let maps = maps.filter(|(kind, _)| is_map_supported(*kind).is_ok_and(|is_supported| !is_supported));
    let programs = PROGRAMS.into_iter();
    let programs =
        programs.filter(|(kind, _)| is_program_supported(*kind).is_ok_and(|is_supported| !is_supported));
    let lacking = programs.map(|(_, name)| name).chain(maps.map(|(_, name)| name));
    KernelSupport {
        has_btf: !btf.is_empty(),
        has_tcx: has_name(&btf, b"tcx_link"),
        lacking: lacking.map(str::to_owned).collect(),
        load_error: Dataplane::open(&Settings::default())
            .err()
            .map(|error| error.to_string()),
    }
}

/// Whether a type or member has this name: the strings of type information end with zeros.
fn has_name(btf: &[u8], name: &[u8]) -> bool {
    let needle = [&[0], name, &[0]].concat();
    btf.windows(needle.len()).any(|window| window == needle)
}

/// Whether the directory, or the nearest one above it that exists, lies on a bpffs.
pub fn is_on_bpffs(dir: &Path) -> io::Result<bool> {
    let existing = dir
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    sys::is_bpffs(&File::open(existing)?)
}

/// Indexes of the interfaces that links pinned in this directory are attached to. Takes no lock: a daemon may run.
pub fn attached_to(pin_dir: &Path) -> Vec<u32> {
    let links = pins::links(&pins::root(pin_dir)).into_iter();
    let indexes = links.filter_map(|(path, _)| attach::link_ifindex(&path).ok());
    indexes.filter(|ifindex| *ifindex != 0).collect()
}
