//! Whatever happens, in whatever words, is one line that follows the one before it.

use proptest::prelude::*;

use super::{Actor, Chain, Class, Entry, Event, FORMAT, MAX_UNSIGNED, Stamp, Verifier, log};
use crate::bundle::key::SecretKey;

fn stamp() -> Stamp {
    Stamp {
        at: "2026-03-01T00:00:00.000Z".to_owned(),
        boot: "boot".to_owned(),
        mono_ms: 1,
    }
}

fn event() -> impl Strategy<Value = Event> {
    let text = || any::<String>();
    prop_oneof![
        (text(), proptest::option::of(text())).prop_map(|(reason, service)| Event::Halt {
            service,
            until: None,
            reason
        }),
        (text(), text(), any::<u64>()).prop_map(|(verb, source, count)| Event::Reject {
            verb,
            source,
            reason: String::new(),
            message: String::new(),
            count,
            first: None,
            last: None,
        }),
        proptest::collection::vec(
            (text(), proptest::option::of(text()), any::<u64>(), any::<u64>()),
            0..20
        )
        .prop_map(|rows| Event::Counters { generation: 7, rows }),
    ]
}

/// A segment with these events, checkpoints among them as they must be.
fn segment(key: &SecretKey, events: &[Event]) -> Vec<Vec<u8>> {
    let public = key.public().unwrap();
    let mut chain = Chain::START;
    let begin = Event::Segment {
        format: FORMAT,
        host: "edge".to_owned(),
        key: public.id().to_string(),
        public_key: public.to_base64(),
    };
    let mut lines = Vec::new();
    for event in std::iter::once(&begin).chain(events) {
        if chain.n_unsigned >= MAX_UNSIGNED - 1 {
            lines.push(chain.append_checkpoint("edge", key, &stamp()).unwrap());
        }
        lines.push(chain.append(&Entry::new(stamp(), &Actor::Daemon, event), &stamp()));
    }
    lines.push(chain.append_checkpoint("edge", key, &stamp()).unwrap());
    lines
}

fn findings(lines: &[Vec<u8>]) -> Vec<Class> {
    let mut verifier = Verifier::new(None, None);
    verifier.segment(&log::segment_name(1), &lines.concat());
    let report = verifier.finish();
    report.findings.iter().map(|finding| finding.class).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_consistent_and_every_line_counts(
        events in proptest::collection::vec(event(), 1..100),
        idx in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
    ) {
        let (key, _) = SecretKey::generate(None).unwrap();
        let lines = segment(&key, &events);
        for line in &lines {
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        }
        prop_assert_eq!(findings(&lines), vec![]);

        let idx = idx.index(lines.len() - 1);
        let mut without = lines.clone();
        without.remove(idx);
        prop_assert!(!findings(&without).is_empty(), "line {} is missing", idx);
        let mut twice = lines.clone();
        twice.insert(idx, lines[idx].clone());
        prop_assert!(findings(&twice).contains(&Class::Inserted), "line {} is there twice", idx);
        let other = other.index(lines.len());
        if other != idx {
            let mut swapped = lines;
            swapped.swap(idx, other);
            prop_assert!(findings(&swapped).contains(&Class::Reordered), "{} and {}", idx, other);
        }
    }

    #[test]
    fn no_bytes_make_the_verifier_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let mut verifier = Verifier::new(None, None);
        verifier.segment("audit-000000000001.ndjson", &bytes);
        prop_assert!(!verifier.finish().is_consistent());
    }
}
