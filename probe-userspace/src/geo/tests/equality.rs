//! Runs, prefixes and the database itself give the same class for every address.

use maxminddb::{Reader, WithinOptions};
use proptest::prelude::*;

use super::*;
use crate::geo::{Address, EMBEDDED_ATTRIBUTION, EMBEDDED_NAME, LAN_V4, LAN_V6, Ranges, ortc};

/// The embedded database, network by network, at and around both ends of each: runs, the kernel's prefixes and
/// what the reader itself looks up.
#[test]
fn world_database_is_the_same_in_every_form() {
    let bytes = embedded_database().unwrap();
    let location = read_database(EMBEDDED_NAME, bytes.clone(), FieldChoice::CountryFirst).unwrap();
    assert_eq!(location.source.attribution.as_deref(), Some(EMBEDDED_ATTRIBUTION));
    let (v4, v6) = tries(&location);
    assert_eq!(v4.len(), location.prefixes_v4.len(), "each prefix once");
    assert_eq!(v6.len(), location.prefixes_v6.len(), "each prefix once");

    let reader = Reader::from_source(bytes).unwrap();
    let mut class_of_offset = std::collections::HashMap::new();
    let mut by_reader = |address: IpAddr| {
        let is_lan = LAN_V4
            .iter()
            .map(|(addr, len)| IpNet::new(addr.to_ip(), *len).unwrap())
            .chain(
                LAN_V6
                    .iter()
                    .map(|(addr, len)| IpNet::new(addr.to_ip(), *len).unwrap()),
            )
            .any(|net| net.contains(&address));
        // The reader takes `::/96` for IPv4 addresses; as a source of an IPv6 packet they are nowhere.
        let is_compatible = matches!(address, IpAddr::V6(address) if u128::from(address) >> 32 == 0);
        if is_lan {
            return class::LAN;
        }
        let found = reader.lookup(address).unwrap();
        let Some(offset) = found.offset().filter(|_| !is_compatible) else {
            return class::UNKNOWN;
        };
        *class_of_offset.entry(offset).or_insert_with(|| {
            let code: Option<String> = found.decode_path(&maxminddb::path!["country_code"]).unwrap();
            code.map_or(class::UNKNOWN, |code| location.classes.class_of(&code).unwrap())
        })
    };
    let (mut n_networks, mut n_addresses) = (0, 0);
    for network in reader.networks(WithinOptions::default()).unwrap() {
        let network = network.unwrap().network().unwrap();
        n_networks += 1;
        let around: Vec<IpAddr> = match (network.network(), network.broadcast()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => ends(u32::from(first), last.into()),
            (IpAddr::V6(first), IpAddr::V6(last)) => ends(u128::from(first), last.into()),
            other => panic!("{other:?}"),
        };
        for address in around {
            n_addresses += 1;
            let expected = by_reader(address);
            assert_eq!(location_of(&location, address), expected, "run of {address}");
            let by_trie = match address {
                IpAddr::V4(address) => by_trie_v4(&v4, address.into()),
                IpAddr::V6(address) => by_trie_v6(&v6, address.into()),
            };
            assert_eq!(by_trie, expected, "prefix of {address}");
        }
    }
    assert_eq!(
        n_networks,
        location.source.n_networks_v4 + location.source.n_networks_v6
    );
    assert!(n_addresses > 5_000_000);
}

/// First and last address, and those beside them.
fn ends<A: Address>(first: A, last: A) -> Vec<IpAddr> {
    [Some(first), Some(last), first.previous(), last.next()]
        .into_iter()
        .flatten()
        .map(Address::to_ip)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Nested random tables of both families: the runs made of a table and the prefixes made of the runs give
    /// what longest match over the table gives, at every boundary and at random addresses.
    #[test]
    fn prefixes_and_runs_agree_with_longest_match(
        nets in prop::collection::vec((any::<u128>(), 0..=128u8, 0..6u16), 0..60),
        clustered in prop::collection::vec((0..=0xffffu128, 0..=16u8, 0..6u16), 0..60),
        probes in prop::collection::vec(any::<u128>(), 50),
    ) {
        let clustered = clustered.iter().map(|(low, len, class)| (0x2001_0db8 << 96 | low << 80, len + 32, *class));
        let mut trie_in: PrefixMap<Ipv6Net, u16> = PrefixMap::new();
        let mut trie_in_v4: PrefixMap<Ipv4Net, u16> = PrefixMap::new();
        for (addr, len, class) in nets.iter().copied().chain(clustered) {
            trie_in.insert(Ipv6Net::new(addr.into(), len).unwrap().trunc(), class);
            let len_v4 = if len > 32 { len % 33 } else { len };
            trie_in_v4.insert(Ipv4Net::new(((addr >> 64) as u32).into(), len_v4).unwrap().trunc(), class);
        }
        let boundaries_v6 = trie_in.iter().flat_map(|(net, _)| [Some(u128::from(net.network())), u128::from(net.broadcast()).checked_add(1)]);
        let boundaries_v6 = sorted(boundaries_v6);
        let ranges = runs(&boundaries_v6, |address| by_trie_v6(&trie_in, address));
        let out = trie_v6(&ortc::prefixes(&ranges));
        for address in around(&boundaries_v6).chain(probes.iter().copied()) {
            let expected = by_trie_v6(&trie_in, address);
            prop_assert_eq!(ranges.class_of(address), expected);
            prop_assert_eq!(by_trie_v6(&out, address), expected);
        }
        let boundaries_v4 = trie_in_v4.iter().flat_map(|(net, _)| [Some(u32::from(net.network())), u32::from(net.broadcast()).checked_add(1)]);
        let boundaries_v4 = sorted(boundaries_v4);
        let ranges = runs(&boundaries_v4, |address| by_trie_v4(&trie_in_v4, address));
        let out = trie_v4(&ortc::prefixes(&ranges));
        for address in around(&boundaries_v4).chain(probes.iter().map(|address| *address as u32)) {
            let expected = by_trie_v4(&trie_in_v4, address);
            prop_assert_eq!(ranges.class_of(address), expected);
            prop_assert_eq!(by_trie_v4(&out, address), expected);
        }
    }

    /// The same for every address of a /16.
    #[test]
    fn every_address_of_a_small_network_agrees(
        nets in prop::collection::vec((0..=0xffffu32, 16..=32u8, 0..5u16), 1..80),
    ) {
        let mut trie_in: PrefixMap<Ipv4Net, u16> = PrefixMap::new();
        for (low, len, class) in nets {
            trie_in.insert(Ipv4Net::new((0x0102_0000 | low).into(), len).unwrap().trunc(), class);
        }
        let boundaries = sorted(trie_in.iter().flat_map(|(net, _)| [Some(u32::from(net.network())), u32::from(net.broadcast()).checked_add(1)]));
        let ranges = runs(&boundaries, |address| by_trie_v4(&trie_in, address));
        let out = trie_v4(&ortc::prefixes(&ranges));
        prop_assert!(out.len() <= trie_in.len(), "never larger than what it was made of");
        for address in 0x0101_ff00..=0x0103_00ff {
            prop_assert_eq!(by_trie_v4(&out, address), by_trie_v4(&trie_in, address));
        }
    }
}

fn sorted<A: Address>(boundaries: impl Iterator<Item = Option<A>>) -> Vec<A> {
    let set: std::collections::BTreeSet<A> = boundaries.flatten().chain([A::FIRST]).collect();
    set.into_iter().collect()
}

fn runs<A: Address>(boundaries: &[A], class_of: impl Fn(A) -> u16) -> Ranges<A> {
    let mut ranges = Ranges::default();
    for boundary in boundaries {
        ranges.push(*boundary, class_of(*boundary));
    }
    ranges
}

fn around<A: Address>(boundaries: &[A]) -> impl Iterator<Item = A> {
    boundaries
        .iter()
        .flat_map(|address| [address.previous(), Some(*address), address.next()])
        .flatten()
}
