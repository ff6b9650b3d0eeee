//! What the tables of a generation cost in the kernel's memory, before they are there. Pure, and an upper bound: a host
//! that runs out of memory while it publishes is worse than one that refuses.

use probe_common::{
    ClassValue, Counter, GenerationMeta, OverrideValue, ServiceSet, Stages, Tier, index::Page, map_name,
};

/// Bytes of a trie's node beside key and value: `struct lpm_trie_node` as of Linux 5.15, which later ones made smaller,
/// the length of the prefix, and what the allocator puts before it.
const TRIE_NODE: u64 = 40 + 4 + 8;
/// Nodes of a trie for each prefix: between two prefixes there may be one that stands for what they share.
const NODES_PER_PREFIX: u64 = 2;
/// Bytes of a hash's element beside key and value: `struct htab_elem`.
const HASH_ELEMENT: u64 = 48;
/// Bytes of a hash's bucket. There are as many as elements, rounded up to a power of two.
const HASH_BUCKET: u64 = 16;
/// Bytes that a map takes however small it is: its head, and what rounding up to pages adds.
const MAP: u64 = 2 * 4096;
/// Programs, translated, for both directions: twice what they are today.
const PROGRAMS: u64 = 1 << 20;

/// What a map is to the kernel: its kind, and the bytes of a key and of a value.
enum Table {
    Trie { key: u64, value: u64 },
    Array { value: u64 },
    PerCpu { value: u64 },
    Hash { key: u64, value: u64 },
}

impl Table {
    /// `None`: no map of a generation.
    fn of(name: &str) -> Option<Self> {
        let set = bytes::<ServiceSet>();
        Some(match name {
            map_name::LOCATION_V4 => Self::trie(4, bytes::<ClassValue>()),
            map_name::LOCATION_V6 => Self::trie(16, bytes::<ClassValue>()),
            map_name::INDEX_V4 | map_name::INDEX_V6 => Self::array(bytes::<Page>()),
            map_name::OVERRIDES_V4 => Self::trie(4, bytes::<OverrideValue>()),
            map_name::OVERRIDES_V6 => Self::trie(16, bytes::<OverrideValue>()),
            map_name::SCOPE_V4 => Self::trie(4, set),
            map_name::SCOPE_V6 => Self::trie(16, set),
            map_name::MATRIX => Self::array(4),
            map_name::STAGES => Self::array(bytes::<Stages>()),
            map_name::TIERS => Self::array(bytes::<Tier>()),
            map_name::META => Self::array(bytes::<GenerationMeta>()),
            map_name::SCOPE_VLAN | map_name::SCOPE_PROTOCOL | map_name::SCOPE_PORT => Self::array(set),
            map_name::COUNTERS => Self::PerCpu {
                value: bytes::<Counter>(),
            },
            map_name::SCOPE_INTERFACE => Self::Hash { key: 4, value: set },
            map_name::SCOPE_ROWS => Self::Hash { key: 8, value: 4 },
            _ => return None,
        })
    }

    const fn trie(key: u64, value: u64) -> Self {
        Self::Trie { key, value }
    }

    const fn array(value: u64) -> Self {
        Self::Array { value }
    }

    fn bytes(&self, n: u64, n_cpus: u64) -> u64 {
        MAP + match self {
            Self::Trie { key, value } => n * NODES_PER_PREFIX * allocated(TRIE_NODE + key + value),
            Self::Array { value } => n * value.next_multiple_of(8),
            // Each element is a pointer to one value for each CPU.
            Self::PerCpu { value } => n * (8 + n_cpus * value.next_multiple_of(8)),
            Self::Hash { key, value } => {
                let element = HASH_ELEMENT + key.next_multiple_of(8) + value.next_multiple_of(8);
                n * element + n.max(1).next_power_of_two() * HASH_BUCKET
            }
        }
    }
}

/// What the kernel's allocator gives for so many bytes: its sizes are powers of two, and 96 and 192.
fn allocated(n_bytes: u64) -> u64 {
    match n_bytes {
        65..=96 => 96,
        129..=192 => 192,
        _ => n_bytes.next_power_of_two(),
    }
}

const fn bytes<T>() -> u64 {
    size_of::<T>() as u64
}

/// Bytes for maps of these sizes and the programs that use them; location tables that another generation has are shared.
pub fn bytes_of(sizes: &[(&'static str, u32)], shares_location: bool, n_cpus: usize) -> u64 {
    let is_shared = |name: &str| shares_location && map_name::LOCATION.contains(&name);
    let tables = sizes.iter().filter(|(name, _)| !is_shared(name));
    let tables = tables.map(|(name, n)| {
        let table = Table::of(name);
        table.map_or(MAP, |table| table.bytes(u64::from(*n), n_cpus as u64))
    });
    PROGRAMS + tables.sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_map_of_a_generation_has_a_cost() {
        for name in map_name::GENERATION {
            assert!(Table::of(name).is_some(), "{name}");
        }
        assert!(Table::of(map_name::STATE).is_none());
    }

    #[test]
    fn location_tables_cost_most_and_are_paid_once() {
        let sizes = [
            (map_name::LOCATION_V4, 1_000_000),
            (map_name::LOCATION_V6, 1_000_000),
            (map_name::MATRIX, 1000),
        ];
        let alone = bytes_of(&sizes, false, 2);
        let shared = bytes_of(&sizes, true, 2);
        // Two nodes of 64 bytes and two of 96 for each pair of prefixes.
        assert_eq!(alone - shared, 1_000_000 * 2 * (64 + 96) + 2 * MAP);
        assert!(shared < 2 << 20, "{shared}");
    }

    #[test]
    fn counters_cost_by_the_cpu() {
        let of = |n_cpus| bytes_of(&[(map_name::COUNTERS, 1000)], false, n_cpus);
        assert_eq!(of(9) - of(8), 1000 * bytes::<Counter>());
    }
}
