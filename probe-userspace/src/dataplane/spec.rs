//! What each shared map must look like.

use aya::maps::MapType;
use probe_common::{
    Bucket, BucketKey, Counter, EndpointKey, Flow, FlowKey, FlowPorts, Reason, RuntimeValue, State, Target,
    cap, event_counter,
    limits::{
        ENDPOINT_ENTRIES, FAILSAFE_ENTRIES, INTERFACE_ENTRIES, MAX_ETHERTYPES, MAX_INTERFACES, N_SLOTS,
        OWN_ENTRIES, RUNTIME_ENTRIES, VLAN_ENTRIES,
    },
    map_name,
};

use crate::host::TableSizes;

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
    /// Flags given at creation.
    pub flags: u32,
    size: Size,
}

/// Number of entries of a shared map, or bytes of a ring.
enum Size {
    /// The same everywhere.
    Fixed(u32),
    /// The host chooses. A map that is pinned already keeps its size, and what is in it.
    Chosen(fn(&TableSizes) -> u32),
}

impl MapSpec {
    /// The size to make the map with.
    pub fn max_entries(&self, sizes: &TableSizes) -> u32 {
        match self.size {
            Size::Fixed(max_entries) => max_entries,
            Size::Chosen(choose) => choose(sizes),
        }
    }

    /// Whether a host may choose the size.
    pub fn is_size_chosen(&self) -> bool {
        matches!(self.size, Size::Chosen(_))
    }
}

const LPM_KEY_V4: u32 = 4 + 4;
const LPM_KEY_V6: u32 = 4 + 16;
const PRESENT_SIZE: u32 = 4;
const WORD: u32 = 8;
/// Index and program (`struct bpf_devmap_val`, Linux 5.8).
const DEVMAP_VALUE: u32 = 8;

const BPF_F_NO_PREALLOC: u32 = 1;
/// What the kernel adds to device maps by itself.
const BPF_F_RDONLY_PROG: u32 = 1 << 7;
const BPF_F_MMAPABLE: u32 = 1 << 10;

/// The maps in the pin directory itself. aya checks nothing about what it finds pinned, so this is compared
/// before a path is handed to it.
pub const SHARED_MAPS: [MapSpec; 23] = {
    use MapType::{
        Array, DevMapHash, Hash, LpmTrie, LruHash, PerCpuArray, PerCpuHash, ProgramArray, RingBuf,
    };
    use Size::{Chosen, Fixed};

    let counter = size_of::<Counter>() as u32;
    let runtime_value = size_of::<RuntimeValue>() as u32;
    let failsafe = Fixed(FAILSAFE_ENTRIES);
    let runtime = Fixed(RUNTIME_ENTRIES);
    let state = size_of::<State>() as u32;
    let flow = [size_of::<FlowKey>() as u32, size_of::<Flow>() as u32];
    let bucket = [size_of::<BucketKey>() as u32, size_of::<Bucket>() as u32];
    let target = size_of::<Target>() as u32;
    let no_prealloc = BPF_F_NO_PREALLOC;
    [
        spec(map_name::STATE, Array, [4, state], Fixed(1), BPF_F_MMAPABLE),
        spec(map_name::SLOTS, ProgramArray, [4, 4], Fixed(N_SLOTS), 0),
        spec(
            map_name::FAILSAFE_V4,
            LpmTrie,
            [LPM_KEY_V4, PRESENT_SIZE],
            failsafe,
            no_prealloc,
        ),
        spec(
            map_name::FAILSAFE_V6,
            LpmTrie,
            [LPM_KEY_V6, PRESENT_SIZE],
            Fixed(FAILSAFE_ENTRIES),
            no_prealloc,
        ),
        spec(
            map_name::RUNTIME_V4,
            LpmTrie,
            [LPM_KEY_V4, runtime_value],
            runtime,
            no_prealloc,
        ),
        spec(
            map_name::RUNTIME_V6,
            LpmTrie,
            [LPM_KEY_V6, runtime_value],
            Fixed(RUNTIME_ENTRIES),
            no_prealloc,
        ),
        spec(
            map_name::ENTRY_COUNTERS,
            PerCpuArray,
            [4, counter],
            Fixed(Reason::N_WITHOUT_CLASS),
            0,
        ),
        spec(
            map_name::INTERFACES,
            Hash,
            [4, 4],
            Fixed(INTERFACE_ENTRIES),
            no_prealloc,
        ),
        spec(
            map_name::VLANS,
            Hash,
            [WORD, PRESENT_SIZE],
            Fixed(VLAN_ENTRIES),
            no_prealloc,
        ),
        spec(
            map_name::ENDPOINTS,
            Hash,
            [size_of::<EndpointKey>() as u32, PRESENT_SIZE],
            Fixed(ENDPOINT_ENTRIES),
            no_prealloc,
        ),
        spec(
            map_name::OWN_V4,
            Hash,
            [4, PRESENT_SIZE],
            Fixed(OWN_ENTRIES),
            no_prealloc,
        ),
        spec(
            map_name::OWN_V6,
            Hash,
            [16, PRESENT_SIZE],
            Fixed(OWN_ENTRIES),
            no_prealloc,
        ),
        spec(
            map_name::ETHERTYPES,
            PerCpuHash,
            [2, counter],
            Fixed(MAX_ETHERTYPES),
            0,
        ),
        spec(
            map_name::FLOWS,
            LruHash,
            flow,
            Chosen(|sizes| sizes.flow_entries),
            0,
        ),
        spec(
            map_name::FLOW_PORTS,
            Array,
            [4, size_of::<FlowPorts>() as u32],
            Fixed(1),
            0,
        ),
        spec(
            map_name::BUCKETS,
            LruHash,
            bucket,
            Chosen(|sizes| sizes.limiter_entries),
            0,
        ),
        spec(map_name::CAPS, PerCpuArray, [4, WORD], Fixed(cap::N), 0),
        spec(
            map_name::EVENTS,
            RingBuf,
            [0, 0],
            Chosen(|sizes| sizes.event_ring_bytes),
            0,
        ),
        spec(
            map_name::EVENT_COUNTERS,
            PerCpuArray,
            [4, WORD],
            Fixed(event_counter::N),
            0,
        ),
        spec(
            map_name::REDIRECT,
            DevMapHash,
            [4, DEVMAP_VALUE],
            Fixed(MAX_INTERFACES),
            BPF_F_RDONLY_PROG,
        ),
        spec(
            map_name::TARGETS,
            Hash,
            [4, target],
            Fixed(INTERFACE_ENTRIES),
            no_prealloc,
        ),
        spec(map_name::REDIRECT_ERRORS, PerCpuArray, [4, WORD], Fixed(1), 0),
        spec(map_name::EGRESS_SLOTS, ProgramArray, [4, 4], Fixed(N_SLOTS), 0),
    ]
};

const fn spec(
    name: &'static str,
    map_type: MapType,
    [key_size, value_size]: [u32; 2],
    size: Size,
    flags: u32,
) -> MapSpec {
    MapSpec {
        name,
        map_type,
        key_size,
        value_size,
        flags,
        size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shared_map_has_its_spec() {
        let names: Vec<&str> = SHARED_MAPS.iter().map(|spec| spec.name).collect();
        assert_eq!(names, map_name::SHARED);
    }
}
