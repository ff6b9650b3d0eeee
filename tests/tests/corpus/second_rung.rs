//! The corpus on a wire: from AF_PACKET through a real veth pair, in native and in skb mode. What passes must arrive
//! behind the program, and nothing else may.

use std::{thread, time::Duration};

use cordon::host::ModeChoice;
use integration_tests::corpus::{
    Case,
    wire::Wire,
    world::{Counts, Ground, World, in_words},
};
use probe_common::{Fate, Reason};

use super::{all_cases, by_settings, not_published};

/// Row 45 is that both modes pass this.
fn every_case_in(mode: ModeChoice) {
    let cases: Vec<Case> = all_cases().into_iter().filter(|case| case.on_wire).collect();
    let ground = Ground::new().unwrap();
    let wire = Wire::new(&ground).unwrap();
    let mut wrong = Vec::new();
    let mut n_frames = 0;
    ground.netns.run(|| {
        for (settings, cases) in by_settings(&cases) {
            let mut world = match World::new(&ground, settings) {
                Ok(world) => world,
                Err(error) => {
                    wrong.push(not_published(settings, &error));
                    continue;
                }
            };
            wire.attach(&mut world, mode).unwrap();
            for run in cases.into_iter().flat_map(Case::runs) {
                if run.case.reason == Reason::IcmpError {
                    // The cap's rate: one in a millisecond.
                    thread::sleep(Duration::from_millis(1));
                }
                let (counted, mut arrived) = wire.send(&world, &run.frame).unwrap();
                n_frames += 1;
                let expected = Counts::from([(run.case.reason, 1)]);
                let should_arrive = run.case.fate == Fate::Passed;
                if should_arrive && arrived.is_empty() {
                    arrived = wire.wait_for_one().unwrap();
                }
                let is_right = match arrived.as_slice() {
                    [] => !should_arrive,
                    [one] => should_arrive && is_the_same(one, &run.frame),
                    _ => false,
                };
                if counted != expected || !is_right {
                    wrong.push(format!(
                        "{}: counted {}, {} frames arrived; expected {:?}, {}",
                        run.name(),
                        in_words(&counted),
                        arrived.len(),
                        run.case.fate,
                        in_words(&expected)
                    ));
                }
            }
            let counts = world.counts().unwrap();
            let arrived_since = wire.send(&world, &run_out()).unwrap().1;
            assert!(
                arrived_since.len() <= 1,
                "frames arrived late, after {}",
                in_words(&counts)
            );
            wire.detach(&mut world).unwrap();
        }
    });
    assert!(
        wrong.is_empty(),
        "{} of {n_frames} frames:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(
        n_frames > 1_000,
        "the corpus has {n_frames} frames that a wire can carry"
    );
}

/// A frame that passes everywhere: what was sent before it has arrived when it has.
fn run_out() -> Vec<u8> {
    integration_tests::frames::ethernet_frame(0x0806, &[0; 28])
}

/// The kernel takes the outermost tag out of a frame before a packet socket sees it.
fn is_the_same(arrived: &[u8], sent: &[u8]) -> bool {
    let untagged = |at: usize| [&sent[..12], sent.get(at..).unwrap_or(&[])].concat();
    arrived == sent || arrived == untagged(16)
}

#[test]
fn native_mode_on_a_wire() {
    every_case_in(ModeChoice::RequireNative);
}

#[test]
fn skb_mode_on_a_wire() {
    every_case_in(ModeChoice::Skb);
}
