//! Whether a proxy or a CDN stands before this host: then sources are its addresses, whoever is behind it.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;

/// Connections to this host's servers, by source. No address is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Peers {
    /// Established TCP connections to ports that this host listens on.
    pub n_connections: usize,
    /// Sources of them: IPv4 addresses, IPv6 prefixes of 64 bits.
    pub n_sources: usize,
    /// Connections of the three sources that have most.
    pub n_of_top: usize,
}

/// Counts connections by source. Loopback is no source.
pub fn peers(addresses: impl IntoIterator<Item = IpAddr>) -> Peers {
    let mut by_source: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for address in addresses {
        let source = match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        };
        if !address.to_canonical().is_loopback() {
            *by_source.entry(source).or_default() += 1;
        }
    }
    let mut counts: Vec<usize> = by_source.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    Peers {
        n_connections: counts.iter().sum(),
        n_sources: counts.len(),
        n_of_top: counts.iter().take(3).sum(),
    }
}
