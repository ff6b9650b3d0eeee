//! What a verification found.

use std::fmt;

use serde::Serialize;

use super::Head;

/// In what way a log is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// A record was altered or put in the place of another.
    Edited,
    /// Records are missing.
    Deleted,
    /// A line stands where none was written.
    Inserted,
    /// A record stands in another place than it was written.
    Reordered,
    /// A whole segment is missing, or stands under another name.
    Segment,
    /// A signature does not hold, or is missing where there must be one.
    Signature,
    /// The last line is incomplete.
    Torn,
    /// The log ends before the anchor.
    Truncated,
    /// The log was written anew: it is not the one of which the anchor was made.
    Restamped,
}

impl Class {
    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Deleted => "deleted",
            Self::Inserted => "inserted",
            Self::Reordered => "reordered",
            Self::Segment => "segment",
            Self::Signature => "signature",
            Self::Torn => "torn",
            Self::Truncated => "truncated",
            Self::Restamped => "restamped",
        }
    }
}

/// A place where the log is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// In what way.
    pub class: Class,
    /// Name of the segment.
    pub file: String,
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            class,
            file,
            line,
            message,
        } = self;
        write!(f, "{file}:{line}: {}: {message}", class.name())
    }
}

/// The wall clock was set while the machine ran. It is told, but nothing is wrong with the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClockJump {
    /// The first record after it.
    pub seq: u64,
    /// By how much, in milliseconds; negative: backwards.
    pub by_ms: i64,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Name of the host, as the log has it.
    pub host: String,
    /// Id of the host key, as the log has it.
    pub key: String,
    /// How many records there are.
    pub n_records: u64,
    /// The first record.
    pub first_seq: u64,
    /// The last record.
    pub head: Head,
    /// Records at the end that no checkpoint covers yet.
    pub n_unsigned: u64,
    /// What is wrong, in the order of the log.
    pub findings: Vec<Finding>,
    /// So many more findings are not listed.
    pub n_more: usize,
    /// When the wall clock was set.
    pub clock_jumps: Vec<ClockJump>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_consistent(&self) -> bool {
        self.findings.is_empty()
    }
}
