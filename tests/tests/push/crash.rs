use std::thread;

use integration_tests::rng::Rng;

use super::*;

/// Deaths of the daemon while it takes a bundle.
const N_DEATHS: u64 = 16;
/// The change is not looked for in less time than this.
const MIN_SPAN_US: usize = 5_000;

/// Whenever it dies: afterwards the old policy holds or the new one, and the same bundle finishes the job.
#[test]
fn a_daemon_that_dies_while_it_takes_a_bundle_leaves_the_old_policy_or_the_new_one() {
    let edge = edge();
    let mut cordon = managed(&edge, &["one"]);
    let mut rng = Rng::new(20_261_120);
    let policies = [drops(&["RU"]), drops(&["NL"])];
    accepted(&cordon, &Issue::new(1, &policies[1]));
    let (mut n_old, mut n_new) = (0, 0);
    // Microseconds after which the old policy was left, and the new one: death comes nearer and nearer to the change.
    let (mut before, mut after_us) = (0, None);
    for n in 0..N_DEATHS {
        let revision = n + 2;
        let file = Issue::new(revision, &policies[(n % 2) as usize]).write(&cordon);
        let mut command = cordon.command(&["bundle", "push", &file]).unwrap();
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let mut pusher = integration_tests::netns::spawn_bound(command).unwrap();
        let started = std::time::Instant::now();
        match after_us {
            _ if n == 0 => {}
            // How long all of it takes.
            None => drop(pusher.wait().unwrap()),
            Some(after_us) => {
                let span: usize = after_us - before;
                thread::sleep(Duration::from_micros((before + rng.below(span.max(1))) as u64));
            }
        }
        let died_us = started.elapsed().as_micros() as usize;
        cordon.kill().unwrap();
        pusher.wait().unwrap();
        match n % 4 {
            3 => restart_after_boot(&mut cordon),
            _ => cordon.run().unwrap(),
        }
        let after = status(&cordon);
        let found = after["bundle"]["revision"].as_u64().unwrap();
        assert!(
            found == revision || found == revision - 1,
            "revision {found} after {revision}: {after:#}\n{}",
            cordon.log()
        );
        let verdicts = (judged(&cordon, RU), judged(&cordon, NL));
        let expected = if found.is_multiple_of(2) { (10, 0) } else { (0, 10) };
        assert_eq!(verdicts, expected, "the policy of revision {found}");
        match found == revision {
            true => {
                n_new += 1;
                after_us = Some(died_us);
            }
            false => {
                n_old += 1;
                before = died_us;
            }
        }
        // No two pushes take the same time.
        if after_us.is_some_and(|after_us| after_us < before + MIN_SPAN_US) {
            before = before.saturating_sub(2 * MIN_SPAN_US);
            after_us = Some(before + 4 * MIN_SPAN_US);
        }
        assert_eq!(problems(&cordon), "", "after {n} deaths");
        let again = push(&cordon, &file);
        let outcome = again["outcome"].as_str();
        assert!(matches!(outcome, Some("accepted" | "idle")), "{again:#}");
        assert_eq!(status(&cordon)["bundle"]["revision"], revision);
    }
    assert!(
        n_old > 0 && n_new > 0,
        "{n_old} deaths left the old policy, {n_new} the new one"
    );
    println!("{n_old} deaths left the old policy, {n_new} the new one");
}

fn restart_after_boot(cordon: &mut Cordon<'_>) {
    cordon.cordon_ok(&["detach", "--yes"]).unwrap();
    cordon.run().unwrap();
}
