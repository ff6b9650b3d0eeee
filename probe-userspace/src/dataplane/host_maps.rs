//! The shared maps that say what the daemon knows about this host: its interfaces and addresses, the VLANs that are
//! judged, where redirects go. Each is changed by single entries while packets are judged.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::Hash,
    net::IpAddr,
};

use aya::{
    Pod,
    maps::{HashMap, Map, MapData, MapError, PerCpuHashMap, xdp::DevMapHash},
};
use probe_common::{
    Counter, EndpointKey, Target,
    limits::{MAX_ENDPOINTS, MAX_INTERFACES, MAX_OWN, VLAN_ENTRIES},
    map_name, mapped, name_key,
    scope::{ONLY_LISTED, vlan_key},
};

use super::{DataplaneError, counters, pins::Pins, sys};

const PRESENT: u32 = 1;
const ENDPOINT_LEN: usize = size_of::<EndpointKey>();

/// Handles to these maps.
pub struct HostMaps {
    interfaces: HashMap<MapData, u32, u32>,
    vlans: HashMap<MapData, u64, u32>,
    endpoints: HashMap<MapData, [u8; ENDPOINT_LEN], u32>,
    own_v4: HashMap<MapData, [u8; 4], u32>,
    own_v6: HashMap<MapData, [u8; 16], u32>,
    targets: HashMap<MapData, u32, Target>,
    redirect: DevMapHash<MapData>,
    ethertypes: PerCpuHashMap<MapData, u16, Counter>,
}

impl HostMaps {
    /// Opens the maps, which exist.
    pub fn open(pins: &Pins) -> Result<Self, DataplaneError> {
        Ok(Self {
            interfaces: hash(pins, map_name::INTERFACES)?,
            vlans: hash(pins, map_name::VLANS)?,
            endpoints: hash(pins, map_name::ENDPOINTS)?,
            own_v4: hash(pins, map_name::OWN_V4)?,
            own_v6: hash(pins, map_name::OWN_V6)?,
            targets: hash(pins, map_name::TARGETS)?,
            redirect: typed(pins, map_name::REDIRECT, Map::DevMapHash)?,
            ethertypes: typed(pins, map_name::ETHERTYPES, Map::PerCpuHashMap)?,
        })
    }

    /// Makes these the interfaces that are known by name.
    pub fn set_interfaces(&mut self, interfaces: &[(u32, String)]) -> Result<(), DataplaneError> {
        let wanted: BTreeMap<u32, u32> = interfaces
            .iter()
            .map(|(ifindex, name)| (*ifindex, name_key(name)))
            .collect();
        check_size("the list of interfaces", wanted.len(), MAX_INTERFACES)?;
        set(&mut self.interfaces, map_name::INTERFACES, &wanted)
    }

    /// Index of an interface by its name, as the programs know it.
    pub fn interface(&self, name: &str) -> Option<u32> {
        let key = name_key(name);
        self.interfaces
            .iter()
            .flatten()
            .find(|(_, its_key)| *its_key == key)
            .map(|(ifindex, _)| ifindex)
    }

    /// Makes these the VLANs that are judged on the interfaces they name. An interface is marked after its VLANs are
    /// there, and unmarked before they go: none that is judged before and after goes unjudged meanwhile.
    pub fn set_vlans(&mut self, vlans: &[(u32, u16)]) -> Result<(), DataplaneError> {
        let listed = vlans.iter().map(|(ifindex, vlan)| vlan_key(*ifindex, *vlan));
        let listed: BTreeMap<u64, u32> = listed.map(|key| (key, PRESENT)).collect();
        let marks = vlans.iter().map(|(ifindex, _)| vlan_key(*ifindex, ONLY_LISTED));
        let marks: BTreeSet<u64> = marks.collect();
        check_size("the list of VLANs", listed.len() + marks.len(), VLAN_ENTRIES / 2)?;

        let failed = |error| writing(map_name::VLANS, &error);
        for mark in keys(&self.vlans, map_name::VLANS)? {
            if mark as u16 == ONLY_LISTED && !marks.contains(&mark) {
                self.vlans.remove(&mark).map_err(failed)?;
            }
        }
        for (key, value) in &listed {
            self.vlans.insert(key, value, 0).map_err(failed)?;
        }
        let wanted: BTreeMap<u64, u32> = marks
            .into_iter()
            .map(|key| (key, PRESENT))
            .chain(listed)
            .collect();
        set(&mut self.vlans, map_name::VLANS, &wanted)
    }

    /// Makes these the servers whose answers pass in a halt.
    pub fn set_endpoints(&mut self, endpoints: &[Endpoint]) -> Result<(), DataplaneError> {
        let keys = endpoints.iter().map(Endpoint::key);
        let wanted: BTreeMap<[u8; ENDPOINT_LEN], u32> = keys.map(|key| (key, PRESENT)).collect();
        check_size("the list of endpoints", wanted.len(), MAX_ENDPOINTS)?;
        set(&mut self.endpoints, map_name::ENDPOINTS, &wanted)
    }

    /// Adds these to this host's own addresses.
    pub fn add_own(&mut self, addresses: &OwnAddresses) -> Result<(), DataplaneError> {
        check_size("the list of IPv4 addresses", addresses.v4.len(), MAX_OWN)?;
        check_size("the list of IPv6 addresses", addresses.v6.len(), MAX_OWN)?;
        add(&mut self.own_v4, map_name::OWN_V4, &addresses.v4)?;
        add(&mut self.own_v6, map_name::OWN_V6, &addresses.v6)
    }

    /// Removes all other addresses.
    pub fn keep_own(&mut self, addresses: &OwnAddresses) -> Result<(), DataplaneError> {
        keep(&mut self.own_v4, map_name::OWN_V4, &addresses.v4)?;
        keep(&mut self.own_v6, map_name::OWN_V6, &addresses.v6)
    }

    /// Lets a redirect go to an interface, or takes the interface out. What the program asks first comes last, and
    /// goes first.
    pub fn set_target(&mut self, name: &str, target: Option<&Target>) -> Result<(), DataplaneError> {
        let key = name_key(name);
        match target {
            Some(target) => {
                self.redirect
                    .insert(key, target.ifindex, None, 0)
                    .map_err(|error| {
                        DataplaneError::kernel(format!("making {name} a target of redirects"), &error)
                    })?;
                self.targets
                    .insert(key, target, 0)
                    .map_err(|error| writing(map_name::TARGETS, &error))
            }
            None => {
                absent_is_fine(self.targets.remove(&key))
                    .map_err(|error| writing(map_name::TARGETS, &error))?;
                absent_is_fine(self.redirect.remove(key)).map_err(|error| writing(map_name::REDIRECT, &error))
            }
        }
    }

    /// Frames that are neither IP nor anything else the parser knows, by their type; type 0: all types that found no
    /// room of their own.
    pub fn ethertypes(&self) -> Result<Vec<(u16, Counter)>, DataplaneError> {
        let mut found = Vec::new();
        for entry in self.ethertypes.iter() {
            let (ethertype, values) =
                entry.map_err(|error| DataplaneError::kernel("reading the ethertypes", &error))?;
            let sum = counters::sum(&values);
            if sum.packets != 0 {
                found.push((ethertype, sum));
            }
        }
        found.sort_unstable_by_key(|(ethertype, _)| *ethertype);
        Ok(found)
    }
}

/// A server of this host's, as packets from it say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// The port that it answers from.
    pub port: u16,
    /// IP protocol number: 6 or 17.
    pub protocol: u8,
}

impl Endpoint {
    fn key(&self) -> [u8; ENDPOINT_LEN] {
        let key = EndpointKey {
            address: match self.address {
                IpAddr::V4(address) => mapped(address.octets()),
                IpAddr::V6(address) => address.octets(),
            },
            port: self.port.to_be_bytes(),
            protocol: self.protocol.into(),
        };
        let mut bytes = [0; ENDPOINT_LEN];
        bytes.copy_from_slice(sys::bytes_of(&key));
        bytes
    }
}

/// This host's own addresses, by family.
pub struct OwnAddresses {
    v4: BTreeMap<[u8; 4], u32>,
    v6: BTreeMap<[u8; 16], u32>,
}

impl OwnAddresses {
    /// Sorts addresses by family.
    pub fn new(addresses: &[IpAddr]) -> Self {
        let mut own = Self {
            v4: BTreeMap::new(),
            v6: BTreeMap::new(),
        };
        for address in addresses {
            match address {
                IpAddr::V4(address) => own.v4.insert(address.octets(), PRESENT),
                IpAddr::V6(address) => own.v6.insert(address.octets(), PRESENT),
            };
        }
        own
    }

    /// See [`probe_common::State::own_filter`].
    pub fn filter(&self) -> [u64; 4] {
        let last_bytes = self.v4.keys().map(|octets| octets[3]);
        let mut filter = [0; 4];
        for byte in last_bytes.chain(self.v6.keys().map(|octets| octets[15])) {
            filter[usize::from(byte / 64)] |= 1 << (byte % 64);
        }
        filter
    }
}

/// Makes these the entries of a map: what is new or changed comes before what is old goes.
fn set<K: Pod + Ord + Hash, V: Pod + PartialEq>(
    map: &mut HashMap<MapData, K, V>,
    name: &str,
    wanted: &BTreeMap<K, V>,
) -> Result<(), DataplaneError> {
    add(map, name, wanted)?;
    keep(map, name, wanted)
}

fn add<K: Pod + Ord, V: Pod + PartialEq>(
    map: &mut HashMap<MapData, K, V>,
    name: &str,
    wanted: &BTreeMap<K, V>,
) -> Result<(), DataplaneError> {
    for (key, value) in wanted {
        if map.get(key, 0).ok().as_ref() != Some(value) {
            map.insert(key, value, 0).map_err(|error| writing(name, &error))?;
        }
    }
    Ok(())
}

fn keep<K: Pod + Ord, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    name: &str,
    wanted: &BTreeMap<K, V>,
) -> Result<(), DataplaneError> {
    for key in keys(map, name)? {
        if !wanted.contains_key(&key) {
            map.remove(&key).map_err(|error| writing(name, &error))?;
        }
    }
    Ok(())
}

fn keys<K: Pod, V: Pod>(map: &HashMap<MapData, K, V>, name: &str) -> Result<Vec<K>, DataplaneError> {
    map.keys()
        .collect::<Result<_, _>>()
        .map_err(|error| DataplaneError::kernel(format!("reading {name}"), &error))
}

fn check_size(what: &'static str, n: usize, limit: u32) -> Result<(), DataplaneError> {
    if n > limit as usize {
        return Err(DataplaneError::TooMany { what, n, limit });
    }
    Ok(())
}

fn absent_is_fine(removed: Result<(), MapError>) -> Result<(), MapError> {
    match removed {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        removed => removed,
    }
}

fn hash<K: Pod, V: Pod>(pins: &Pins, name: &str) -> Result<HashMap<MapData, K, V>, DataplaneError> {
    typed(pins, name, Map::HashMap)
}

/// Opens a shared map by its type.
pub fn typed<T>(pins: &Pins, name: &str, kind: fn(MapData) -> Map) -> Result<T, DataplaneError>
where
    T: TryFrom<Map, Error = MapError>,
{
    MapData::from_pin(pins.map(name))
        .and_then(|map| kind(map).try_into())
        .map_err(|error| DataplaneError::kernel(format!("opening {name}"), &error))
}

fn writing(name: &str, error: &MapError) -> DataplaneError {
    DataplaneError::kernel(format!("writing {name}"), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_has_a_bit_for_each_last_byte() {
        let addresses = ["192.0.2.0", "192.0.2.65", "2001:db8::ff"].map(|text| text.parse().unwrap());
        assert_eq!(OwnAddresses::new(&addresses).filter(), [1, 2, 0, 1 << 63]);
    }
}
