//! Random databases in the kernel, in both engines, against `prefix-trie`.

use std::{env, net::IpAddr};

use cordon::{
    compile::is_judged_by_place,
    dataplane::{Dataplane, Settings},
    host::EngineChoice,
    instant::Instant,
};
use integration_tests::{images, mmdb_writer::MmdbWriter, rng::Rng};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use super::{Oracle, edges, has_class};

/// Databases, and addresses asked of each besides the edges of its networks.
fn counts() -> (usize, usize) {
    match env::var_os("CORDON_TEST_FULL") {
        Some(_) => (40, 10_000),
        None => (3, 1_000),
    }
}

/// Nested and scattered networks of all lengths, in a few hundred countries; what is under 2000::/3 for IPv6.
fn networks(rng: &mut Rng) -> Vec<(IpNet, String)> {
    let places: Vec<u128> = (0..4).map(|_| rng.next_u128()).collect();
    let mut networks = Vec::new();
    for _ in 0..400 {
        let code: String = (0..2).map(|_| char::from(b'A' + rng.below(26) as u8)).collect();
        let kept = rng.below(128);
        let place = places[rng.below(4)];
        let address = place ^ rng.next_u128() >> kept;
        let network = if rng.below(2) == 0 {
            let network = Ipv4Net::new(((address >> 96) as u32).into(), rng.below(33) as u8);
            IpNet::V4(network.unwrap().trunc())
        } else {
            let address = address >> 3 | 1 << 125;
            IpNet::V6(
                Ipv6Net::new(address.into(), 3 + rng.below(126) as u8)
                    .unwrap()
                    .trunc(),
            )
        };
        if !networks.iter().any(|(known, _)| *known == network) {
            networks.push((network, code));
        }
    }
    networks
}

#[test]
fn random_databases_are_exact_in_both_engines() {
    let (n_databases, n_addresses) = counts();
    let mut rng = Rng::new(20_260_603);
    let mut n_asked = 0;
    for database in 0..n_databases {
        let networks = networks(&mut rng);
        let mut writer = MmdbWriter::new();
        let mut oracle = Oracle {
            v4: PrefixMap::new(),
            v6: PrefixMap::new(),
            networks: Vec::new(),
        };
        for (network, code) in &networks {
            writer = writer.country(&network.to_string(), code);
            oracle.insert(*network, code);
        }
        let mut addresses: Vec<IpAddr> = networks.iter().flat_map(|(network, _)| edges(*network)).collect();
        addresses.extend((0..n_addresses).map(|_| match rng.below(2) {
            0 => IpAddr::from(std::net::Ipv4Addr::from(rng.next_u64() as u32)),
            _ => IpAddr::from(std::net::Ipv6Addr::from(rng.next_u128() >> 3 | 1 << 125)),
        }));
        addresses.retain(|address| has_class(*address) && is_judged_by_place(*address));

        let location = images::location(&writer).unwrap();
        let image = images::image(images::PASS_ALL, &location).unwrap();
        for engine in [EngineChoice::Index, EngineChoice::Lpm] {
            let mut dataplane = Dataplane::open(&Settings {
                engine,
                ..Default::default()
            })
            .unwrap();
            dataplane.publish(&image, None).unwrap();
            let now = Instant::now();
            for address in &addresses {
                let class = dataplane.judge(*address, now).unwrap().class;
                assert_eq!(
                    location.classes.name(class),
                    oracle.class(*address),
                    "{engine:?}, database {database}: {address} of {networks:?}"
                );
            }
            n_asked += addresses.len();
        }
    }
    assert!(
        n_asked > n_databases * 2 * 1_000,
        "only {n_asked} addresses were asked"
    );
}
