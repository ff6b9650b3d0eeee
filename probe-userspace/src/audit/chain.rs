//! The chain: every record holds the hash of the one before it.

use super::{Actor, Entry, Event, Record, Stamp, record::bounded};
use crate::bundle::Digest;

/// The newest record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0: there is none yet.
    pub seq: u64,
    /// Its hash; zero: there is none yet.
    pub hash: Digest,
}

impl Head {
    /// Before the first record.
    pub const START: Self = Self {
        seq: 0,
        hash: Digest::ZERO,
    };
}

/// A chain that grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The newest record.
    pub head: Head,
    /// Records since the last checkpoint.
    pub n_unsigned: u64,
}

impl Chain {
    /// A chain without a record.
    pub const START: Self = Self {
        head: Head::START,
        n_unsigned: 0,
    };

    /// The line of the next record; `now` is the wall clock at which it is written, for one that is late.
    pub fn append(&mut self, entry: &Entry, now: &Stamp) -> Vec<u8> {
        let record = Record {
            seq: self.head.seq.saturating_add(1),
            at: entry.stamp.at.clone(),
            written: entry.is_late.then(|| now.at.clone()),
            boot: entry.stamp.boot.clone(),
            mono_ms: entry.stamp.mono_ms,
            actor: bounded(&entry.actor),
            what: bounded(&entry.event),
            prev: self.head.hash,
        };
        let (line, hash) = record.to_line();
        self.head = Head {
            seq: record.seq,
            hash,
        };
        self.n_unsigned = match entry.event {
            Event::Checkpoint { .. } => 0,
            _ => self.n_unsigned + 1,
        };
        line
    }
}

impl Entry {
    /// Something that happens now.
    pub fn new(stamp: Stamp, actor: &Actor, event: &Event) -> Self {
        Self {
            stamp,
            actor: actor.clone(),
            event: event.clone(),
            is_late: false,
        }
    }
}
