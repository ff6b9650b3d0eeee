use std::time::{Duration, Instant as Stopwatch};

use cordon::{dataplane::Dataplane, instant::Instant};
use integration_tests::{
    images,
    scratch::Scratch,
    test_run::{XDP_DROP, XDP_PASS, action_for, run_frame},
};
use probe_common::{Action, Reason};

use super::{RU, US, action, address, ephemeral, location, open};

#[test]
fn exemptions_end_in_the_kernel_and_an_expired_one_hides_no_live_one() {
    let fs = Scratch::new().unwrap();
    let mut dataplane = open(&fs);
    let soon = Instant(Instant::now().0 + longest_publish_s(&mut dataplane));
    let later = Instant(soon.0 + 3600);
    let exemption = |prefix: &str, until: Instant| {
        format!(
            "[[exemption]]\nprefixes = [\"{prefix}\"]\nreference = \"C\"\nreason = \"customer\"\nuntil = {until}\n"
        )
    };
    let policy = images::drop_countries(&["RU"])
        + &exemption("11.0.1.0/24", soon)
        + &exemption("2a00:11:1::/48", soon)
        // A /25 that ends soon inside a /24 that does not.
        + &exemption("11.0.2.0/25", soon)
        + &exemption("11.0.2.0/24", later)
        // A deny that ends soon inside an exemption that does not.
        + &format!("[[deny]]\nprefixes = [\"11.0.2.64/26\"]\nreason = \"abuse\"\nuntil = {soon}\n");
    dataplane
        .publish(&images::image(&policy, &location()).unwrap(), None)
        .unwrap();
    let entry = dataplane.open_entry_program().unwrap();
    drop(dataplane);

    let actions = || {
        [
            "11.0.1.7",
            "2a00:11:1::7",
            "11.0.2.1",
            "11.0.2.200",
            "11.0.2.65",
            RU,
        ]
        .map(|source| action_for(&entry, address(source)).unwrap())
    };
    assert_eq!(
        actions(),
        [XDP_PASS, XDP_PASS, XDP_PASS, XDP_PASS, XDP_DROP, XDP_DROP],
        "while they hold"
    );
    while Instant::now() <= soon {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(
        actions(),
        [XDP_DROP, XDP_DROP, XDP_PASS, XDP_PASS, XDP_PASS, XDP_DROP],
        "past the end, with no daemon: the short ones are over, the /24 around them is not hidden"
    );
}

/// Publishes once, and says how many seconds a publish surely does not take here: an emulated processor needs many.
fn longest_publish_s(dataplane: &mut Dataplane) -> u32 {
    let started = Stopwatch::now();
    dataplane
        .publish(&images::image(images::PASS_ALL, &location()).unwrap(), None)
        .unwrap();
    3 + 4 * started.elapsed().as_secs() as u32
}

#[test]
fn orders_begin_and_end_in_the_kernel() {
    let mut dataplane = ephemeral();
    let start = Instant(Instant::now().0 + longest_publish_s(&mut dataplane));
    let end = Instant(start.0 + 3);
    let policy = images::drop_countries(&["RU"]).replace(
        "authority = \"Test\"\n",
        &format!("authority = \"Test\"\neffective = {start}\nuntil = {end}\n"),
    );
    dataplane
        .publish(&images::image(&policy, &location()).unwrap(), None)
        .unwrap();
    let entry = dataplane.open_entry_program().unwrap();
    drop(dataplane.tidy());
    let mut seen = Vec::new();
    while Instant::now() <= end {
        let before = Instant::now();
        let action = action_for(&entry, address(RU)).unwrap();
        // Judged within one second of the clock: the expectation is certain.
        if before == Instant::now() {
            let expected = if before >= start && before < end {
                XDP_DROP
            } else {
                XDP_PASS
            };
            assert_eq!(
                action, expected,
                "at {before}, with the order from {start} to {end}"
            );
            if seen.last() != Some(&action) {
                seen.push(action);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(seen, [XDP_PASS, XDP_DROP, XDP_PASS]);
}

#[test]
fn halt_drops_all_but_failsafe_and_control_and_ends_by_itself() {
    let mut dataplane = ephemeral();
    dataplane
        .publish(&images::image(images::PASS_ALL, &location()).unwrap(), None)
        .unwrap();
    dataplane
        .set_failsafe(&["12.0.0.1/32".parse().unwrap(), "2a00:12::/64".parse().unwrap()])
        .unwrap();
    dataplane.halt(None).unwrap();
    assert_eq!(
        ["11.0.0.1", "2a00:11::1", "12.0.0.2"].map(|source| action(&dataplane, source)),
        [XDP_DROP; 3]
    );
    assert_eq!(
        ["12.0.0.1", "2a00:12::9"].map(|source| action(&dataplane, source)),
        [XDP_PASS; 2],
        "failsafe"
    );
    assert_eq!(action(&dataplane, "fe80::1"), XDP_PASS, "link-local");
    assert_eq!(
        action(&dataplane, "::ffff:12.0.0.1"),
        XDP_DROP,
        "an IPv4-mapped source is never valid on a wire"
    );
    let verdict = dataplane.judge(address(RU), Instant::now()).unwrap();
    assert_eq!((verdict.action, verdict.reason), (Action::Drop, Reason::Halted));
    dataplane.resume().unwrap();
    assert_eq!(action(&dataplane, RU), XDP_PASS);

    let until = Instant(Instant::now().0 + 2);
    dataplane.halt(Some(until)).unwrap();
    assert_eq!(action(&dataplane, RU), XDP_DROP);
    while Instant::now() <= until {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(
        action(&dataplane, RU),
        XDP_PASS,
        "a halt with an end is over at its end"
    );
    assert_eq!(dataplane.state().unwrap().halted, None);
}

#[test]
fn failsafe_prefixes_pass_under_any_policy_and_follow_the_host_file() {
    let mut dataplane = ephemeral();
    let policy = "version = 1\ndefault = \"drop\"\nunknown = \"drop\"\nlan = \"drop\"\n\
                  [[deny]]\nprefixes = [\"11.0.0.0/24\"]\nreason = \"abuse\"\n";
    dataplane
        .publish(&images::image(policy, &location()).unwrap(), None)
        .unwrap();
    assert_eq!([RU, US].map(|source| action(&dataplane, source)), [XDP_DROP; 2]);
    dataplane.set_failsafe(&["11.0.0.1/32".parse().unwrap()]).unwrap();
    assert_eq!(
        [RU, US].map(|source| action(&dataplane, source)),
        [XDP_PASS, XDP_DROP],
        "even where a deny covers it"
    );
    dataplane.set_failsafe(&["12.0.0.0/16".parse().unwrap()]).unwrap();
    assert_eq!(
        [RU, US].map(|source| action(&dataplane, source)),
        [XDP_DROP, XDP_PASS]
    );
}

#[test]
fn nothing_published_drops_all_but_failsafe_and_control() {
    let mut dataplane = ephemeral();
    dataplane.set_failsafe(&["12.0.0.1/32".parse().unwrap()]).unwrap();
    assert_eq!(
        [RU, US].map(|source| action(&dataplane, source)),
        [XDP_DROP, XDP_PASS]
    );
    let arp = integration_tests::frames::ethernet_frame(0x0806, &[0; 28]);
    assert_eq!(
        run_frame(&dataplane.open_entry_program().unwrap(), &arp, 1)
            .unwrap()
            .0,
        XDP_PASS
    );
    let rows = dataplane.counters().unwrap();
    assert_eq!(
        rows.iter().map(|row| row.packets).sum::<u64>(),
        3,
        "each was counted once: {rows:?}"
    );
    assert!(
        dataplane.attach("lo", cordon::host::ModeChoice::Skb).is_err(),
        "so it is never attached"
    );
}
