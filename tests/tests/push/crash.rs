use std::thread;

use integration_tests::rng::Rng;

use super::*;

/// Deaths of the daemon while it takes a bundle.
const N_DEATHS: u64 = 16;
/// A push takes about so long here.
const WINDOW_MS: usize = 400;

/// Whenever it dies: afterwards the old policy holds or the new one, and the same bundle finishes the job.
#[test]
fn a_daemon_that_dies_while_it_takes_a_bundle_leaves_the_old_policy_or_the_new_one() {
    let edge = edge();
    let mut cordon = managed(&edge, &["one"]);
    let mut rng = Rng::new(20_261_120);
    let policies = [drops(&["RU"]), drops(&["NL"])];
    accepted(&cordon, &Issue::new(1, &policies[1]));
    let (mut n_old, mut n_new) = (0, 0);
    for n in 0..N_DEATHS {
        let revision = n + 2;
        let file = Issue::new(revision, &policies[(n % 2) as usize]).write(&cordon);
        let mut command = cordon.command(&["bundle", "push", &file]).unwrap();
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let mut pusher = integration_tests::netns::spawn_bound(command).unwrap();
        thread::sleep(Duration::from_millis(rng.below(WINDOW_MS) as u64));
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
            true => n_new += 1,
            false => n_old += 1,
        }
        assert_eq!(problems(&cordon), "", "after {n} deaths");
        let again = push(&cordon, &file);
        let outcome = again["outcome"].as_str();
        assert!(matches!(outcome, Some("accepted" | "idle")), "{again:#}");
        assert_eq!(status(&cordon)["bundle"]["revision"], revision);
    }
    println!("{n_old} deaths left the old policy, {n_new} the new one");
}

fn restart_after_boot(cordon: &mut Cordon<'_>) {
    cordon.cordon_ok(&["detach", "--yes"]).unwrap();
    cordon.run().unwrap();
}
