//! The contestants of the bench do what they are measured for: a peer that drops nothing, or everything, would look
//! fast. Small lists, every packet of a full run judged.

use std::net::IpAddr;

use integration_tests::{
    bench::{
        contestant::Contestant,
        list::List,
        wire::{Generator, LISTED_PORT, OTHER_PORT, Passed},
    },
    images,
};

const LISTED: [&str; 4] = ["20.1.0.0/16", "20.3.4.0/24", "2a00:1::/32", "2a00:3:4::/48"];
const LISTED_SOURCES: [[&str; 2]; 2] = [["20.1.2.3", "20.3.4.255"], ["2a00:1:2::3", "2a00:3:4:ffff::1"]];
/// Neighbours of the listed prefixes.
const OTHER_SOURCES: [[&str; 2]; 2] = [["20.2.0.0", "20.3.5.0"], ["2a00:2::", "2a00:3:5::"]];
const N_PACKETS: u32 = 4_096;

/// Two listed and two other sources of a family in turn.
fn senders(family: usize) -> Vec<(IpAddr, u16)> {
    let listed = LISTED_SOURCES[family].map(|source| (source.parse().unwrap(), LISTED_PORT));
    let others = OTHER_SOURCES[family].map(|source| (source.parse().unwrap(), OTHER_PORT));
    [listed, others].concat()
}

/// What passes of a run, by port.
fn passed(contestant: &Contestant, senders: &[(IpAddr, u16)]) -> Passed {
    let mut generator = Generator::new(senders).unwrap();
    contestant.wire.start_audit().unwrap();
    contestant.wire.run(&mut generator, N_PACKETS).unwrap();
    let passed = contestant.wire.passed().unwrap();
    contestant.wire.end_audit().unwrap();
    passed
}

#[test]
fn every_contestant_drops_what_is_listed_and_passes_the_rest() {
    let list = List::few(&LISTED).unwrap();
    let location = images::location(&list.database(|_| "RU".to_owned())).unwrap();
    let image = images::image(&images::drop_countries(&["RU"]), &location).unwrap();
    let contestants = [
        Contestant::lpm(&list, false).unwrap(),
        Contestant::lpm(&list, true).unwrap(),
        Contestant::nft_raw(&list).unwrap(),
        Contestant::nft_ingress(&list).unwrap(),
        Contestant::ipset(&list).unwrap(),
        Contestant::cordon("cordon", &image).unwrap(),
    ];
    let half = u64::from(N_PACKETS) / 2;
    for family in [0, 1] {
        for contestant in &contestants {
            let expected = Passed {
                listed: 0,
                other: half,
            };
            let passed = passed(contestant, &senders(family));
            assert_eq!(
                passed, expected,
                "{} should pass what is not listed, of family {family}",
                contestant.name
            );
        }
    }
}

#[test]
fn the_floors_look_at_nothing() {
    let all = u64::from(N_PACKETS) / 2;
    for (contestant, n_passed) in [
        (Contestant::drop_only().unwrap(), 0),
        (Contestant::pass_only().unwrap(), all),
    ] {
        for family in [0, 1] {
            let expected = Passed {
                listed: n_passed,
                other: n_passed,
            };
            assert_eq!(
                passed(&contestant, &senders(family)),
                expected,
                "{}",
                contestant.name
            );
        }
    }
}

#[test]
fn xdp_filter_drops_its_addresses() {
    let addresses = [[20, 1, 2, 3], [20, 3, 4, 255]];
    let contestant = Contestant::xdp_filter(&addresses).unwrap();
    let expected = Passed {
        listed: 0,
        other: u64::from(N_PACKETS) / 2,
    };
    assert_eq!(
        passed(&contestant, &senders(0)),
        expected,
        "both addresses are listed, the one that the tool added and the one that the bench did"
    );
}
