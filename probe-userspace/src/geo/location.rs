//! The location tables: what the kernel loads and what the oracle asks.

use std::net::IpAddr;

use probe_common::class;
use serde::Serialize;

use super::ranges::Ranges;

/// A prefix and its class; `A` is `u32` (IPv4) or `u128` (IPv6), the address as a number in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix<A> {
    /// First address of the prefix.
    pub addr: A,
    /// Prefix length in bits.
    pub prefix_len: u8,
    /// Class of the addresses that no longer prefix covers.
    pub class: u16,
}

/// Names of the classes: index 0 `unknown`, 1 `lan`, then the codes found in the database, sorted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ClassTable {
    names: Vec<String>,
}

impl ClassTable {
    /// A table of the two fixed classes and the given codes, sorted and without repetition.
    pub fn new(codes: impl IntoIterator<Item = String>) -> Self {
        let mut places: Vec<String> = codes.into_iter().collect();
        places.sort_unstable();
        places.dedup();
        let mut names = vec!["unknown".to_owned(), "lan".to_owned()];
        names.append(&mut places);
        Self { names }
    }

    /// Number of classes, the two fixed ones included.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Never true: the fixed classes are always there.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The name of a class; `?` for a class that is not in the table.
    pub fn name(&self, class: u16) -> &str {
        self.names.get(usize::from(class)).map_or("?", String::as_str)
    }

    /// The class of a country code as the database writes it.
    pub fn class_of(&self, code: &str) -> Option<u16> {
        let places = &self.names[usize::from(class::FIRST_PLACE)..];
        let idx = places.binary_search_by(|name| name.as_str().cmp(code)).ok()?;
        u16::try_from(idx + usize::from(class::FIRST_PLACE)).ok()
    }

    /// Classes that stand for places, with their codes.
    pub fn places(&self) -> impl Iterator<Item = (u16, &str)> {
        (0..=u16::MAX)
            .zip(self.names.iter().map(String::as_str))
            .skip(usize::from(class::FIRST_PLACE))
    }
}

/// Where a location came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GeoSource {
    /// Path as configured, or `embedded`.
    pub origin: String,
    /// `database_type` of the metadata.
    pub database_type: String,
    /// `build_epoch` of the metadata, Unix time in seconds.
    pub built_s: u64,
    /// SHA-256 of the unpacked file, lower-case hexadecimal.
    pub sha256: String,
    /// Networks in the file, by family.
    pub n_networks_v4: usize,
    /// Networks in the file, by family.
    pub n_networks_v6: usize,
    /// Credit that the licence asks for, if it is known.
    pub attribution: Option<String>,
}

impl GeoSource {
    /// What a bundle's `[database]` calls it: its type in lower-case letters, digits, `-`, `_` and `.`.
    pub fn plain_name(&self) -> String {
        let plain = |c: char| match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.') => c,
            _ => '-',
        };
        self.database_type.chars().map(plain).collect()
    }
}

/// A compiled database: the same class for every address in the kernel's prefixes and in the oracle's ranges.
#[derive(Clone, Debug)]
pub struct Location {
    /// Names of the classes.
    pub classes: ClassTable,
    /// Prefixes to load into `LOCATION_V4`; an address that none covers is of class unknown.
    pub prefixes_v4: Vec<Prefix<u32>>,
    /// Prefixes to load into `LOCATION_V6`.
    pub prefixes_v6: Vec<Prefix<u128>>,
    /// The oracle's table, built without the prefixes above.
    pub ranges_v4: Ranges<u32>,
    /// The oracle's table.
    pub ranges_v6: Ranges<u128>,
    /// Where it came from.
    pub source: GeoSource,
    /// SHA-256 over classes and prefixes: equal digests mean equal tables in the kernel.
    pub digest: [u8; 32],
}

/// The class of an address, by the oracle's table.
pub fn location_of(location: &Location, address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(address) => location.ranges_v4.class_of(u32::from(address)),
        IpAddr::V6(address) => location.ranges_v6.class_of(u128::from(address)),
    }
}
