//! What a segment says when it is to be continued.

use super::{Event, Fault, Head, Record};

/// What a segment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Length of the whole lines: what is behind them is torn.
    pub whole_bytes: usize,
    /// The last record that can be read.
    pub newest: Option<Newest>,
    /// Lines behind it.
    pub n_unread: u64,
    /// Records since the last checkpoint.
    pub n_unsigned: u64,
    /// The host key that the segment names.
    pub public_key: Option<String>,
    /// The first line that is not as it was written, and what is wrong with it.
    pub fault: Option<(usize, String)>,
}

/// A record that is the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Its number and hash.
    pub head: Head,
    /// When it was written.
    pub at: String,
}

impl Replay {
    /// Goes through a segment.
    pub fn of(bytes: &[u8]) -> Self {
        let whole_bytes = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let mut replay = Self {
            whole_bytes,
            newest: None,
            n_unread: 0,
            n_unsigned: 0,
            public_key: None,
            fault: None,
        };
        let lines = bytes[..whole_bytes].split_inclusive(|byte| *byte == b'\n');
        for (idx, line) in lines.enumerate() {
            let fault = replay.line(line.strip_suffix(b"\n").unwrap_or(line));
            if replay.fault.is_none() {
                replay.fault = fault.map(|what| (idx + 1, what));
            }
        }
        if replay.newest.is_none() && replay.fault.is_none() {
            replay.fault = Some((1, "the segment holds no record".to_owned()));
        }
        replay
    }

    fn line(&mut self, line: &[u8]) -> Option<String> {
        let (record, hash) = match Record::from_line(line) {
            Ok(read) => read,
            Err(fault) => {
                self.n_unread += 1;
                return Some(match fault {
                    Fault::WrongHash => "its hash is not that of its bytes".to_owned(),
                    Fault::NotARecord(what) => what,
                });
            }
        };
        let before = self.newest.as_ref().map(|newest| newest.head);
        let follows = before
            .is_none_or(|before| before.seq.checked_add(1) == Some(record.seq) && before.hash == record.prev);
        match record.event() {
            Some(Event::Segment { public_key, .. }) => {
                self.public_key = Some(public_key);
                self.n_unsigned += 1;
            }
            Some(Event::Checkpoint { .. }) => self.n_unsigned = 0,
            _ => self.n_unsigned += 1,
        }
        self.n_unread = 0;
        self.newest = Some(Newest {
            head: Head {
                seq: record.seq,
                hash,
            },
            at: record.written.unwrap_or(record.at),
        });
        (!follows).then(|| "it does not follow the record before it".to_owned())
    }
}
