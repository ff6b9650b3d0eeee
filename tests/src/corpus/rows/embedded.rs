//! Rows 22-25: IPv4 addresses inside IPv6 sources.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use probe_common::Reason::{Failsafe, Malformed, Martian, PolicyDrop, PolicyPass};

use super::{drops, judged, passes, plain, row, text};
use crate::corpus::{
    data::Row,
    places::{A4, B4, U4, nat64, six_to_four, teredo},
};

pub(super) fn add(rows: &mut Vec<Row>) {
    mapped(rows);
    embedded(rows);
}

fn mapped(rows: &mut Vec<Row>) {
    let mut cases = Vec::new();
    for (name, inside) in [("B", B4), ("A", A4), ("0.0.0.0", Ipv4Addr::UNSPECIFIED)] {
        let source: IpAddr = IpAddr::V6(inside.to_ipv6_mapped());
        cases.push(drops(format!("::ffff: and {name}"), plain(source), Malformed));
        cases.push(
            drops(
                format!("::ffff: and {name}, martians pass"),
                plain(source),
                Malformed,
            )
            .martians_pass(),
        );
    }
    for (name, source) in [
        ("below ::ffff:0:0/96", "::fffe:ffff:ffff"),
        ("above ::ffff:0:0/96", "::1:0:0:0"),
        (
            "IPv4-translated ::ffff:0:198.51.100.7, of no meaning here",
            "::ffff:0:c633:6407",
        ),
        (
            "IPv4-compatible ::198.51.100.7, of no meaning any more",
            "::c633:6407",
        ),
    ] {
        cases.push(passes(name, plain(text(source)), PolicyPass));
    }
    row(rows, 22, "::ffff:a.b.c.d from the wire (any): drop", cases);
}

fn embedded(rows: &mut Vec<Row>) {
    let family = |name: &str, around: fn(Ipv4Addr) -> Ipv6Addr| {
        let source = |inside: &str| IpAddr::V6(around(inside.parse().expect("an address in a row")));
        let mut cases = vec![
            drops(format!("{name} around B"), plain(around(B4).into()), PolicyDrop),
            passes(format!("{name} around A"), plain(around(A4).into()), PolicyPass),
            passes(format!("{name} around U"), plain(around(U4).into()), PolicyPass),
            drops(
                format!("{name} around U, allow-list"),
                plain(around(U4).into()),
                PolicyDrop,
            )
            .policy("allow-list"),
            passes(
                format!("{name} around B, failsafe by the IPv4 address"),
                plain(around(B4).into()),
                Failsafe,
            )
            .failsafe("198.51.100.7/32"),
            passes(
                format!("{name} around A's /32 in B's /24"),
                plain(source("198.18.7.128")),
                PolicyPass,
            ),
            passes(
                format!("{name} around 100.64.0.1"),
                plain(source("100.64.0.1")),
                PolicyPass,
            )
            .policy("allow-list"),
        ];
        for inside in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.0.0",
            "169.254.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.0",
            "192.168.255.255",
            "224.0.0.0",
            "255.255.255.255",
        ] {
            cases.push(drops(
                format!("{name} around {inside}"),
                plain(source(inside)),
                Martian,
            ));
        }
        for inside in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "223.255.255.255",
        ] {
            cases.push(passes(
                format!("{name} around {inside}"),
                plain(source(inside)),
                PolicyPass,
            ));
        }
        let lan = plain(source("10.0.0.1"));
        cases.push(passes(format!("{name} around 10.0.0.1, martians pass"), lan, PolicyPass).martians_pass());
        cases
    };
    let neighbour = |name: &str, source: IpAddr, reason| judged(name, plain(source), reason);

    let mut cases = family("6to4", six_to_four);
    cases.push(
        passes(
            "6to4 around B, failsafe by the IPv6 address",
            plain(six_to_four(B4).into()),
            Failsafe,
        )
        .failsafe("2002:c633:6400::/40"),
    );
    cases.push(neighbour(
        "below 2002::/16",
        text("2001:ffff:c633:6407::1"),
        PolicyPass,
    ));
    cases.push(neighbour(
        "above 2002::/16",
        text("2003:c633:6407::1"),
        PolicyPass,
    ));
    row(
        rows,
        23,
        "6to4, 2002:WWXX:YYZZ::/48 with B or A inside: drop; pass",
        cases,
    );

    let mut cases = family("NAT64", nat64);
    cases.push(
        passes(
            "NAT64 around B, failsafe by the IPv6 address",
            plain(nat64(B4).into()),
            Failsafe,
        )
        .failsafe("64:ff9b::c633:6400/120"),
    );
    cases.push(neighbour(
        "beside 64:ff9b::/96",
        text("64:ff9b::1:0:c633:6407"),
        PolicyPass,
    ));
    cases.push(neighbour(
        "below 64:ff9b::/96",
        text("64:ff9a:ffff:ffff:ffff:ffff:c633:6407"),
        PolicyPass,
    ));
    // 198.51.100.7 behind prefixes of every length that RFC 6052 knows; the byte of bits 64-71 is skipped.
    for (prefix, around_b, around_a, around_lan) in [
        (
            "2001:db8::/32",
            "2001:db8:c633:6407::",
            "2001:db8:c000:207::",
            "2001:db8:a00:1::",
        ),
        (
            "2001:db8:100::/40",
            "2001:db8:1c6:3364:7::",
            "2001:db8:1c0:2:7::",
            "2001:db8:10a:0:1::",
        ),
        (
            "64:ff9b:1::/48",
            "64:ff9b:1:c633:64:700::",
            "64:ff9b:1:c000:2:700::",
            "64:ff9b:1:a00:0:100::",
        ),
        (
            "2001:db8:1:200::/56",
            "2001:db8:1:2c6:33:6407::",
            "2001:db8:1:2c0:0:207::",
            "2001:db8:1:20a::1:0:0",
        ),
        (
            "64:ff9b:1:2::/64",
            "64:ff9b:1:2:c6:3364:700:0",
            "64:ff9b:1:2:c0:2:700:0",
            "64:ff9b:1:2:a:0:100:0",
        ),
        (
            "64:ff9b:1::/96",
            "64:ff9b:1::c633:6407",
            "64:ff9b:1::c000:207",
            "64:ff9b:1::a00:1",
        ),
    ] {
        let [around_b, around_a, around_lan] = [around_b, around_a, around_lan].map(text);
        cases.push(drops(format!("B behind {prefix}"), plain(around_b), PolicyDrop).nat64(prefix));
        cases.push(
            passes(format!("A behind {prefix}"), plain(around_a), PolicyPass)
                .nat64(prefix)
                .policy("allow-list"),
        );
        cases.push(
            passes(format!("10.0.0.1 behind {prefix}"), plain(around_lan), PolicyPass)
                .nat64(prefix)
                .policy("allow-list"),
        );
        cases.push(passes(
            format!("B behind {prefix}, not configured"),
            plain(around_b),
            PolicyPass,
        ));
    }
    row(
        rows,
        24,
        "NAT64, 64:ff9b::/96 with B or A: drop; pass; other prefixes by the host file",
        cases,
    );

    let mut cases = family("Teredo", teredo);
    cases.push(neighbour(
        "Teredo, but B's address is not inverted",
        text("2001::63bf:c633:6407"),
        PolicyPass,
    ));
    cases.push(neighbour(
        "above 2001::/32",
        text("2001:1:c000:207:0:63bf:39cc:9bf8"),
        PolicyPass,
    ));
    row(
        rows,
        25,
        "Teredo, 2001::/32 with B in the last 32 bits, inverted: drop",
        cases,
    );
}
