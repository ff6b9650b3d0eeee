//! The corpus by BPF_PROG_TEST_RUN of the entry program, with a generation behind it: verdict and counter.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use integration_tests::corpus::{
    Case, Settings,
    world::{Counts, Ground, World, difference, in_words, most_icmp_errors},
};
use probe_common::{Fate, Reason};

use super::{all_cases, by_settings, not_published};

#[test]
fn verdict_and_counter_of_every_case() {
    let cases = all_cases();
    let ground = Ground::new().unwrap();
    // Of a mutant it is enough to know that one case is wrong (xtask/src/mutate).
    let is_mutant = std::env::var_os("CORDON_MUTANT").is_some();
    let mut wrong = Vec::new();
    let mut n_frames = 0;
    ground.netns.run(|| {
        for (settings, cases) in by_settings(&cases) {
            if is_mutant && !wrong.is_empty() {
                return;
            }
            let world = match World::new(&ground, settings) {
                Ok(world) => world,
                Err(error) => {
                    wrong.push(not_published(settings, &error));
                    continue;
                }
            };
            let mut before = world.counts().unwrap();
            for run in cases.into_iter().flat_map(Case::runs) {
                if run.case.reason == Reason::IcmpError {
                    // The cap's rate: one in a millisecond.
                    thread::sleep(Duration::from_millis(1));
                }
                let fate = world.offer(&run.frame, run.linear).unwrap();
                let after = world.counts().unwrap();
                let counted = difference(&after, &before);
                before = after;
                n_frames += 1;
                let expected = Counts::from([(run.case.reason, 1)]);
                if (fate, &counted) != (run.case.fate, &expected) {
                    wrong.push(format!(
                        "{}: {fate:?}, counted {}; expected {:?}, {}",
                        run.name(),
                        in_words(&counted),
                        run.case.fate,
                        in_words(&expected)
                    ));
                    if is_mutant {
                        break;
                    }
                }
            }
        }
    });
    assert!(
        wrong.is_empty(),
        "{} of {n_frames} frames:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(n_frames > 1_000, "the corpus has {n_frames} frames");
}

#[test]
fn the_sum_of_all_counters_is_the_number_of_frames_offered() {
    let cases = all_cases();
    let ground = Ground::new().unwrap();
    ground.netns.run(|| {
        let world = World::new(&ground, &Settings::default()).unwrap();
        let mut n_offered = 0;
        for run in cases.iter().flat_map(Case::runs) {
            world.offer(&run.frame, run.linear).unwrap();
            n_offered += 1;
        }
        let counts = world.counts().unwrap();
        let received = counts.iter().filter(|(reason, _)| reason.is_ingress());
        assert_eq!(
            received.map(|(_, n)| n).sum::<u64>(),
            n_offered,
            "{}",
            in_words(&counts)
        );
    });
}

#[test]
fn what_is_not_ip_is_counted_by_its_type() {
    let cases = all_cases();
    let ground = Ground::new().unwrap();
    ground.netns.run(|| {
        let world = World::new(&ground, &Settings::default()).unwrap();
        let not_ip: Vec<&Case> = cases
            .iter()
            .filter(|case| case.reason == Reason::NotIp && case.lengths.is_none())
            .collect();
        let mut expected: BTreeMap<u16, u64> = BTreeMap::new();
        for case in &not_ip {
            world.offer(&case.frame, None).unwrap();
            // None of them has more than one tag.
            let at = if case.frame[12..14] == [0x81, 0] { 16 } else { 12 };
            let ether_type = u16::from_be_bytes([case.frame[at], case.frame[at + 1]]);
            *expected.entry(ether_type).or_default() += 1;
        }
        let types = world.dataplane.ethertypes().unwrap();
        let counted: BTreeMap<u16, u64> = types
            .into_iter()
            .map(|(ether_type, counter)| (ether_type, counter.packets))
            .collect();
        assert!(expected.len() > 10, "{expected:?}");
        assert_eq!(counted, expected, "by EtherType");
    });
}

/// Row 21.
#[test]
fn a_flood_of_icmp_errors_is_capped() {
    let cases = all_cases();
    let flood = cases.iter().find(|case| case.row == 21).unwrap();
    let ground = Ground::new().unwrap();
    ground.netns.run(|| {
        let world = World::new(&ground, &flood.settings).unwrap();
        let n_offered: u32 = 200_000;
        let started = Instant::now();
        world.offer_many(&flood.frame, n_offered).unwrap();
        // The cap is each CPU's own, and the thread may have moved.
        let n_cpus = std::thread::available_parallelism().unwrap().get() as u64;
        let most = most_icmp_errors(started.elapsed()) * n_cpus;
        let counts = world.counts().unwrap();
        let n_of = |reason| counts.get(&reason).copied().unwrap_or(0);
        let passed = n_of(Reason::IcmpError);
        assert!(
            (1..=most).contains(&passed),
            "{passed} passed, at most {most} may"
        );
        assert_eq!(
            passed + n_of(Reason::IcmpErrorCapped),
            u64::from(n_offered),
            "{}",
            in_words(&counts)
        );
        assert_eq!(counts.len(), 2, "{}", in_words(&counts));
    });
}

/// Row 38.
#[test]
fn a_new_policy_holds_from_the_next_packet_on() {
    let cases = all_cases();
    let ground = Ground::new().unwrap();
    ground.netns.run(|| {
        // Nothing is blocked outside of the services: what follows is for none of them.
        let open = Settings {
            policy: "services".to_owned(),
            ..Settings::default()
        };
        let mut world = World::new(&ground, &open).unwrap();
        let udp: Vec<&Case> = cases
            .iter()
            .filter(|case| case.row == 1 && case.name.starts_with("UDP"))
            .collect();
        for case in &udp {
            assert_eq!(
                world.offer(&case.frame, None).unwrap(),
                Fate::Passed,
                "{}",
                case.name
            );
        }
        world.publish(&ground, &Settings::default()).unwrap();
        for case in &udp {
            assert_eq!(
                world.offer(&case.frame, None).unwrap(),
                Fate::Dropped,
                "{}",
                case.name
            );
        }
        assert_eq!(udp.len(), 2);
    });
}
