//! The tries of run-time overrides, which all generations share.

use std::collections::BTreeMap;

use aya::{
    Pod,
    maps::{
        Map, MapData, MapError,
        lpm_trie::{Key, LpmTrie},
    },
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use probe_common::{RuntimeValue, lift_key, limits::MAX_RUNTIME_OVERRIDES, map_name};

use super::{DataplaneError, host_maps::typed, pins::Pins};

/// Both tries, and what is in them.
pub struct RuntimeTries {
    v4: LpmTrie<MapData, [u8; 4], RuntimeValue>,
    v6: LpmTrie<MapData, [u8; 16], RuntimeValue>,
    present: BTreeMap<IpNet, RuntimeValue>,
}

impl RuntimeTries {
    /// Opens the tries and reads what an earlier process left in them.
    pub fn open(pins: &Pins) -> Result<Self, DataplaneError> {
        let mut tries = Self {
            v4: typed(pins, map_name::RUNTIME_V4, Map::LpmTrie)?,
            v6: typed(pins, map_name::RUNTIME_V6, Map::LpmTrie)?,
            present: BTreeMap::new(),
        };
        let reading = |error: MapError| DataplaneError::kernel("reading the run-time exemptions", &error);
        for entry in tries.v4.iter() {
            let (key, value) = entry.map_err(reading)?;
            let prefix = Ipv4Net::new(key.data().into(), key.prefix_len() as u8);
            tries
                .present
                .extend(prefix.ok().map(|prefix| (prefix.into(), value)));
        }
        for entry in tries.v6.iter() {
            let (key, value) = entry.map_err(reading)?;
            let prefix = Ipv6Net::new(key.data().into(), key.prefix_len() as u8);
            tries
                .present
                .extend(prefix.ok().map(|prefix| (prefix.into(), value)));
        }
        Ok(tries)
    }

    /// What is in the tries.
    pub fn present(&self) -> &BTreeMap<IpNet, RuntimeValue> {
        &self.present
    }

    /// As [`probe_common::State::n_runtime`] has it.
    pub fn count(values: &BTreeMap<IpNet, RuntimeValue>) -> u64 {
        let is_deny = |value: &&RuntimeValue| value.key.contains(&lift_key::DENY);
        let n_denies = values.values().filter(is_deny).count() as u64;
        (values.len() as u64) << 32 | n_denies
    }

    /// Makes these the entries: what is new or changed comes before what is old goes, one entry at a time. If that fails,
    /// what was there before is put back.
    pub fn set(&mut self, wanted: &BTreeMap<IpNet, RuntimeValue>) -> Result<(), DataplaneError> {
        let n_v4 = wanted.keys().filter(|prefix| prefix.addr().is_ipv4()).count();
        for n in [n_v4, wanted.len() - n_v4] {
            if n > MAX_RUNTIME_OVERRIDES as usize {
                return Err(DataplaneError::TooMany {
                    what: "the list of run-time exemptions",
                    n,
                    limit: MAX_RUNTIME_OVERRIDES,
                });
            }
        }
        let before = self.present.clone();
        let written = self.write(wanted);
        if written.is_err()
            && let Err(again) = self.write(&before)
        {
            tracing::warn!("the run-time exemptions could not be put back as they were: {again}");
        }
        written
    }

    fn write(&mut self, wanted: &BTreeMap<IpNet, RuntimeValue>) -> Result<(), DataplaneError> {
        for (prefix, value) in wanted {
            if self.present.get(prefix) != Some(value) {
                match prefix {
                    IpNet::V4(net) => insert(&mut self.v4, net.prefix_len(), net.network().octets(), value),
                    IpNet::V6(net) => insert(&mut self.v6, net.prefix_len(), net.network().octets(), value),
                }
                .map_err(|error| failed(prefix, &error))?;
                self.present.insert(*prefix, *value);
            }
        }
        let old: Vec<IpNet> = self
            .present
            .keys()
            .filter(|prefix| !wanted.contains_key(prefix))
            .copied()
            .collect();
        for prefix in old {
            match prefix {
                IpNet::V4(net) => remove(&mut self.v4, net.prefix_len(), net.network().octets()),
                IpNet::V6(net) => remove(&mut self.v6, net.prefix_len(), net.network().octets()),
            }
            .map_err(|error| failed(&prefix, &error))?;
            self.present.remove(&prefix);
        }
        Ok(())
    }
}

fn insert<K: Pod>(
    trie: &mut LpmTrie<MapData, K, RuntimeValue>,
    prefix_len: u8,
    address: K,
    value: &RuntimeValue,
) -> Result<(), MapError> {
    trie.insert(&Key::new(u32::from(prefix_len), address), value, 0)
}

/// One that is gone already is fine.
fn remove<K: Pod>(
    trie: &mut LpmTrie<MapData, K, RuntimeValue>,
    prefix_len: u8,
    address: K,
) -> Result<(), MapError> {
    match trie.remove(&Key::new(u32::from(prefix_len), address)) {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        removed => removed,
    }
}

fn failed(prefix: &IpNet, error: &MapError) -> DataplaneError {
    DataplaneError::kernel(format!("writing the run-time exemptions, at {prefix},"), error)
}
