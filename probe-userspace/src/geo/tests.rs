//! The whole way from bytes to tables.

mod equality;
mod mutants;

use std::{fs, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use probe_common::class;

use super::{
    GeoChoice, GeoError, Location, Prefix, embedded_database, location_of, read_database,
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

/// A policy's UK is GB, so a database's must be too, or a rule on it would match nothing.
#[test]
fn aliases_are_the_country_that_policies_mean() {
    let location = read(database(
        BOTH_FAMILIES,
        &[("1.0.0.0/8", flat("UK")), ("2.0.0.0/8", flat("GB"))],
    ));
    assert_eq!(name_of(&location, "1.2.3.4"), "GB");
    assert_eq!(location.classes.places().count(), 1);
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
