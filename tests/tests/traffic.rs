//! Real packets against the real daemon, each case through a policy file only.

pub(crate) mod edge;

use std::{path::PathBuf, time::Duration};

use cordon::instant::Instant;
use edge::*;
use integration_tests::{
    frames::{FrameSocket, ethernet_frame, udp_frame, with_vlan_tags},
    lab::{EDGE_IFNAME, INTERNET_IFNAME},
    probes::Outcome::{self, Blocked, Passed},
    stream::{Always, Stream},
};

#[test]
fn a_block_list_blocks_what_it_lists_in_both_families() {
    let edge = Edge::new();
    let all: &[&[&str]] = &[&RU, &BY, &NL, &UNKNOWN, &LAN, &FAILSAFE];
    edge.expect(
        "without cordon",
        &all.iter().map(|sources| (*sources, Passed)).collect::<Vec<_>>(),
    );
    let _cordon = edge.start(BLOCK_LIST);
    edge.expect(
        "block list",
        &[
            (&RU, Blocked),
            (&BY, Blocked),
            (&NL, Passed),
            (&UNKNOWN, Passed),
            (&LAN, Passed),
            (&FAILSAFE, Passed),
        ],
    );
}

#[test]
fn native_and_skb_mode_give_the_same_verdicts() {
    for (xdp_mode, obtained) in [("require-native", "native"), ("skb", "skb")] {
        let edge = Edge::new();
        let cordon = edge.start_in_mode(xdp_mode, BLOCK_LIST);
        assert_eq!(cordon.wait_attached().unwrap(), obtained);
        edge.expect(
            xdp_mode,
            &[
                (&RU, Blocked),
                (&NL, Passed),
                (&UNKNOWN, Passed),
                (&FAILSAFE, Passed),
            ],
        );
    }
}

#[test]
fn an_allow_list_blocks_everything_else_but_the_lan_and_the_failsafe_prefixes() {
    let edge = Edge::new();
    let _cordon = edge.start(
        r#"
version = 1
default = "drop"
unknown = "drop"
[[order]]
id = "only-belarus"
authority = "Test Authority"
[[order.rule]]
action = "pass"
countries = ["BY"]
"#,
    );
    edge.expect(
        "allow list",
        &[
            (&BY, Passed),
            (&RU, Blocked),
            (&NL, Blocked),
            (&UNKNOWN, Blocked),
            (&LAN, Passed),
            (&FAILSAFE, Passed),
        ],
    );
}

#[test]
fn the_longest_override_wins_and_no_exemptions_rules_hold() {
    let edge = Edge::new();
    let policy = [
        BLOCK_LIST,
        &exemption(
            &["81.0.16.0/20", "2a01:100:10::/44", "83.0.7.0/24", "2a03:100::/48"],
            in_an_hour(),
        ),
        &deny(
            &[
                "81.0.17.0/24",
                "2a01:100:11::/48",
                "82.0.32.0/20",
                "2a02:100:20::/44",
            ],
            None,
        ),
        &exemption(
            &[
                "81.0.17.17/32",
                "2a01:100:11::17/128",
                "82.0.33.33/32",
                "2a02:100:21::33/128",
            ],
            in_an_hour(),
        ),
    ]
    .concat();
    let _cordon = edge.start(&policy);
    edge.expect(
        "nested overrides",
        &[
            (&RU, Blocked),
            (&["81.0.16.0", "81.0.31.255", "2a01:100:10::1"], Passed),
            (&["81.0.17.16", "81.0.17.18", "2a01:100:11::16"], Blocked),
            (&["81.0.17.17", "2a01:100:11::17"], Passed),
            (&["81.0.15.255", "81.0.32.0"], Blocked),
            (&["82.0.33.32", "2a02:100:20::1"], Blocked),
            (&["82.0.33.33", "2a02:100:21::33"], Passed),
            (&["82.0.31.255", "82.0.48.0"], Passed),
            // Exempt, but the rule about Belarus knows no exemptions.
            (&BY, Blocked),
        ],
    );
}

#[test]
fn an_exemption_ends_with_the_daemon_dead() {
    let edge = Edge::new();
    let mut cordon = edge.start(BLOCK_LIST);
    edge.expect("before the exemption", &[(&RU, Blocked)]);
    let policy = |until| [BLOCK_LIST, &exemption(&["81.0.7.0/24", "2a01:100::/48"], until)].concat();
    let until = edge.before_the_end(&cordon, policy, &[(&RU, Passed)]);
    cordon.kill().unwrap();
    sleep_past(until);
    edge.expect("after the end", &[(&RU, Blocked), (&NL, Passed)]);
}

#[test]
fn an_ended_longer_prefix_does_not_hide_a_live_shorter_one() {
    let edge = Edge::new();
    let cordon = edge.start(BLOCK_LIST);
    let policy = |until| {
        [
            BLOCK_LIST,
            &deny(&["82.0.0.0/17", "2a02:100::/36"], None),
            &exemption(&["82.0.7.0/24", "82.0.7.0/26", "2a02:100::/64"], until),
            &exemption(&["81.0.0.0/17", "2a01:100::/36"], in_an_hour()),
            &deny(&["81.0.7.0/24", "2a01:100::/64"], Some(until)),
        ]
        .concat()
    };
    let until = edge.before_the_end(&cordon, policy, &[(&NL, Passed), (&RU, Blocked)]);
    sleep_past(until);
    edge.expect(
        "the shorter prefixes are in force",
        &[(&NL, Blocked), (&RU, Passed)],
    );
}

#[test]
fn halt_blocks_all_but_failsafe_and_resume_brings_the_policy_back() {
    let edge = Edge::new();
    let cordon = edge.start(BLOCK_LIST);
    cordon.cordon_ok(&["halt", "--reason", "test"]).unwrap();
    edge.expect(
        "halted",
        &[
            (&RU, Blocked),
            (&NL, Blocked),
            (&UNKNOWN, Blocked),
            (&LAN, Blocked),
            (&FAILSAFE, Passed),
        ],
    );
    cordon.cordon_ok(&["resume"]).unwrap();
    edge.expect(
        "resumed",
        &[
            (&RU, Blocked),
            (&NL, Passed),
            (&UNKNOWN, Passed),
            (&FAILSAFE, Passed),
        ],
    );
}

#[test]
fn a_halt_survives_the_daemon() {
    let edge = Edge::new();
    let mut cordon = edge.start(BLOCK_LIST);
    cordon.cordon_ok(&["halt", "--reason", "test"]).unwrap();
    cordon.kill().unwrap();
    edge.expect("halted, no daemon", &[(&NL, Blocked), (&FAILSAFE, Passed)]);
    cordon.run().unwrap();
    edge.expect("halted, new daemon", &[(&NL, Blocked), (&FAILSAFE, Passed)]);
    cordon.cordon_ok(&["resume"]).unwrap();
    edge.expect("resumed", &[(&NL, Passed), (&RU, Blocked)]);
}

#[test]
fn a_killed_daemon_leaves_the_policy_in_force_and_the_next_one_adopts_it() {
    let edge = Edge::new();
    let mut cordon = edge.start(BLOCK_LIST);
    cordon
        .apply(&[BLOCK_LIST, &deny(&["82.0.7.0/24", "2a02:100::/64"], None)].concat())
        .unwrap();
    let verdicts: [(&[&str], Outcome); 3] = [(&RU, Blocked), (&NL, Blocked), (&UNKNOWN, Passed)];
    edge.expect("before", &verdicts);
    let generation = cordon.generation().unwrap();
    let sources = [RU, NL]
        .concat()
        .into_iter()
        .map(|source| (address(source), Always::Blocked));
    let passed = UNKNOWN
        .into_iter()
        .map(|source| (address(source), Always::Passed));
    let stream = Stream::start(&edge.lab, &sources.chain(passed).collect::<Vec<_>>()).unwrap();

    cordon.kill().unwrap();
    edge.expect("no daemon", &verdicts);
    cordon.run().unwrap();
    assert_eq!(
        cordon.generation().unwrap(),
        generation,
        "the generation is adopted, not published again"
    );
    edge.expect("adopted", &verdicts);
    for report in stream.stop().unwrap() {
        assert!(
            report.n_sent > 0 && report.n_wrong() == 0,
            "no packet finds a gap: {report:?}"
        );
    }

    cordon.apply(BLOCK_LIST).unwrap();
    assert!(
        cordon.generation().unwrap() > generation,
        "numbers are never used twice"
    );
    edge.expect("a policy after the adoption", &[(&RU, Blocked), (&NL, Passed)]);
}

#[test]
fn a_broken_policy_changes_nothing() {
    let edge = Edge::new();
    let cordon = edge.start(BLOCK_LIST);
    let generation = cordon.generation().unwrap();
    for (broken, named) in [
        (
            "version = 1\ndefault = \"pas\"\nunknown = \"pass\"\n",
            "policy.toml:2:",
        ),
        ("version = 1\ndefault = \"pass\"\n", "policy.toml"),
        ("<!DOCTYPE html>\n<html></html>\n", "policy.toml:1:"),
        ("", "policy.toml"),
    ] {
        let path = cordon.write_policy(broken).unwrap();
        let answer = cordon.cordon(&["apply", "--no-confirm", &path]).unwrap();
        assert_eq!(answer.status, 1, "{broken:?} is refused: {answer:?}");
        assert!(
            answer.stderr.contains(named),
            "{broken:?}: the place is named: {answer:?}"
        );
    }
    assert_eq!(cordon.generation().unwrap(), generation);
    edge.expect("after broken policies", &[(&RU, Blocked), (&NL, Passed)]);
}

#[test]
fn a_policy_that_drops_a_failsafe_address_is_refused_unless_overridden() {
    let edge = Edge::new();
    let cordon = edge.start(BLOCK_LIST);
    let generation = cordon.generation().unwrap();
    let path = cordon.write_policy(DROP_ALL).unwrap();
    let answer = cordon.cordon(&["apply", "--no-confirm", &path]).unwrap();
    assert_eq!(answer.status, 1, "{answer:?}");
    for address in FAILSAFE {
        assert!(answer.stderr.contains(address), "{address} is named: {answer:?}");
    }
    assert_eq!(cordon.generation().unwrap(), generation);
    edge.expect("refused", &[(&NL, Passed)]);
}

#[test]
fn an_unconfirmed_policy_is_reverted_with_the_daemon_dead() {
    let edge = Edge::new();
    let mut cordon = edge.start(BLOCK_LIST);
    let path = cordon
        .write_policy(&[BLOCK_LIST, &deny(&["82.0.7.0/24", "2a02:100::/64"], None)].concat())
        .unwrap();
    cordon
        .cordon_ok(&["apply", "--override-lockout", "--confirm", "6s", &path])
        .unwrap();
    cordon.kill().unwrap();
    let deadline = Instant(Instant::now().0 + 7);
    let reach = edge.lab.reach_from(address(NL[0])).unwrap();
    assert!(
        Instant::now() >= deadline || reach.uniform() == Some(Blocked),
        "the new policy holds until its deadline: {reach}"
    );
    sleep_past(deadline);
    edge.expect("reverted", &[(&NL, Passed), (&RU, Blocked)]);
}

#[test]
fn neighbours_are_found_while_everything_is_dropped() {
    let edge = Edge::new();
    let _cordon = edge.start(DROP_ALL);
    for _ in 0..2 {
        edge.lab.flush_neighbours().unwrap();
        edge.expect(
            "everything is dropped",
            &[(&FAILSAFE, Passed), (&NL, Blocked), (&LAN, Blocked)],
        );
    }
}

#[test]
fn every_frame_is_counted_once_under_its_reason() {
    let edge = Edge::new();
    edge.lab.silence_internet().unwrap();
    let cordon = edge.start(BLOCK_LIST);
    let sender = FrameSocket::open(&edge.lab.internet, INTERNET_IFNAME).unwrap();
    let receiver = FrameSocket::open(&edge.lab.edge, EDGE_IFNAME).unwrap();
    let udp = |source: &str| udp_frame(address(source), 9, b"counted");
    let arp_request = [
        0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 198, 18, 0, 2, 0, 0, 0, 0, 0, 0, 198, 18, 0, 1,
    ];
    let tag = (0x8100, 5);
    // (reason, whether it passes, frame)
    let frames = [
        ("policy_drop", false, udp(RU[0])),
        ("policy_drop", false, udp(BY[1])),
        ("policy_pass", true, udp(NL[0])),
        ("policy_pass", true, udp(NL[1])),
        ("policy_pass", true, udp(UNKNOWN[1])),
        ("policy_drop", false, with_vlan_tags(&udp(RU[0]), &[tag, tag])),
        ("deep_vlan", false, with_vlan_tags(&udp(NL[0]), &[tag; 5])),
        ("truncated", false, ethernet_frame(0x0800, &[0x45; 10])),
        ("truncated", false, ethernet_frame(0x86dd, &[0x60; 39])),
        ("malformed", false, ethernet_frame(0x0800, &[0x44; 40])),
        ("not_ip", true, ethernet_frame(0x88b5, &[0; 50])),
        ("arp", true, ethernet_frame(0x0806, &arp_request)),
    ];
    let n_rounds = 50;
    let before = cordon.counters().unwrap();
    let mut n_arrived = 0;
    for _ in 0..n_rounds {
        for (_, _, frame) in &frames {
            sender.send(frame).unwrap();
        }
        let n_passing = frames.iter().filter(|(_, passes, _)| *passes).count();
        n_arrived += receiver.receive(n_passing, Duration::from_secs(2)).unwrap().len();
    }
    let counted = cordon.counters().unwrap().since(&before);

    assert_eq!(
        counted.total_packets(),
        (n_rounds * frames.len()) as u64,
        "{counted}"
    );
    let n_bytes: usize = frames.iter().map(|(_, _, frame)| frame.len()).sum();
    assert_eq!(counted.total_bytes(), (n_rounds * n_bytes) as u64, "{counted}");
    for (reason, _, _) in &frames {
        let n_expected = n_rounds * frames.iter().filter(|(other, _, _)| other == reason).count();
        assert_eq!(
            counted.packets(reason),
            n_expected as u64,
            "{reason} of {counted}"
        );
    }
    assert_eq!(
        counted.packets_of("policy_drop", "RU"),
        2 * n_rounds as u64,
        "{counted}"
    );
    assert_eq!(
        counted.packets_of("policy_pass", "unknown"),
        n_rounds as u64,
        "{counted}"
    );
    assert_eq!(
        n_arrived,
        n_rounds * frames.iter().filter(|(_, passes, _)| *passes).count()
    );
}

#[test]
fn detach_needs_no_daemon_and_leaves_nothing() {
    let edge = Edge::new();
    let mut cordon = edge.start(BLOCK_LIST);
    assert!(!cordon.pins().unwrap().is_empty());
    cordon.kill().unwrap();
    cordon.cordon_ok(&["detach", "--yes"]).unwrap();
    assert_eq!(cordon.pins().unwrap(), Vec::<PathBuf>::new());
    assert_eq!(edge.xdp_program(), None);
    edge.expect("detached", &[(&RU, Passed), (&NL, Passed)]);
}
