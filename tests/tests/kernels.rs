//! The same tests on another kernel, in an emulated machine.

use std::path::Path;

use integration_tests::guest::Guest;

/// What runs on the oldest kernel that cordon supports: frames, publishing, adoption, swaps. Not the size of programs: it is
/// promised of newer verifiers, and this one goes through a quarter more (277,335 instructions; its own limit is a
/// million).
const TESTS: [&str; 5] = [
    "corpus::first_rung::the_sum_of_all_counters",
    "publish::",
    "swap::no_packet_sees_a_mixture_of_small_generations",
    "--skip",
    "programs_stay_below_their_size",
];
/// What takes many minutes there.
const TESTS_FULL: [&str; 5] = [
    "corpus::first_rung::",
    "publish::",
    "swap::",
    "--skip",
    "programs_stay_below_their_size",
];

#[test]
fn frames_publishes_swaps_and_adoption_on_linux_6_1() {
    let is_full = std::env::var_os("CORDON_TEST_FULL").is_some();
    let filters = if is_full { TESTS_FULL } else { TESTS };
    let guest = Guest::new("6.1", Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let tests = std::env::current_exe().unwrap();
    let n_swaps = if is_full { "200" } else { "20" };
    let answer = guest.run(&tests, &filters, &[("CORDON_SWAPS", n_swaps)]).unwrap();
    println!(
        "{}: {} passed, {} failed",
        answer.release,
        answer.n_passed,
        answer.failed.len()
    );
    assert!(answer.release.starts_with("6.1."), "{}", answer.release);
    assert!(answer.failed.is_empty(), "{:?}:\n{}", answer.failed, answer.text);
    assert!(
        answer.n_passed > 20,
        "no more than {} tests ran: have they been renamed?",
        answer.n_passed
    );
    assert!(answer.complaints.is_empty(), "{:#?}", answer.complaints);
}
