//! The world as the database itself tells it, read without any of cordon's code: what cordon says about an
//! address is checked against it.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use ipnet::IpNet;
use maxminddb::{LookupResult, Reader, WithinOptions, path};

use crate::rng::Rng;

/// A MaxMind DB file.
#[derive(Debug)]
pub struct RawDatabase {
    reader: Reader<Vec<u8>>,
}

/// The compressed database that ships with cordon.
pub fn shipped_database() -> anyhow::Result<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/data");
    let entries = std::fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().ends_with(".mmdb.zst"))
        .with_context(|| format!("there is no .mmdb.zst in {}", dir.display()))
}

impl RawDatabase {
    /// Opens the database that ships with cordon.
    pub fn shipped() -> anyhow::Result<Self> {
        let path = shipped_database()?;
        let file = std::fs::File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let bytes = zstd::decode_all(file).with_context(|| format!("cannot unpack {}", path.display()))?;
        Self::from_bytes(bytes)
    }

    /// Opens a database in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> anyhow::Result<Self> {
        let reader = Reader::from_source(bytes).context("cannot read the database")?;
        Ok(Self { reader })
    }

    /// The country of an address, as written in the database.
    pub fn country_of(&self, address: IpAddr) -> anyhow::Result<Option<String>> {
        let found = self
            .reader
            .lookup(address)
            .with_context(|| format!("cannot look up {address}"))?;
        country_code(&found)
    }

    /// All networks that have a country, by its code, in the order of the database.
    pub fn networks_by_country(&self) -> anyhow::Result<BTreeMap<String, Vec<IpNet>>> {
        let mut networks: BTreeMap<String, Vec<IpNet>> = BTreeMap::new();
        self.walk(|network, code| {
            let Some(code) = code else {
                return;
            };
            match networks.get_mut(code) {
                Some(known) => known.push(network),
                None => {
                    networks.insert(code.to_owned(), vec![network]);
                }
            }
        })?;
        Ok(networks)
    }

    /// All networks that have no country, be it for want of a record or of a code in it.
    pub fn networks_without_country(&self) -> anyhow::Result<Vec<IpNet>> {
        let mut networks = Vec::new();
        self.walk(|network, code| {
            if code.is_none() {
                networks.push(network);
            }
        })?;
        Ok(networks)
    }

    fn walk(&self, mut visit: impl FnMut(IpNet, Option<&str>)) -> anyhow::Result<()> {
        // Many networks share a record: decode each once.
        let mut codes: HashMap<usize, Option<String>> = HashMap::new();
        let options = WithinOptions::default().include_networks_without_data();
        for found in self
            .reader
            .networks(options)
            .context("cannot walk the database")?
        {
            let found = found.context("cannot walk the database")?;
            let network = found.network().context("cannot walk the database")?;
            let network =
                IpNet::new(network.ip(), network.prefix()).context("the database holds a bad prefix")?;
            let code = match found.offset() {
                None => None,
                Some(offset) => match codes.entry(offset) {
                    Entry::Occupied(known) => known.into_mut().as_deref(),
                    Entry::Vacant(vacant) => vacant.insert(country_code(&found)?).as_deref(),
                },
            };
            visit(network, code);
        }
        Ok(())
    }
}

/// The country of a record in either of the two forms that databases use.
fn country_code(found: &LookupResult<'_, Vec<u8>>) -> anyhow::Result<Option<String>> {
    let flat: Option<String> = found
        .decode_path(&path!["country_code"])
        .context("cannot decode a record of the database")?;
    let code = match flat {
        Some(code) => Some(code),
        None => found
            .decode_path(&path!["country", "iso_code"])
            .context("cannot decode a record of the database")?,
    };
    Ok(code.filter(|code| !code.is_empty()))
}

/// A random address of a network.
pub fn address_in(network: &IpNet, rng: &mut Rng) -> IpAddr {
    match network {
        IpNet::V4(network) => {
            let host = (rng.next_u64() as u32) & u32::from(network.hostmask());
            Ipv4Addr::from(u32::from(network.network()) | host).into()
        }
        IpNet::V6(network) => {
            let host = rng.next_u128() & u128::from(network.hostmask());
            Ipv6Addr::from(u128::from(network.network()) | host).into()
        }
    }
}

/// Ranges that no packet of the lab may come from: those the kernel refuses as a source, those that have no
/// country by design, those with an IPv4 address inside, and the lab's own.
const UNUSABLE: [&str; 17] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    crate::lab::LAB_V4,
    "224.0.0.0/3",
    "::/8",
    "64:ff9b::/32",
    "2001::/32",
    crate::lab::LAB_V6,
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

/// Whether traffic of the lab may come from an address.
pub fn is_usable_source(address: IpAddr) -> bool {
    !UNUSABLE.iter().any(|prefix| {
        let prefix: IpNet = prefix.parse().expect("the table above holds prefixes");
        prefix.contains(&address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_ranges_are_recognised_and_others_are_not() {
        for (address, usable) in [
            ("8.8.8.8", true),
            ("198.17.255.255", true),
            ("198.18.0.0", false),
            ("240.0.0.1", false),
            ("2001:db8::1", true),
            ("2001::1", false),
            ("2002:808:808::1", false),
            ("2001:2::1", false),
            ("2001:3::1", true),
        ] {
            assert_eq!(
                is_usable_source(address.parse().expect("an address")),
                usable,
                "{address}"
            );
        }
    }

    #[test]
    fn drawn_addresses_lie_in_their_network() {
        let mut rng = Rng::new(1);
        for network in ["192.0.2.0/24", "192.0.2.7/32", "2001:db8::/33", "2001:db8::1/128"] {
            let network: IpNet = network.parse().expect("a prefix");
            for _ in 0..50 {
                let address = address_in(&network, &mut rng);
                assert!(network.contains(&address), "{address} is not in {network}");
            }
        }
    }
}
