//! `count`: passes, and says how much would not.

use integration_tests::{
    frames::udp_frame,
    probes::Outcome::{Blocked, Passed},
};

use super::stage::{balance, open_books, policy, rule, send_all, silent_edge, tier, treat_ru};
use crate::traffic::edge::{BY, Edge, NL, RU, address};

#[test]
fn count_passes_and_is_counted_as_what_a_stricter_policy_would_stop() {
    let edge = Edge::new();
    let rules = [rule("RU", "count", ""), rule("BY", "drop", "")];
    let cordon = edge.start(&policy("", &rules));
    let books = open_books(&edge.lab, &cordon);
    edge.expect("count", &[(&RU, Passed), (&NL, Passed), (&BY, Blocked)]);
    let counted = balance(&edge.lab, &cordon, &books);
    assert!(counted.packets_of("policy_count", "RU") > 0, "{counted}");
    assert_eq!(counted.packets_of("policy_pass", "RU"), 0, "{counted}");
    assert_eq!(
        counted.packets("policy_count"),
        counted.packets_of("policy_count", "RU"),
        "nobody else is counted so: {counted}"
    );
}

#[test]
fn a_named_tier_counts_like_the_action_behind_it_frame_by_frame() {
    let edge = silent_edge();
    let cordon = edge.start(&treat_ru("trial", &tier("trial", "count", "")));
    let books = open_books(&edge.lab, &cordon);
    let from = |sources: [&str; 2]| sources.map(|source| udp_frame(address(source), 9, b"count"));
    let frames = vec![[from(RU), from(NL)].concat(); 50].concat();
    send_all(&edge.lab, &frames);
    let counted = balance(&edge.lab, &cordon, &books);
    assert_eq!(counted.received_packets(), frames.len() as u64, "{counted}");
    assert_eq!(counted.packets_of("policy_count", "RU"), 100, "{counted}");
    assert_eq!(counted.packets_of("policy_pass", "NL"), 100, "{counted}");
}
