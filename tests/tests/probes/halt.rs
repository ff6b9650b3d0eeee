//! Halts and amendments while a policy waits for its probes.

use super::*;

/// Blocks RU, and has a service.
fn with_service() -> String {
    format!("{BLOCK_RU}\n[[service]]\nname = \"web\"\nprotocols = [\"tcp\"]\nports = [80]\n")
}

/// Applies, and meanwhile does something as soon as the daemon probes.
fn apply_and(cordon: &Cordon<'_>, policy: &str, window: &str, meanwhile: impl FnOnce() + Send) -> Answer {
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..400 {
                if !status(cordon)["probing"].is_null() {
                    return meanwhile();
                }
                thread::sleep(Duration::from_millis(50));
            }
            panic!("nothing is probed:\n{}", cordon.log());
        });
        apply(cordon, policy, window)
    })
}

#[test]
fn in_a_halt_nothing_is_confirmed_by_probes() {
    let edge = edge("");
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_RU).unwrap();
    cordon.wait_attached().unwrap();
    let halt = || drop(cordon.cordon_ok(&["halt", "--reason", "drill"]).unwrap());
    halt();
    let refused = apply(&cordon, CUT_OFF, "30s");
    assert!(
        refused.status == 1 && refused.stdout.contains("the host is halted"),
        "{refused:?}"
    );
    assert_eq!(
        status(&cordon)["confirm_left_s"],
        Value::Null,
        "nothing was published"
    );
    cordon.cordon_ok(&["resume"]).unwrap();

    let left = apply_and(&cordon, &with_service(), "60s", halt);
    assert!(
        left.status == 1 && left.stdout.contains("`cordon confirm` by hand"),
        "{left:?}"
    );
    // Longer than the probes would have to hold.
    thread::sleep(Duration::from_secs(13));
    let waits = status(&cordon);
    assert!(waits["confirm_left_s"].is_number(), "{waits:#}");
    assert_eq!(waits["probing"]["held_s"], Value::Null, "{waits:#}");
    assert!(
        waits["problems"]
            .to_string()
            .contains("in a halt they say nothing"),
        "{waits:#}"
    );
    cordon.cordon_ok(&["confirm"]).unwrap();
    let confirmed = status(&cordon);
    assert_eq!(confirmed["problems"], Value::Array(Vec::new()), "{confirmed:#}");
    cordon.cordon_ok(&["resume"]).unwrap();

    let left = apply_and(&cordon, BLOCK_RU, "60s", halt);
    assert_eq!(left.status, 1, "{left:?}");
    cordon.cordon_ok(&["resume"]).unwrap();
    for _ in 0..900 {
        if status(&cordon)["confirm_left_s"].is_null() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let confirmed = status(&cordon);
    assert_eq!(
        (&confirmed["reverted"], &confirmed["problems"]),
        (&Value::Bool(false), &Value::Array(Vec::new())),
        "confirmed by the probes after the halt: {confirmed:#}"
    );
    assert!(cordon.log().contains("all probes hold"));
}

#[test]
fn a_service_that_is_halted_meanwhile_is_no_other_policy() {
    let edge = edge("");
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(BLOCK_RU).unwrap();
    let before = cordon.generation().unwrap();
    let answer = apply_and(&cordon, &with_service(), "12s", || {
        cordon
            .cordon_ok(&["halt", "--service", "web", "--reason", "drill"])
            .unwrap();
    });
    assert_eq!(answer.status, 0, "{answer:?}\n{}", cordon.log());
    let after = status(&cordon);
    assert_eq!(after["confirm_left_s"], Value::Null, "{after:#}");
    assert!(
        cordon.generation().unwrap() > before + 1,
        "the halt made generations of its own"
    );
}
