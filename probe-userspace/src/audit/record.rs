//! One line of the log.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Actor, Event, MAX_LINE_BYTES};
use crate::bundle::Digest;

/// What stands between the hashed part of a line and its hash.
const HASH_KEY: &[u8] = b",\"hash\":\"";
const END: &[u8] = b"\"}";
const HASH_DIGITS: usize = 64;
const TAIL_BYTES: usize = HASH_KEY.len() + HASH_DIGITS + END.len();

/// Longer text in an event is cut.
const MAX_TEXT_CHARS: usize = 1_024;
/// Longer lists in an event are cut.
const MAX_LIST: usize = 512;

/// When something happened, by two clocks: who sets one of them is seen by the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The wall clock, RFC 3339 with milliseconds.
    pub at: String,
    /// Which boot of the machine: the kernel's random id.
    pub boot: String,
    /// Time since that boot, in milliseconds.
    pub mono_ms: u64,
}

/// Something that happened and is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub stamp: Stamp,
    /// Who.
    pub actor: Actor,
    /// What.
    pub event: Event,
    /// It could not be written when it happened.
    pub is_late: bool,
}

/// A record, as read or to be written. Events that this version does not know stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its number, from 1, without a hole.
    pub seq: u64,
    /// When it happened, by the wall clock.
    pub at: String,
    /// When it was written, if that was later, because the log could not be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<String>,
    /// Which boot of the machine.
    pub boot: String,
    /// When it happened, in milliseconds since that boot.
    pub mono_ms: u64,
    /// Who: [`Actor`].
    pub actor: Value,
    /// What: [`Event`].
    pub what: Value,
    /// Hash of the record before; 64 zeros in the first.
    pub prev: Digest,
}

/// Why a line is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It cannot be read as one.
    NotARecord(String),
    /// Its own hash is not that of its bytes.
    WrongHash,
}

impl Record {
    /// The line, with its newline, and its hash: SHA-256 of the line without `,"hash":"..."` and the newline.
    pub fn to_line(&self) -> (Vec<u8>, Digest) {
        // A record is numbers, text and values that were JSON before: it can be written as JSON.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        let hash = Digest::of(&line);
        line.pop();
        line.extend(HASH_KEY);
        line.extend(hash.to_string().bytes());
        line.extend(END);
        line.push(b'\n');
        (line, hash)
    }

    /// Reads a line, without its newline, and its hash.
    pub fn from_line(line: &[u8]) -> Result<(Self, Digest), Fault> {
        // The reason may quote the line, and is shown on terminals.
        let not_a_record = |what: &str| Fault::NotARecord(what.replace(char::is_control, "?"));
        if line.len() > MAX_LINE_BYTES {
            return Err(not_a_record("it is too long"));
        }
        let tail_at = line.len().checked_sub(TAIL_BYTES);
        let (body, tail) = line.split_at(tail_at.ok_or_else(|| not_a_record("it is too short"))?);
        let stated = tail
            .strip_prefix(HASH_KEY)
            .and_then(|rest| rest.strip_suffix(END))
            .and_then(|hash| std::str::from_utf8(hash).ok()?.parse::<Digest>().ok())
            .ok_or_else(|| not_a_record("it does not end with a hash"))?;
        let mut body = body.to_vec();
        body.push(b'}');
        if Digest::of(&body) != stated {
            return Err(Fault::WrongHash);
        }
        let record = serde_json::from_slice(&body).map_err(|error| not_a_record(&error.to_string()))?;
        Ok((record, stated))
    }

    /// The event's name, for example `halt`.
    pub fn event_name(&self) -> &str {
        self.what.get("event").and_then(Value::as_str).unwrap_or("?")
    }

    /// The event, if this version knows it.
    pub fn event(&self) -> Option<Event> {
        Event::deserialize(&self.what).ok()
    }
}

/// A value as JSON with everything in it bounded, so that no input of a stranger makes a line too long.
pub(super) fn bounded(value: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(value).unwrap_or(Value::Null);
    bound(&mut value);
    value
}

fn bound(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((at, _)) = text.char_indices().nth(MAX_TEXT_CHARS) {
                text.truncate(at);
                text.push_str("...");
            }
        }
        Value::Array(list) => {
            list.truncate(MAX_LIST);
            list.iter_mut().for_each(bound);
        }
        Value::Object(fields) => fields.values_mut().for_each(bound),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            seq: 7,
            at: "2026-03-01T00:00:00.000Z".to_owned(),
            written: None,
            boot: "boot".to_owned(),
            mono_ms: 12,
            actor: bounded(&Actor::Local { uid: 0 }),
            what: bounded(&Event::Stop {}),
            prev: Digest::ZERO,
        }
    }

    #[test]
    fn the_hash_is_that_of_the_line_without_it() {
        let (line, hash) = record().to_line();
        let text = String::from_utf8(line).unwrap();
        let zeros = "0".repeat(64);
        let body = format!(
            r#"{{"seq":7,"at":"2026-03-01T00:00:00.000Z","boot":"boot","mono_ms":12,"actor":{{"by":"local","uid":0}},"what":{{"event":"stop"}},"prev":"{zeros}""#
        );
        assert_eq!(hash, Digest::of(format!("{body}}}").as_bytes()));
        assert_eq!(text, format!("{body},\"hash\":\"{hash}\"}}\n"));
        assert_eq!(
            Record::from_line(text.trim_end().as_bytes()),
            Ok((record(), hash))
        );
    }

    #[test]
    fn every_bit_of_a_line_counts() {
        let (line, _) = record().to_line();
        let line = &line[..line.len() - 1];
        for bit in 0..line.len() * 8 {
            let mut altered = line.to_vec();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::from_line(&altered).is_err(), "bit {bit}");
        }
        for len in 0..line.len() {
            assert!(Record::from_line(&line[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_field_more_or_twice_is_no_record_whatever_its_hash() {
        let (line, _) = record().to_line();
        let body = String::from_utf8(line).unwrap();
        let body = body.split(",\"hash\"").next().unwrap();
        for more in [r#","seq":8"#, r#","more":1"#] {
            let body = format!("{body}{more}");
            let hash = Digest::of(format!("{body}}}").as_bytes());
            let line = format!("{body},\"hash\":\"{hash}\"}}");
            assert!(
                matches!(Record::from_line(line.as_bytes()), Err(Fault::NotARecord(_))),
                "{more}"
            );
        }
    }

    #[test]
    fn what_is_said_about_a_line_moves_no_cursor() {
        let body = r#"{"\u001b[2J":1"#;
        let hash = Digest::of(format!("{body}}}").as_bytes());
        let Err(Fault::NotARecord(what)) =
            Record::from_line(format!("{body},\"hash\":\"{hash}\"}}").as_bytes())
        else {
            panic!("this is no record");
        };
        assert!(
            what.contains("[2J") && !what.contains(char::is_control),
            "{what:?}"
        );
    }

    #[test]
    fn what_strangers_send_is_cut() {
        let event = Event::Reject {
            verb: "apply".to_owned(),
            source: "ü".repeat(5_000),
            reason: String::new(),
            message: String::new(),
            count: 1,
            first: None,
            last: None,
        };
        let value = bounded(&event);
        assert_eq!(
            value["source"].as_str().unwrap().chars().count(),
            MAX_TEXT_CHARS + 3
        );
        assert_eq!(bounded(&vec![0; 1_000]).as_array().unwrap().len(), MAX_LIST);
    }
}
