//! Who is where in the corpus: addresses for documentation (RFC 5737, 3849, 9637) and benchmarks (RFC 2544).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    lab::{EDGE_V4, EDGE_V6},
    mmdb_writer::MmdbWriter,
};

/// Where a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the country that the policies block.
    Blocked,
    /// In the country that the policies allow.
    Allowed,
}

impl Place {
    /// The code of its country.
    pub const fn country(self) -> &'static str {
        match self {
            Self::Blocked => "RU",
            Self::Allowed => "US",
        }
    }
}

/// The database: prefixes, nested ones in both orders. What is not below one of them is in no country.
pub const NETWORKS: [(&str, Place); 14] = [
    ("198.51.100.0/24", Place::Blocked),
    ("192.0.2.0/24", Place::Allowed),
    ("198.19.0.0/16", Place::Blocked),
    ("198.19.7.0/24", Place::Allowed),
    ("198.18.0.0/16", Place::Allowed),
    ("198.18.7.0/24", Place::Blocked),
    ("198.18.7.128/32", Place::Allowed),
    ("2001:db8:b::/48", Place::Blocked),
    ("2001:db8:a::/48", Place::Allowed),
    ("3fff:b::/32", Place::Blocked),
    ("3fff:b:a::/48", Place::Allowed),
    ("3fff:a::/32", Place::Allowed),
    ("3fff:a:b::/48", Place::Blocked),
    ("3fff:a:b::a/128", Place::Allowed),
];

/// Blocked.
pub const B4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// Allowed.
pub const A4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
/// In no country.
pub const U4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
/// Blocked.
pub const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 7);
/// Allowed.
pub const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 7);
/// In no country.
pub const U6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 7);

/// This host's own addresses.
pub const OWN: [IpAddr; 2] = [IpAddr::V4(EDGE_V4), IpAddr::V6(EDGE_V6)];

/// The database as the real reader takes it.
pub fn database() -> MmdbWriter {
    NETWORKS
        .iter()
        .fold(MmdbWriter::new(), |database, (prefix, place)| {
            database.country(prefix, place.country())
        })
}

/// 6to4 around an IPv4 address (RFC 3056).
pub fn six_to_four(inside: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = inside.octets().map(u16::from);
    Ipv6Addr::new(0x2002, a << 8 | b, c << 8 | d, 0, 0, 0, 0, 1)
}

/// NAT64 with the well-known prefix around an IPv4 address (RFC 6052).
pub fn nat64(inside: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = inside.octets().map(u16::from);
    Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a << 8 | b, c << 8 | d)
}

/// Teredo around an IPv4 address (RFC 4380); the server's address, in front, is an allowed one.
pub fn teredo(inside: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = inside.octets().map(|byte| u16::from(!byte));
    Ipv6Addr::new(0x2001, 0, 0xc000, 0x207, 0, 0x63bf, a << 8 | b, c << 8 | d)
}
