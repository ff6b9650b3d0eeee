//! Image to maps.

use std::{hash::Hash, os::fd::AsFd as _};

use aya::{
    Ebpf, Pod,
    maps::{
        Array, HashMap, Map, MapError,
        lpm_trie::{Key, LpmTrie},
    },
};
use ipnet::IpNet;
use probe_common::{ClassValue, ServiceSet, map_name, name_key};

use super::{DataplaneError, location::LocationTables, sys};
use crate::{
    compile::Image,
    geo::{Index, Location},
};

/// Fills the maps of a generation; the location tables only if they are its own.
pub fn fill(ebpf: &mut Ebpf, image: &Image, tables: &LocationTables) -> Result<(), DataplaneError> {
    if let LocationTables::Own(indexes) = tables {
        fill_location(ebpf, &image.location, indexes)?;
    }
    let cells: Vec<u32> = image.matrix.cells.iter().map(|cell| cell.0).collect();
    fill_array(ebpf, map_name::MATRIX, &cells)?;
    fill_array(ebpf, map_name::STAGES, &image.stages)?;
    fill_array(ebpf, map_name::TIERS, &image.tiers)?;
    let overrides = image.overrides.iter().map(|entry| (entry.prefix, entry.value));
    fill_tries(ebpf, map_name::OVERRIDES_V4, map_name::OVERRIDES_V6, overrides)?;
    fill_scopes(ebpf, image)
}

fn fill_location(
    ebpf: &mut Ebpf,
    location: &Location,
    [v4, v6]: &[Option<Index>; 2],
) -> Result<(), DataplaneError> {
    let class = |class: u16| ClassValue { class, reserved: 0 };
    match v4 {
        Some(index) => fill_array(ebpf, map_name::INDEX_V4, index.pages())?,
        None => {
            let entries = location.prefixes_v4.iter();
            let entries =
                entries.map(|entry| (entry.prefix_len, entry.addr.to_be_bytes(), class(entry.class)));
            fill_trie(ebpf, map_name::LOCATION_V4, entries)?;
        }
    }
    match v6 {
        Some(index) => fill_array(ebpf, map_name::INDEX_V6, index.pages()),
        None => {
            let entries = location.prefixes_v6.iter();
            let entries =
                entries.map(|entry| (entry.prefix_len, entry.addr.to_be_bytes(), class(entry.class)));
            fill_trie(ebpf, map_name::LOCATION_V6, entries)
        }
    }
}

fn fill_scopes(ebpf: &mut Ebpf, image: &Image) -> Result<(), DataplaneError> {
    let scopes = &image.scopes;
    let set = |bits: u64| ServiceSet::from_bits(bits);
    let sets = |bits: &[u64]| -> Vec<ServiceSet> { bits.iter().copied().map(set).collect() };
    fill_array(ebpf, map_name::SCOPE_VLAN, &sets(&scopes.vlans))?;
    fill_array(ebpf, map_name::SCOPE_PROTOCOL, &sets(&scopes.protocols))?;
    fill_array(ebpf, map_name::SCOPE_PORT, &sets(&scopes.ports))?;
    let destinations = scopes.destinations.iter();
    let destinations = destinations.map(|(prefix, bits)| (*prefix, set(*bits)));
    fill_tries(ebpf, map_name::SCOPE_V4, map_name::SCOPE_V6, destinations)?;
    let interfaces = scopes.interfaces.iter();
    let interfaces = interfaces.map(|(name, bits)| (name_key(name), set(*bits)));
    fill_hash(ebpf, map_name::SCOPE_INTERFACE, interfaces)?;
    fill_hash(ebpf, map_name::SCOPE_ROWS, scopes.rows.iter().copied())
}

/// Fills the two tries of a table that holds prefixes of both families.
fn fill_tries<V: Pod>(
    ebpf: &mut Ebpf,
    name_v4: &str,
    name_v6: &str,
    entries: impl Iterator<Item = (IpNet, V)> + Clone,
) -> Result<(), DataplaneError> {
    let v4 = entries.clone().filter_map(|(prefix, value)| match prefix {
        IpNet::V4(prefix) => Some((prefix.prefix_len(), prefix.network().octets(), value)),
        IpNet::V6(_) => None,
    });
    fill_trie(ebpf, name_v4, v4)?;
    let v6 = entries.filter_map(|(prefix, value)| match prefix {
        IpNet::V6(prefix) => Some((prefix.prefix_len(), prefix.network().octets(), value)),
        IpNet::V4(_) => None,
    });
    fill_trie(ebpf, name_v6, v6)
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
            .map_err(|error| failed(name, &error))?;
    }
    Ok(())
}

fn fill_hash<K: Pod + Eq + Hash, V: Pod>(
    ebpf: &mut Ebpf,
    name: &str,
    entries: impl Iterator<Item = (K, V)>,
) -> Result<(), DataplaneError> {
    let mut hash: HashMap<_, K, V> = typed(ebpf, name)?;
    for (key, value) in entries {
        hash.insert(key, value, 0).map_err(|error| failed(name, &error))?;
    }
    Ok(())
}

/// Fills an array from its first element on: in one call where the kernel has it, because a matrix may have
/// millions of cells.
fn fill_array<V: Pod>(ebpf: &mut Ebpf, name: &str, values: &[V]) -> Result<(), DataplaneError> {
    let map = ebpf.map_mut(name).ok_or_else(|| DataplaneError::missing(name))?;
    let is_filled = match map {
        Map::Array(data)
            if data
                .info()
                .is_ok_and(|info| info.value_size() as usize == size_of::<V>()) =>
        {
            values.is_empty() || sys::fill_array(data.fd().as_fd(), values).is_ok()
        }
        _ => false,
    };
    if is_filled {
        return Ok(());
    }
    let mut array: Array<_, V> = typed(ebpf, name)?;
    for (idx, value) in (0..).zip(values) {
        array.set(idx, *value, 0).map_err(|error| failed(name, &error))?;
    }
    Ok(())
}

/// A map of an object, by its type.
pub fn typed<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<T, DataplaneError>
where
    T: TryFrom<&'a mut Map, Error = MapError>,
{
    let map = ebpf.map_mut(name).ok_or_else(|| DataplaneError::missing(name))?;
    map.try_into()
        .map_err(|error| DataplaneError::kernel(format!("opening {name}"), &error))
}

fn failed(name: &str, error: &MapError) -> DataplaneError {
    DataplaneError::kernel(format!("filling {name}"), error)
}
