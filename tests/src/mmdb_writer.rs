//! Writes small MaxMind DB files (format 2.0, IPv6 tree, 32-bit records), so that a test says itself which
//! address lies where.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use ipnet::IpNet;

/// A database in the making: prefix -> country code, in the flat form `{"country_code": ".."}`.
#[derive(Clone, Debug, Default)]
pub struct MmdbWriter {
    networks: Vec<(IpNet, String)>,
}

#[derive(Clone, Copy)]
enum Record {
    Empty,
    Node(u32),
    Data(u32),
}

/// Between the tree and the data section.
const SEPARATOR_LEN: u32 = 16;

impl MmdbWriter {
    /// An empty database.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the addresses of a prefix, given as text, into a country. A longer prefix wins over a shorter one.
    pub fn country(mut self, prefix: &str, code: &str) -> Self {
        let prefix = prefix
            .parse()
            .unwrap_or_else(|error| panic!("{prefix} is no prefix: {error}"));
        self.networks.push((prefix, code.to_owned()));
        self
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, self.to_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The content of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut data = Vec::new();
        let mut offsets = BTreeMap::new();
        for (_, code) in &self.networks {
            offsets.entry(code.as_str()).or_insert_with(|| {
                let offset = data.len() as u32;
                map_header(&mut data, 1);
                text(&mut data, "country_code");
                text(&mut data, code);
                offset
            });
        }

        // Shorter prefixes first, so that a longer one finds the leaf that it refines.
        let mut networks: Vec<_> = self.networks.iter().collect();
        networks.sort_by_key(|(prefix, _)| (depth(prefix), *prefix));
        let mut nodes = vec![[Record::Empty; 2]];
        for (prefix, code) in networks {
            insert(&mut nodes, prefix, Record::Data(offsets[code.as_str()]));
        }

        let n_nodes = nodes.len() as u32;
        let mut bytes = Vec::new();
        for record in nodes.as_flattened() {
            let value = match record {
                Record::Empty => n_nodes,
                Record::Node(idx) => *idx,
                Record::Data(offset) => n_nodes + SEPARATOR_LEN + offset,
            };
            bytes.extend_from_slice(&value.to_be_bytes());
        }
        bytes.extend_from_slice(&[0; SEPARATOR_LEN as usize]);
        bytes.append(&mut data);
        bytes.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
        metadata(&mut bytes, n_nodes);
        bytes
    }
}

/// Length of the path from the root of the IPv6 tree: IPv4 lies in `::/96`.
fn depth(prefix: &IpNet) -> u32 {
    match prefix {
        IpNet::V4(prefix) => 96 + u32::from(prefix.prefix_len()),
        IpNet::V6(prefix) => u32::from(prefix.prefix_len()),
    }
}

fn insert(nodes: &mut Vec<[Record; 2]>, prefix: &IpNet, leaf: Record) {
    let path = match prefix {
        IpNet::V4(prefix) => u128::from(u32::from(prefix.network())),
        IpNet::V6(prefix) => u128::from(prefix.network()),
    };
    let depth = depth(prefix);
    assert!(depth > 0, "a database of one leaf has no tree");
    let side = |level: u32| (path >> (127 - level) & 1) as usize;
    let mut node_idx = 0;
    for level in 0..depth - 1 {
        node_idx = match nodes[node_idx][side(level)] {
            Record::Node(idx) => idx as usize,
            // What a shorter prefix says holds on both sides of the new node.
            covering => {
                nodes.push([covering; 2]);
                nodes[node_idx][side(level)] = Record::Node(nodes.len() as u32 - 1);
                nodes.len() - 1
            }
        };
    }
    nodes[node_idx][side(depth - 1)] = leaf;
}

fn metadata(bytes: &mut Vec<u8>, n_nodes: u32) {
    map_header(bytes, 9);
    text(bytes, "binary_format_major_version");
    uint(bytes, 5, 2);
    text(bytes, "binary_format_minor_version");
    uint(bytes, 5, 0);
    text(bytes, "build_epoch");
    uint(bytes, 9, 1_780_272_000);
    text(bytes, "database_type");
    text(bytes, "cordon-test-country");
    text(bytes, "description");
    map_header(bytes, 1);
    text(bytes, "en");
    text(bytes, "countries of a test");
    text(bytes, "ip_version");
    uint(bytes, 5, 6);
    text(bytes, "languages");
    control(bytes, 11, 1);
    text(bytes, "en");
    text(bytes, "node_count");
    uint(bytes, 6, n_nodes);
    text(bytes, "record_size");
    uint(bytes, 5, 32);
}

/// Control byte of a value: type and size. Types from 8 on need a second byte.
fn control(bytes: &mut Vec<u8>, kind: u8, size: u8) {
    assert!(size < 29, "longer values would need more size bytes");
    if kind < 8 {
        bytes.push(kind << 5 | size);
    } else {
        bytes.extend_from_slice(&[size, kind - 7]);
    }
}

fn map_header(bytes: &mut Vec<u8>, n_pairs: u8) {
    control(bytes, 7, n_pairs);
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    control(bytes, 2, text.len() as u8);
    bytes.extend_from_slice(text.as_bytes());
}

fn uint(bytes: &mut Vec<u8>, kind: u8, value: u32) {
    let value = value.to_be_bytes();
    let n_zeros = value.iter().take_while(|byte| **byte == 0).count();
    control(bytes, kind, (value.len() - n_zeros) as u8);
    bytes.extend_from_slice(&value[n_zeros..]);
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use crate::raw_database::RawDatabase;

    use super::*;

    #[test]
    fn the_reader_finds_what_was_written() {
        let bytes = MmdbWriter::new()
            .country("198.51.100.128/25", "BY")
            .country("198.51.100.0/24", "RU")
            .country("2001:db8::/32", "NL")
            .country("2001:db8:0:1::/64", "RU")
            .to_bytes();
        let database = RawDatabase::from_bytes(bytes).expect("reading it");
        for (address, country) in [
            ("198.51.100.127", Some("RU")),
            ("198.51.100.128", Some("BY")),
            ("198.51.101.0", None),
            ("2001:db8:0:1::5", Some("RU")),
            ("2001:db8:0:2::5", Some("NL")),
            ("2001:db9::", None),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(
                database.country_of(address).expect("a lookup").as_deref(),
                country,
                "{address}"
            );
        }
        assert_eq!(database.networks_by_country().expect("the networks").len(), 3);
    }
}
