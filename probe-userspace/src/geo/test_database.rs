//! A writer of small MaxMind DB files for tests.

use std::net::IpAddr;

use ipnet::IpNet;

/// A value of the format.
pub(crate) enum Value {
    Text(String),
    U16(u16),
    U32(u32),
    U64(u64),
    List(Vec<Value>),
    Map(Vec<(&'static str, Value)>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// `{"country_code": code}`.
pub(crate) fn flat(code: &str) -> Value {
    Value::Map(vec![("country_code", code.into())])
}

/// `{field: {"iso_code": code}, ..}`, with more fields before and after it as real records have.
pub(crate) fn nested(fields: &[(&'static str, &str)]) -> Value {
    let continent = Value::Map(vec![("code", "EU".into()), ("geoname_id", Value::U32(1 << 20))]);
    let mut map = vec![("continent", continent)];
    for (field, code) in fields {
        let country = vec![
            ("geoname_id", Value::U32(77)),
            ("iso_code", (*code).into()),
            ("names", Value::Map(vec![("en", "A country".into())])),
        ];
        map.push((field, Value::Map(country)));
    }
    map.push(("subdivisions", Value::List(vec![Value::Map(Vec::new())])));
    Value::Map(map)
}

/// What a file says about itself.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) record_bits: u16,
    pub(crate) ip_version: u16,
    pub(crate) database_type: &'static str,
    /// Whether `::ffff:0:0/96` leads to the IPv4 part, as in MaxMind's files.
    pub(crate) has_alias: bool,
}

pub(crate) const BOTH_FAMILIES: Kind = Kind {
    record_bits: 28,
    ip_version: 6,
    database_type: "Test-Country",
    has_alias: false,
};

#[derive(Clone, Copy)]
enum Child {
    Nothing,
    Node(u32),
    /// Offset in the data section.
    Data(u32),
}

/// The bytes of a file with these networks; later ones overwrite earlier ones.
pub(crate) fn database(kind: Kind, networks: &[(&str, Value)]) -> Vec<u8> {
    let mut nodes = vec![[Child::Nothing; 2]];
    let mut data = Vec::new();
    for (network, value) in networks {
        let offset = data.len() as u32;
        encode(value, &mut data);
        insert(
            &mut nodes,
            bits(kind, network.parse().unwrap()),
            Child::Data(offset),
        );
    }
    if kind.has_alias {
        let mut v4_start = 0;
        for _ in 0..96 {
            let Child::Node(node) = nodes[v4_start as usize][0] else {
                panic!("an alias needs an IPv4 network");
            };
            v4_start = node;
        }
        let mapped = bits(kind, "::ffff:0:0/96".parse().unwrap());
        insert(&mut nodes, mapped, Child::Node(v4_start));
    }

    let n_nodes = nodes.len() as u32;
    let mut bytes = Vec::new();
    for node in &nodes {
        let [left, right] = node.map(|child| match child {
            Child::Nothing => n_nodes,
            Child::Node(node) => node,
            Child::Data(offset) => n_nodes + 16 + offset,
        });
        let (l, r) = (left.to_be_bytes(), right.to_be_bytes());
        match kind.record_bits {
            24 => bytes.extend([l[1], l[2], l[3], r[1], r[2], r[3]]),
            28 => bytes.extend([l[1], l[2], l[3], l[0] << 4 | r[0], r[1], r[2], r[3]]),
            _ => bytes.extend([l, r].concat()),
        }
    }
    bytes.extend([0; 16]);
    bytes.extend(data);
    bytes.extend(b"\xab\xcd\xefMaxMind.com");
    let metadata = Value::Map(vec![
        ("binary_format_major_version", Value::U16(2)),
        ("binary_format_minor_version", Value::U16(0)),
        ("build_epoch", Value::U64(1_780_000_000)),
        ("database_type", kind.database_type.into()),
        ("description", Value::Map(Vec::new())),
        ("ip_version", Value::U16(kind.ip_version)),
        ("languages", Value::List(vec!["en".into()])),
        ("node_count", Value::U32(n_nodes)),
        ("record_size", Value::U16(kind.record_bits)),
    ]);
    encode(&metadata, &mut bytes);
    bytes
}

/// The path of a network through the tree.
fn bits(kind: Kind, network: IpNet) -> Vec<usize> {
    let (address, n_bits, skip) = match network.network() {
        IpAddr::V4(address) if kind.ip_version == 4 => (u32::from(address).into(), network.prefix_len(), 96),
        IpAddr::V4(address) => (u32::from(address).into(), network.prefix_len() + 96, 0),
        IpAddr::V6(address) => (u128::from(address), network.prefix_len(), 0),
    };
    (0..n_bits)
        .map(|idx| (address >> (127 - skip - idx) & 1) as usize)
        .collect()
}

fn insert(nodes: &mut Vec<[Child; 2]>, bits: Vec<usize>, child: Child) {
    let (last, path) = bits.split_last().expect("a network longer than /0");
    let mut at = 0;
    for bit in path {
        at = match nodes[at][*bit] {
            Child::Node(node) => node as usize,
            above => {
                nodes.push([above; 2]);
                let node = nodes.len() - 1;
                nodes[at][*bit] = Child::Node(node as u32);
                node
            }
        };
    }
    nodes[at][*last] = child;
}

fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => {
            header(2, text.len(), out);
            out.extend(text.as_bytes());
        }
        Value::U16(number) => unsigned(&[5 << 5], &number.to_be_bytes(), out),
        Value::U32(number) => unsigned(&[6 << 5], &number.to_be_bytes(), out),
        // An extended type: its number less seven follows in a byte of its own.
        Value::U64(number) => unsigned(&[0, 9 - 7], &number.to_be_bytes(), out),
        Value::List(values) => {
            out.extend([values.len() as u8, 4]);
            values.iter().for_each(|value| encode(value, out));
        }
        Value::Map(fields) => {
            header(7, fields.len(), out);
            for (key, value) in fields {
                header(2, key.len(), out);
                out.extend(key.as_bytes());
                encode(value, out);
            }
        }
    }
}

/// A number, big-endian, without leading zeros; their count goes into the low bits of the first byte.
fn unsigned(kind: &[u8], bytes: &[u8], out: &mut Vec<u8>) {
    let n_zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    out.push(kind[0] | (bytes.len() - n_zeros) as u8);
    out.extend(&kind[1..]);
    out.extend(&bytes[n_zeros..]);
}

fn header(kind: u8, len: usize, out: &mut Vec<u8>) {
    match len {
        0..29 => out.push(kind << 5 | len as u8),
        _ => out.extend([kind << 5 | 29, (len - 29) as u8]),
    }
}
