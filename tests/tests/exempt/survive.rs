use std::{
    fs,
    time::{Duration, Instant as Stopwatch},
};

use integration_tests::{
    cordon_process::Cordon,
    probes::{Outcome, Probe, Protocol},
};

use super::{
    KP, NL, POLICY, RU, add, add_ok, edge, in_seconds, list, pass_without_daemon, passes, references,
    restart, verdict, wait_until,
};

fn generation(cordon: &Cordon<'_>) -> u64 {
    cordon.generation().unwrap()
}

#[test]
fn an_exemption_is_in_force_at_once_and_known_combinations_need_no_compile() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(POLICY).unwrap();
    let before = generation(&cordon);
    add_ok(&cordon, "81.0.7.0/24", "C-1", &["--orders", "embargo"]);
    add_ok(&cordon, "82.0.7.0/24", "C-1", &[]);
    add_ok(&cordon, "83.0.0.0/16", "C-1", &["--wide"]);
    assert!(passes(&cordon, RU) && passes(&cordon, NL) && !passes(&cordon, KP));
    assert_eq!(
        generation(&cordon),
        before,
        "single orders and all orders are known"
    );

    add_ok(&cordon, "82.0.9.0/24", "C-2", &["--orders", "embargo,court"]);
    assert!(passes(&cordon, "82.0.9.1") && passes(&cordon, RU));
    assert_eq!(generation(&cordon), before + 1, "this combination was never met");
    add_ok(&cordon, "82.0.10.0/24", "C-2", &["--orders", "court,embargo"]);
    add_ok(&cordon, "82.0.11.0/24", "C-3", &["--orders", "court"]);
    add_ok(&cordon, "82.0.11.0/24", "C-4", &["--orders", "embargo"]);
    assert!(passes(&cordon, "82.0.10.1") && passes(&cordon, "82.0.11.1"));
    assert_eq!(generation(&cordon), before + 1, "now it is known");

    add_ok(&cordon, "81.0.9.0/24", "C-5", &["--services", "web"]);
    assert_eq!(generation(&cordon), before + 2);
    assert_eq!(
        verdict(&cordon, &["81.0.9.1", "--protocol", "tcp", "--port", "443"]),
        0
    );
    assert_eq!(
        verdict(&cordon, &["81.0.9.1", "--protocol", "tcp", "--port", "22"]),
        10
    );

    cordon
        .cordon_ok(&["exempt", "remove", "82.0.11.0/24", "--reference", "C-3"])
        .unwrap();
    assert!(
        !passes(&cordon, "82.0.11.1"),
        "the other reference lifts one order only"
    );
    cordon
        .cordon_ok(&["exempt", "remove", "--reference", "C-1"])
        .unwrap();
    assert!(!passes(&cordon, RU) && !passes(&cordon, NL));
}

/// The packet itself, on the wire. What is printed is the figure that is promised: a second at most.
#[test]
fn the_packet_after_the_answer_passes() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(POLICY).unwrap();
    cordon.wait_attached().unwrap();
    let meets = |source: &str| {
        let probe = Probe {
            source: source.parse().unwrap(),
            protocol: Protocol::Udp,
        };
        edge.lab.probe(&[probe]).unwrap()[0]
    };
    let before = generation(&cordon);
    let mut longest = Duration::ZERO;
    for (prefix, source) in [
        ("81.0.7.0/24", RU),
        ("82.0.7.7/32", NL),
        ("81.0.8.0/24", "81.0.8.1"),
    ] {
        assert_eq!(meets(source), Outcome::Blocked, "{source}");
        let asked = Stopwatch::now();
        add_ok(&cordon, prefix, "C-1", &[]);
        assert_eq!(
            meets(source),
            Outcome::Passed,
            "{source}: the first packet after the answer"
        );
        longest = longest.max(asked.elapsed());
    }
    println!("from the request to the packet that was answered: {longest:?} at most");
    assert_eq!(generation(&cordon), before, "without a compile");
}

#[test]
fn publishes_and_reverts_leave_exemptions_alone() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    add_ok(&cordon, "82.0.7.0/24", "C-0", &[]);
    cordon.apply(POLICY).unwrap();
    assert!(passes(&cordon, NL), "made before there was a policy");
    add_ok(&cordon, "82.0.8.0/24", "C-1", &["--orders", "embargo,court"]);

    let other = POLICY
        .replace("two-orders", "other")
        .replace("id = \"war\"", "id = \"peace\"");
    let path = cordon.write_policy(&other).unwrap();
    cordon
        .cordon_ok(&["apply", "--confirm", "2s", "--override-lockout", &path])
        .unwrap();
    assert!(passes(&cordon, NL) && passes(&cordon, "82.0.8.1") && !passes(&cordon, RU));
    add_ok(&cordon, "81.0.7.0/24", "C-2", &["--orders", "embargo"]);
    assert!(
        passes(&cordon, RU),
        "a known combination is taken while a policy waits"
    );
    let refused = add(&cordon, "81.0.8.0/24", "C-3", &["--services", "web"]);
    assert!(
        refused.status == 1 && refused.stderr.contains("cordon confirm") && refused.stderr.contains("web"),
        "{refused:?}"
    );
    assert!(!references(&cordon).contains(&"C-3".to_owned()));
    // What is left on 82.0.8.0/24 after this was never met: it gets what is known, and never more.
    wait_reverted(&cordon);
    assert!(passes(&cordon, NL) && passes(&cordon, "82.0.8.1") && passes(&cordon, RU));
    add_ok(&cordon, "81.0.8.0/24", "C-3", &["--services", "web"]);

    // Back to a generation that was loaded before, and to one that is compiled anew: neither knew what was granted since.
    let web = ["81.0.8.1", "--protocol", "tcp", "--port", "443"];
    let are_granted = |cordon: &Cordon<'_>| {
        passes(cordon, NL) && passes(cordon, "82.0.8.1") && passes(cordon, RU) && verdict(cordon, &web) == 0
    };
    assert!(are_granted(&cordon));
    cordon.apply(&other).unwrap();
    add_ok(&cordon, "81.0.10.0/24", "C-4", &[]);
    for _ in 0..2 {
        cordon.cordon_ok(&["rollback", "--override-lockout"]).unwrap();
        let holds = |cordon: &Cordon<'_>| are_granted(cordon) && passes(cordon, "81.0.10.1");
        for _ in 0..200 {
            if holds(&cordon) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert!(holds(&cordon), "{:#}", cordon.status().unwrap());
        assert!(!passes(&cordon, KP));
    }
}

fn wait_reverted(cordon: &Cordon<'_>) {
    for _ in 0..400 {
        if cordon.status().unwrap()["reverted"] == true {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("not reverted:\n{}", cordon.log());
}

/// A removal acts while a policy waits for confirmation, although what is left of the prefix needs a combination that no
/// generation knows: meanwhile the address gets less than was granted, and all of it after the confirmation.
#[test]
fn a_removal_waits_for_nothing_and_never_grants_more() {
    const END: &str = "2099-01-01T00:00:00Z";
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(POLICY).unwrap();
    add_ok(&cordon, "82.0.7.0/24", "C-1", &["--until", END]);
    add_ok(
        &cordon,
        "82.0.7.0/24",
        "C-2",
        &["--orders", "embargo", "--until", END],
    );
    add_ok(
        &cordon,
        "82.0.7.0/24",
        "C-3",
        &["--orders", "court", "--until", END],
    );
    let path = cordon
        .write_policy(&POLICY.replace("default = \"pass\"", "default = \"count\""))
        .unwrap();
    cordon.cordon_ok(&["apply", "--confirm", "1h", &path]).unwrap();
    assert!(passes(&cordon, NL));
    cordon
        .cordon_ok(&["exempt", "remove", "--reference", "C-1"])
        .unwrap();
    assert!(!passes(&cordon, NL), "one of the two orders at most");
    let problem = |cordon: &Cordon<'_>| cordon.status().unwrap()["problems"].to_string();
    assert!(
        problem(&cordon).contains("less than was granted"),
        "{}",
        problem(&cordon)
    );
    cordon.cordon_ok(&["confirm"]).unwrap();
    for _ in 0..200 {
        if passes(&cordon, NL) && !problem(&cordon).contains("less") {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("what was granted is not made known:\n{}", cordon.log());
}

#[test]
fn restarts_kills_and_boots_keep_exemptions() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(POLICY).unwrap();
    add_ok(&cordon, "81.0.7.0/24", "C-1", &["--orders", "embargo"]);
    add_ok(&cordon, "82.0.7.0/24", "C-2", &["--orders", "embargo,court"]);
    let (before, told) = (generation(&cordon), list(&cordon));

    cordon.kill().unwrap();
    assert_eq!(
        pass_without_daemon(&cordon, [RU, NL, "82.0.8.1"]),
        [true, true, false]
    );
    cordon.run().unwrap();
    assert_eq!(generation(&cordon), before, "adopted, nothing rebuilt");
    assert_eq!(list(&cordon), told);
    assert!(passes(&cordon, RU) && passes(&cordon, NL));

    // As after a boot: nothing is pinned.
    cordon.kill().unwrap();
    cordon.cordon_ok(&["detach", "--yes"]).unwrap();
    cordon.run().unwrap();
    assert_eq!(list(&cordon), told);
    assert!(passes(&cordon, RU) && passes(&cordon, NL) && !passes(&cordon, "82.0.8.1"));
    let status = cordon.status().unwrap();
    assert_eq!(
        (status["n_exemptions"].as_u64(), status["state"].as_str()),
        (Some(2), Some("ok")),
        "{status:#}"
    );

    // The numbers of lifts are lost: they are made anew.
    cordon.kill().unwrap();
    fs::remove_file(cordon.dir().join("state/lift-keys.json")).unwrap();
    cordon.run().unwrap();
    assert!(passes(&cordon, RU) && passes(&cordon, NL) && !passes(&cordon, "82.0.8.1"));
}

#[test]
fn with_the_daemon_dead_nothing_outlasts_its_own_end() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(POLICY).unwrap();
    let (soon, later) = (in_seconds(4), in_seconds(7));
    let (soon_text, later_text) = (soon.to_string(), later.to_string());
    add_ok(&cordon, "81.0.7.0/24", "C-1", &["--until", &soon_text]);
    add_ok(&cordon, "81.0.8.0/24", "C-1", &["--until", &soon_text]);
    add_ok(
        &cordon,
        "81.0.8.0/24",
        "C-2",
        &["--orders", "embargo", "--until", &later_text],
    );
    cordon.kill().unwrap();
    assert_eq!(pass_without_daemon(&cordon, [RU, "81.0.8.1"]), [true, true]);
    wait_until(soon);
    assert_eq!(
        pass_without_daemon(&cordon, [RU, "81.0.8.1"]),
        [false, true],
        "each by its own end"
    );
    wait_until(later);
    assert_eq!(pass_without_daemon(&cordon, [RU, "81.0.8.1"]), [false, false]);

    cordon.run().unwrap();
    for _ in 0..200 {
        if list(&cordon).is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(list(&cordon).is_empty(), "what has ended is forgotten");
    assert!(cordon.log().contains("expire"), "and recorded:\n{}", cordon.log());
    let stored = fs::read_to_string(cordon.dir().join("state/exemptions.jsonl")).unwrap();
    assert!(!stored.contains("81.0"), "{stored}");
}

#[test]
fn a_list_that_cannot_be_read_changes_nothing_in_the_kernel_until_it_is_replaced() {
    let edge = edge();
    let mut cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(POLICY).unwrap();
    add_ok(&cordon, "81.0.7.0/24", "C-1", &[]);
    cordon.kill().unwrap();
    let path = cordon.dir().join("state/exemptions.jsonl");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, good.replace("\"reference\"", "\"refer")).unwrap();
    cordon.run().unwrap();
    assert!(
        cordon.status().unwrap()["problems"]
            .to_string()
            .contains("exemptions.jsonl")
    );
    let refused = add(&cordon, "81.0.8.0/24", "C-2", &[]);
    assert!(
        refused.status == 1 && refused.stderr.contains("exempt sync") && refused.stderr.contains(":2:"),
        "{refused:?}"
    );
    cordon.kill().unwrap();
    assert_eq!(
        pass_without_daemon(&cordon, [RU, "81.0.8.1"]),
        [true, false],
        "as it was"
    );
    cordon.run().unwrap();

    let file = cordon.dir().join("list.jsonl");
    fs::write(&file, good.replace("81.0.7", "81.0.9")).unwrap();
    cordon
        .cordon_ok(&["exempt", "sync", &file.to_string_lossy()])
        .unwrap();
    assert!(passes(&cordon, "81.0.9.1") && !passes(&cordon, RU));
    restart(&mut cordon);
    assert!(passes(&cordon, "81.0.9.1"));
    assert_eq!(cordon.status().unwrap()["state"], "ok");
}

/// To take away needs no room on the disk.
#[test]
fn a_list_that_only_takes_away_is_taken_though_nothing_can_be_written() {
    let edge = edge();
    let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
    cordon.apply(POLICY).unwrap();
    add_ok(&cordon, "81.0.7.0/24", "C-1", &[]);
    let stored = cordon.dir().join("state/exemptions.jsonl");
    let one = fs::read(&stored).unwrap();
    add_ok(&cordon, "82.0.7.0/24", "C-2", &[]);
    fs::remove_file(&stored).unwrap();
    fs::create_dir(&stored).unwrap();
    let list = cordon.dir().join("list.jsonl");
    fs::write(&list, one).unwrap();
    assert!(passes(&cordon, RU) && passes(&cordon, NL));
    cordon
        .cordon_ok(&["exempt", "sync", list.to_str().unwrap()])
        .unwrap();
    assert!(passes(&cordon, RU) && !passes(&cordon, NL));
    fs::remove_dir(&stored).unwrap();
}
