//! Differential fuzz: the kernel's verdict on frames by chance is the reference's. `CORDON_FUZZ_FRAMES` sets how many,
//! `CORDON_FUZZ_SEED` repeats a run.

use std::{collections::BTreeMap, str::FromStr, time::Instant};

use integration_tests::corpus::{
    Case, Settings, data,
    fuzz::{Difference, Generator, Offer, compare},
    world::{Counts, Ground, World, in_words},
};

use probe_common::Reason;

use crate::corpus::not_published;

const DEFAULT_FRAMES: u64 = 200_000;
const DEFAULT_SEED: u64 = 20_261_120;
/// Frames between two looks at the counters.
const BATCH: usize = 1_000;
/// Kinds of differences after which there is no point in looking for more.
const ENOUGH: usize = 20;

fn setting<T: FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text
            .replace('_', "")
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}

/// What frames can come to under these settings.
const REASONS: [Reason; 22] = [
    Reason::PolicyPass,
    Reason::PolicyDrop,
    Reason::Failsafe,
    Reason::IcmpError,
    Reason::TunnelUninspected,
    Reason::TunnelInner,
    Reason::NotIp,
    Reason::Arp,
    Reason::LinkLocal,
    Reason::NeighbourDiscovery,
    Reason::Dhcp,
    Reason::DeepVlan,
    Reason::Truncated,
    Reason::Malformed,
    Reason::Martian,
    Reason::Mpls,
    Reason::Llc,
    Reason::Snap,
    Reason::RedirectGone,
    Reason::PolicyDrain,
    Reason::DrainPass,
    Reason::VlanNotJudged,
];

/// What frames are judged by, in turn.
fn all_settings() -> Vec<Settings> {
    let default = Settings::default();
    let nat64 =
        ["64:ff9b:1::/48", "2001:db8:100::/40", "2001:db8:1:200::/56"].map(|prefix| prefix.parse().unwrap());
    vec![
        default.clone(),
        Settings {
            policy: "allow-list".to_owned(),
            inspect_inner: true,
            ..default.clone()
        },
        Settings {
            policy: "services".to_owned(),
            nat64_prefixes: nat64.to_vec(),
            failsafe: vec![
                "198.51.100.0/25".parse().unwrap(),
                "2002:c633:6400::/41".parse().unwrap(),
            ],
            ..default.clone()
        },
        Settings {
            policy: "services".to_owned(),
            inspect_inner: true,
            icmp_error_pass: false,
            ..default.clone()
        },
        Settings {
            policy: "allow-list-no-lan".to_owned(),
            martians_drop: false,
            nat64_prefixes: nat64.to_vec(),
            ..default.clone()
        },
        Settings {
            policy: "redirect".to_owned(),
            ..default.clone()
        },
        Settings {
            policy: "drain".to_owned(),
            ..default.clone()
        },
        Settings {
            vlans: vec![42, 0x500],
            ..default
        },
    ]
}

#[test]
fn the_kernel_judges_as_the_reference_does() {
    let n_frames = setting("CORDON_FUZZ_FRAMES", DEFAULT_FRAMES);
    let seed = setting("CORDON_FUZZ_SEED", DEFAULT_SEED);
    println!("CORDON_FUZZ_SEED={seed} CORDON_FUZZ_FRAMES={n_frames}");
    let cases: Vec<Case> = data::load()
        .unwrap()
        .into_iter()
        .flat_map(|row| row.cases)
        .collect();
    let mut generator = Generator::new(seed, &cases);
    let ground = Ground::new().unwrap();
    let started = Instant::now();
    let mut n_done = 0;
    let mut wrong = Vec::new();
    let mut seen = Counts::new();
    let mut found: BTreeMap<String, (Difference, u64)> = BTreeMap::new();
    ground.netns.run(|| {
        let all_settings = all_settings();
        let n_each = n_frames.div_ceil(all_settings.len() as u64);
        for settings in &all_settings {
            let world = match World::new(&ground, settings) {
                Ok(world) => world,
                Err(error) => {
                    wrong.push(not_published(settings, &error));
                    continue;
                }
            };
            let reference = settings.reference().unwrap();
            let mut left = n_each as usize;
            while left > 0 && found.len() < ENOUGH {
                let offers: Vec<Offer> = (0..left.min(BATCH)).map(|_| generator.next_offer()).collect();
                left -= offers.len();
                n_done += offers.len();
                for difference in compare(&world, &reference, &offers, &mut seen).unwrap() {
                    let kind = format!("{} of {settings:?}", difference.kind());
                    if let Some((_, n_times)) = found.get_mut(&kind) {
                        *n_times += 1;
                    } else {
                        let smallest = difference.minimised(&world, &reference).unwrap();
                        found.insert(kind, (smallest, 1));
                    }
                }
            }
        }
    });
    println!(
        "{n_done} frames in {:.1} s, {} kinds of differences",
        started.elapsed().as_secs_f64(),
        found.len()
    );
    println!("{}", in_words(&seen));
    wrong.extend(
        found
            .iter()
            .map(|(kind, (difference, n_times))| format!("{n_times} times, {kind}, smallest:\n{difference}")),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What never came says nothing.
    let rare = REASONS
        .iter()
        .filter(|reason| seen.get(reason).is_none_or(|n| *n < 20));
    let rare: Vec<&str> = rare.map(|reason| reason.name()).collect();
    assert!(
        n_done < 100_000 || rare.is_empty(),
        "hardly any frame came to {rare:?}"
    );
}
