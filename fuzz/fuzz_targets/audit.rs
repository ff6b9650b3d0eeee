//! Audit logs: verification and replay of any bytes, and a good log that is tampered with by the input's orders.
//! With an anchor of its newest record, a log that verifies is the log that was written.
#![no_main]

use std::sync::LazyLock;

use cordon::{
    audit::{Actor, Anchor, Chain, Entry, Event, FORMAT, Record, Replay, Stamp, Verifier, log},
    bundle::key::SecretKey,
};
use libfuzzer_sys::fuzz_target;

/// A key of nobody: what is found must be found again.
const KEY: &str = "untrusted comment: minisign encrypted secret key\nRWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABqBUPavtfauZ26t3LWOp98tZAslkU9GXfFcmAEFcKAnZlCQHbHrF3ihULHtaLA8/99IP//syX0leiimjAOrLCb2RlrcExNlLAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

struct Good {
    lines: Vec<Vec<u8>>,
    anchor: Anchor,
}

static GOOD: LazyLock<Good> = LazyLock::new(|| {
    let key = SecretKey::from_file_text(KEY, None).expect("a key");
    let public = key.public().expect("a public key");
    let now = Stamp {
        at: "2026-03-01T00:00:00.000Z".to_owned(),
        boot: "boot".to_owned(),
        mono_ms: 1,
    };
    let mut chain = Chain::START;
    let mut lines = Vec::new();
    let mut append = |chain: &mut Chain, event: &Event| {
        lines.push(chain.append(&Entry::new(now.clone(), &Actor::Daemon, event), &now));
    };
    append(
        &mut chain,
        &Event::Segment {
            format: FORMAT,
            host: "edge".to_owned(),
            key: public.id().to_string(),
            public_key: public.to_base64(),
        },
    );
    for i in 0..6 {
        append(
            &mut chain,
            &Event::Halt {
                service: None,
                until: None,
                reason: format!("drill {i}"),
            },
        );
    }
    lines.push(chain.append_checkpoint("edge", &key, &now).expect("a checkpoint"));
    let anchor = Anchor::make("edge", &key, chain.head, &now.at).expect("an anchor");
    Good { lines, anchor }
});

fn is_consistent(bytes: &[u8], anchor: Option<&Anchor>) -> bool {
    let mut verifier = Verifier::new(anchor, None);
    verifier.segment(&log::segment_name(1), bytes);
    verifier.finish().is_consistent()
}

/// Does what four bytes say: what, where, with what.
fn tamper(lines: &mut Vec<Vec<u8>>, order: [u8; 4]) {
    let [what, line, at, byte] = order;
    if lines.is_empty() {
        return;
    }
    let line = usize::from(line) % lines.len();
    match what % 6 {
        0 => {
            let at = usize::from(at) * 3 % lines[line].len();
            lines[line][at] = byte;
        }
        1 => drop(lines.remove(line)),
        2 => {
            let other = usize::from(at) % lines.len();
            lines.swap(line, other);
        }
        3 => {
            let copy = lines[usize::from(at) % lines.len()].clone();
            lines.insert(line, copy);
        }
        4 => lines.truncate(line),
        _ => {
            let end = lines[line].len().saturating_sub(1);
            if let Ok((mut record, _)) = Record::from_line(&lines[line][..end]) {
                record.mono_ms = u64::from(byte);
                record.seq = record.seq.wrapping_add(u64::from(at));
                lines[line] = record.to_line().0;
            }
        }
    }
    lines.retain(|line| !line.is_empty());
}

fuzz_target!(|bytes: &[u8]| {
    let good = &*GOOD;
    // As they are: what verifies without an anchor must have been signed, and nobody here has the key.
    assert!(!is_consistent(bytes, Some(&good.anchor)));
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok((record, hash)) = Record::from_line(line) {
            drop((record.event(), record.event_name().len()));
            // Whitespace and the order of fields may differ: not what they say.
            let (again, _) = record.to_line();
            assert_eq!(
                Record::from_line(&again[..again.len() - 1]).map(|(record, _)| record),
                Ok(record)
            );
            assert!(line.ends_with(format!("{hash}\"}}").as_bytes()));
        }
    }
    assert!(Replay::of(bytes).whole_bytes <= bytes.len());
    drop(Anchor::read(bytes));

    let mut lines = good.lines.clone();
    for order in bytes.as_chunks::<4>().0.iter().take(8) {
        tamper(&mut lines, *order);
    }
    let altered = lines.concat();
    assert_eq!(
        is_consistent(&altered, Some(&good.anchor)),
        altered == good.lines.concat()
    );
});
