//! The audit log, through the library and the real binary.

/// A full disk, for real.
mod disk;
/// What the daemon and the command line record, and how it is shown and verified.
mod life;
/// Lifts, exemptions, databases, signatures.
mod signed;
/// Whatever somebody does to a log is found.
mod tampering;

use std::path::Path;

use cordon::audit::{Anchor, Record, Report, Verifier, log};

/// The segments of a log: names and bytes.
type Segments = Vec<(String, Vec<u8>)>;

fn read(dir: &Path) -> Segments {
    let names = log::segments(dir).unwrap();
    let read = |name: String| {
        let bytes = log::read_segment(dir, &name).unwrap();
        (name, bytes)
    };
    names.into_iter().map(read).collect()
}

fn verify(segments: &Segments, anchor: Option<&Anchor>) -> Report {
    let mut verifier = Verifier::new(anchor, None);
    for (name, bytes) in segments {
        verifier.segment(name, bytes);
    }
    verifier.finish()
}

fn records(dir: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    for (_, bytes) in read(dir) {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        records.extend(lines.map(|line| Record::from_line(line).unwrap().0));
    }
    records
}
