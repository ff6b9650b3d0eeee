//! The whole way from bytes to tables.

use std::{fs, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use maxminddb::{Reader, WithinOptions};
use prefix_trie::PrefixMap;
use probe_common::class;
use proptest::prelude::*;

use super::{
    Address, GeoChoice, GeoError, Location, Prefix, Ranges, embedded_database, location_of, ortc,
    read_database,
    test_database::{BOTH_FAMILIES, Kind, Value, database, flat, nested},
};
use crate::host::FieldChoice;

fn read(bytes: Vec<u8>) -> Location {
    read_database("test.mmdb", bytes, FieldChoice::CountryFirst).unwrap()
}

fn name_of<'a>(location: &'a Location, address: &str) -> &'a str {
    location
        .classes
        .name(location_of(location, address.parse().unwrap()))
}

/// Why the bytes are refused.
fn reason(bytes: Vec<u8>) -> String {
    match read_database("test.mmdb", bytes, FieldChoice::CountryFirst) {
        Err(GeoError::Content { path, reason }) => {
            assert_eq!(path, "test.mmdb");
            reason
        }
        other => panic!("read: {other:?}"),
    }
}

/// A table as the kernel sees it: longest match over the prefixes.
fn tries(location: &Location) -> (PrefixMap<Ipv4Net, u16>, PrefixMap<Ipv6Net, u16>) {
    (trie_v4(&location.prefixes_v4), trie_v6(&location.prefixes_v6))
}

fn trie_v4(prefixes: &[Prefix<u32>]) -> PrefixMap<Ipv4Net, u16> {
    let nets = prefixes.iter().map(|prefix| {
        let net = Ipv4Net::new(prefix.addr.into(), prefix.prefix_len).unwrap();
        assert_eq!(net, net.trunc(), "host bits");
        (net, prefix.class)
    });
    nets.collect()
}

fn trie_v6(prefixes: &[Prefix<u128>]) -> PrefixMap<Ipv6Net, u16> {
    let nets = prefixes.iter().map(|prefix| {
        let net = Ipv6Net::new(prefix.addr.into(), prefix.prefix_len).unwrap();
        assert_eq!(net, net.trunc(), "host bits");
        (net, prefix.class)
    });
    nets.collect()
}

fn by_trie_v4(trie: &PrefixMap<Ipv4Net, u16>, address: u32) -> u16 {
    trie.get_lpm(&Ipv4Net::from(std::net::Ipv4Addr::from(address)))
        .map_or(class::UNKNOWN, |(_, class)| *class)
}

fn by_trie_v6(trie: &PrefixMap<Ipv6Net, u16>, address: u128) -> u16 {
    trie.get_lpm(&Ipv6Net::from(std::net::Ipv6Addr::from(address)))
        .map_or(class::UNKNOWN, |(_, class)| *class)
}

#[test]
fn both_schemas_and_all_record_sizes_are_read() {
    for record_bits in [24, 28, 32] {
        let kind = Kind {
            record_bits,
            ..BOTH_FAMILIES
        };
        let location = read(database(
            kind,
            &[
                ("1.0.0.0/24", flat("AU")),
                ("1.0.1.0/25", nested(&[("country", "CN")])),
                ("1.0.1.128/25", nested(&[("registered_country", "JP")])),
                ("1.0.2.0/24", nested(&[])),
                (
                    "1.0.3.0/32",
                    nested(&[("country", "FR"), ("registered_country", "US")]),
                ),
                ("10.1.0.0/16", flat("US")),
                ("2001:db8::/32", flat("XK")),
                ("2001:db8:1::/48", flat("eu")),
                ("fd00::/64", flat("DE")),
            ],
        ));
        for (address, expected) in [
            ("0.255.255.255", "unknown"),
            ("1.0.0.0", "AU"),
            ("1.0.0.255", "AU"),
            ("1.0.1.127", "CN"),
            ("1.0.1.128", "JP"),
            ("1.0.2.1", "unknown"),
            ("1.0.3.0", "FR"),
            ("1.0.3.1", "unknown"),
            ("10.1.2.3", "lan"),
            ("10.0.0.0", "lan"),
            ("2001:db8::1", "XK"),
            ("2001:db8:1::1", "EU"),
            ("2001:db8:2::1", "XK"),
            ("fd00::1", "lan"),
            ("::1.0.0.1", "unknown"),
        ] {
            assert_eq!(
                name_of(&location, address),
                expected,
                "{address} with {record_bits}"
            );
        }
        let places: Vec<_> = location.classes.places().map(|(_, code)| code).collect();
        assert_eq!(places, ["AU", "CN", "DE", "EU", "FR", "JP", "US", "XK"]);
        assert_eq!(location.source.database_type, "Test-Country");
        assert_eq!(location.source.built_s, 1_780_000_000);
        assert_eq!(location.source.n_networks_v4, 6);
        assert_eq!(location.source.attribution, None);
    }
}

#[test]
fn field_choice_orders_the_fields_and_falls_back() {
    let bytes = database(
        BOTH_FAMILIES,
        &[
            (
                "1.0.0.0/24",
                nested(&[("country", "GB"), ("registered_country", "US")]),
            ),
            ("1.0.1.0/24", nested(&[("country", "GB")])),
            ("1.0.2.0/24", nested(&[("registered_country", "US")])),
            (
                "1.0.3.0/24",
                Value::Map(vec![("country_code", "-".into()), ("country", "FR".into())]),
            ),
            ("1.0.4.0/24", Value::Map(vec![("country", "France".into())])),
        ],
    );
    for (field, expected) in [
        (FieldChoice::CountryFirst, ["GB", "GB", "US", "FR", "unknown"]),
        (FieldChoice::RegisteredFirst, ["US", "GB", "US", "FR", "unknown"]),
    ] {
        let location = read_database("test.mmdb", bytes.clone(), field).unwrap();
        for (idx, code) in expected.iter().enumerate() {
            assert_eq!(
                name_of(&location, &format!("1.0.{idx}.9")),
                *code,
                "{field:?} {idx}"
            );
        }
    }
}

#[test]
fn one_family_alone_leaves_the_other_unknown() {
    let v4 = Kind {
        ip_version: 4,
        ..BOTH_FAMILIES
    };
    let location = read(database(v4, &[("1.0.0.0/8", flat("AU"))]));
    assert_eq!(name_of(&location, "1.2.3.4"), "AU");
    assert_eq!(name_of(&location, "2001:db8::1"), "unknown");

    let location = read(database(BOTH_FAMILIES, &[("2001:db8::/32", flat("AU"))]));
    assert_eq!(name_of(&location, "32.1.13.184"), "unknown");
    assert_eq!(name_of(&location, "2001:db8::1"), "AU");
    assert_eq!(location.source.n_networks_v4, 0);
}

#[test]
fn aliases_of_the_ipv4_part_are_not_followed() {
    let kind = Kind {
        has_alias: true,
        ..BOTH_FAMILIES
    };
    let location = read(database(
        kind,
        &[("1.0.0.0/8", flat("AU")), ("2001:db8::/32", flat("US"))],
    ));
    assert_eq!(name_of(&location, "1.2.3.4"), "AU");
    assert_eq!(name_of(&location, "::ffff:1.2.3.4"), "unknown");
    assert_eq!(location.source.n_networks_v4, 1);
    assert_eq!(location.source.n_networks_v6, 1);
}

#[test]
fn digest_names_the_tables_and_nothing_else() {
    let networks = |code| [("1.0.0.0/8", flat("AU")), ("2.0.0.0/8", flat(code))];
    let reference = read(database(BOTH_FAMILIES, &networks("US")));
    let other_file = Kind {
        record_bits: 24,
        database_type: "Other",
        ..BOTH_FAMILIES
    };
    assert_eq!(
        read(database(other_file, &networks("US"))).digest,
        reference.digest
    );
    assert_ne!(
        read(database(BOTH_FAMILIES, &networks("CA"))).digest,
        reference.digest
    );
    assert_ne!(
        read(database(BOTH_FAMILIES, &networks("AU"))).digest,
        reference.digest
    );
}

#[test]
fn databases_without_countries_are_refused() {
    let asn = Value::Map(vec![("autonomous_system_number", Value::U32(13335))]);
    let text = reason(database(BOTH_FAMILIES, &[("1.0.0.0/8", asn)]));
    assert!(
        text.starts_with("none of its 1 networks names a country (type `Test-Country`"),
        "{text}"
    );
    let text = reason(database(
        BOTH_FAMILIES,
        &[("1.0.0.0/8", flat("Australia, Commonwealth of"))],
    ));
    assert!(
        text.contains("its record for 1.0.0.0 has `Australia, Commo` for a country code"),
        "{text}"
    );
    for wrong in [
        Value::List(vec!["US".into()]),
        Value::Map(vec![("country_code", Value::U32(5))]),
        Value::Map(vec![("country", Value::List(vec![]))]),
    ] {
        let text = reason(database(BOTH_FAMILIES, &[("1.0.0.0/8", wrong)]));
        assert!(text.contains("decoding error"), "{text}");
    }
}

#[test]
fn more_countries_than_classes_are_refused() {
    let codes: Vec<String> = (0..65_534u32).map(|idx| format!("C{idx:05}")).collect();
    let networks = |n: usize| -> Vec<(String, Value)> {
        let nets = codes[..n].iter().enumerate();
        nets.map(|(idx, code)| (format!("2001:db8:{idx:x}::/48"), flat(code)))
            .collect()
    };
    let bytes = |n| {
        let networks = networks(n);
        let mut borrowed = Vec::new();
        for (net, value) in networks {
            borrowed.push((&*net.leak(), value));
        }
        database(BOTH_FAMILIES, &borrowed)
    };
    assert_eq!(read(bytes(65_533)).classes.len(), 65_535);
    assert_eq!(reason(bytes(65_534)), "it names more than 65533 countries");
}

/// Trees whose nodes share children: a walk without a bound would visit 2^95 and more places.
#[test]
fn tangled_trees_end_in_an_error() {
    let mut bytes = database(BOTH_FAMILIES, &[("2001:db8::/126", flat("AU"))]);
    let n_nodes = 126u32;
    let set = |bytes: &mut Vec<u8>, node: u32, left: u32, right: u32| {
        let (l, r) = (left.to_be_bytes(), right.to_be_bytes());
        let at = node as usize * 7;
        bytes[at..at + 7].copy_from_slice(&[l[1], l[2], l[3], l[0] << 4 | r[0], r[1], r[2], r[3]]);
    };
    let tangled =
        "its search tree contradicts itself; the file is damaged or of another kind, fetch it again";
    for node in 0..n_nodes {
        set(&mut bytes, node, (node + 1).min(n_nodes), (node + 1).min(n_nodes));
    }
    assert_eq!(
        reason(bytes.clone()),
        tangled,
        "every node twice the parent of the next"
    );
    for node in 0..n_nodes {
        set(&mut bytes, node, 0, n_nodes);
    }
    assert_eq!(reason(bytes), tangled, "every node its own ancestor");
}

/// Damaged files: an error or a table, but never a panic, an endless walk or a table that contradicts itself.
#[test]
fn mutants_of_a_database_are_read_or_refused() {
    let bytes = database(
        BOTH_FAMILIES,
        &[
            ("1.0.0.0/24", flat("AU")),
            (
                "1.0.1.0/25",
                nested(&[("country", "CN"), ("registered_country", "US")]),
            ),
            ("2.0.0.0/8", nested(&[("registered_country", "JP")])),
            ("2001:db8::/32", flat("XK")),
            ("2400::/12", nested(&[("country", "FR")])),
        ],
    );
    read(bytes.clone());
    let (mut n_read, mut n_refused) = (0, 0);
    let mut judge = |mutant: Vec<u8>| match read_database("mutant", mutant, FieldChoice::CountryFirst) {
        Ok(location) => {
            n_read += 1;
            let (v4, v6) = tries(&location);
            for (start, class) in location.ranges_v4.iter() {
                assert_eq!(by_trie_v4(&v4, start), class);
            }
            for (start, class) in location.ranges_v6.iter() {
                assert_eq!(by_trie_v6(&v6, start), class);
            }
        }
        Err(error) => {
            n_refused += 1;
            assert!(
                error
                    .to_string()
                    .starts_with("mutant is not a usable MaxMind DB: "),
                "{error}"
            );
        }
    };
    for len in 0..bytes.len() {
        judge(bytes[..len].to_vec());
    }
    for at in 0..bytes.len() {
        for flip in [0x01, 0x20, 0x80, 0xff] {
            let mut mutant = bytes.clone();
            mutant[at] ^= flip;
            judge(mutant);
        }
    }
    let mut random = Random(7);
    for _ in 0..5_000 {
        let mut mutant = bytes.clone();
        for _ in 0..1 + random.below(6) {
            let at = random.below(mutant.len() as u64) as usize;
            mutant[at] = random.next() as u8;
        }
        judge(mutant);
    }
    assert!(
        n_read > 1_000 && n_refused > 1_000,
        "{n_read} read, {n_refused} refused"
    );
}

/// The same for the world database, where counts are large enough to hurt.
#[test]
fn mutants_of_the_world_database_are_read_or_refused() {
    let bytes = embedded_database().unwrap();
    let metadata_at = bytes
        .windows(14)
        .rposition(|window| window == b"\xab\xcd\xefMaxMind.com")
        .unwrap();
    let mut random = Random(11);
    for _ in 0..500 {
        let len = random.below(bytes.len() as u64) as usize;
        reason(bytes[..len].to_vec());
    }
    // The tail of the file has metadata, but its tree and records are shifted or missing.
    for _ in 0..20 {
        let from = 1 + random.below(metadata_at as u64 - 1) as usize;
        reason(bytes[from..].to_vec());
    }
    let mut n_refused = 0;
    for round in 0..40 {
        let mut mutant = bytes.clone();
        for _ in 0..1 << (round % 12) {
            let at = random.below(metadata_at as u64) as usize;
            mutant[at] = random.next() as u8;
        }
        n_refused += u32::from(read_database("mutant", mutant, FieldChoice::CountryFirst).is_err());
    }
    assert!(n_refused > 10, "{n_refused} refused");
}

#[test]
fn random_bytes_are_refused() {
    let mut random = Random(3);
    for len in 0..2_000 {
        let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        reason(bytes.clone());
        bytes.extend(b"\xab\xcd\xefMaxMind.com");
        bytes.extend((0..len % 97).map(|_| random.next() as u8));
        reason(bytes);
    }
}

/// The embedded database, network by network, at and around both ends of each: runs, the kernel's prefixes and
/// what the reader itself looks up.
#[test]
fn world_database_is_the_same_in_every_form() {
    let bytes = embedded_database().unwrap();
    let location = read_database(super::EMBEDDED_NAME, bytes.clone(), FieldChoice::CountryFirst).unwrap();
    assert_eq!(
        location.source.attribution.as_deref(),
        Some(super::EMBEDDED_ATTRIBUTION)
    );
    let (v4, v6) = tries(&location);
    assert_eq!(v4.len(), location.prefixes_v4.len(), "each prefix once");
    assert_eq!(v6.len(), location.prefixes_v6.len(), "each prefix once");

    let reader = Reader::from_source(bytes).unwrap();
    let mut class_of_offset = std::collections::HashMap::new();
    let mut by_reader = |address: IpAddr| {
        let is_lan = super::LAN_V4
            .iter()
            .map(|(addr, len)| IpNet::new(addr.to_ip(), *len).unwrap())
            .chain(
                super::LAN_V6
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

/// xorshift64*: the same mutants on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

#[test]
fn auto_takes_the_first_database_in_the_usual_places() {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, code: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, database(BOTH_FAMILIES, &[("1.0.0.0/8", flat(code))])).unwrap();
    };
    let found = || {
        let location =
            super::load::load_below(root.path(), &GeoChoice::Auto, FieldChoice::CountryFirst).unwrap();
        let origin = location.source.origin.clone();
        let origin = origin
            .strip_prefix(&*root.path().to_string_lossy())
            .map_or(origin.clone(), str::to_owned);
        (origin, name_of(&location, "1.2.3.4").to_owned())
    };
    assert_eq!(found(), ("embedded".to_owned(), "AU".to_owned()));
    put("usr/share/GeoIP/GeoLite2-City.mmdb", "CA");
    put("usr/share/GeoIP/GeoLite2-ASN.mmdb", "ZZ");
    assert_eq!(
        found(),
        ("/usr/share/GeoIP/GeoLite2-City.mmdb".to_owned(), "CA".to_owned())
    );
    put("usr/share/GeoIP/GeoLite2-Country.mmdb", "DE");
    assert_eq!(found().1, "DE");
    put("var/lib/GeoIP/GeoLite2-City.mmdb", "FR");
    assert_eq!(found().1, "FR");
    put("var/lib/cordon/geoip/b.mmdb", "NL");
    put("var/lib/cordon/geoip/a.mmdb", "SE");
    put("var/lib/cordon/geoip/0.txt", "NO");
    assert_eq!(
        found(),
        ("/var/lib/cordon/geoip/a.mmdb".to_owned(), "SE".to_owned())
    );
    fs::write(root.path().join("var/lib/cordon/geoip/a.mmdb"), "").unwrap();
    assert!(
        super::load::load_below(root.path(), &GeoChoice::Auto, FieldChoice::CountryFirst).is_err(),
        "a broken file is not passed over"
    );
}
