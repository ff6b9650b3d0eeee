//! `cordon audit show`.

use std::{path::PathBuf, process::ExitCode};

use jiff::Timestamp;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use super::files;
use crate::{
    audit::{Actor, Record},
    cli::{Globals, output, span::parse_span},
};

/// Show records, oldest first
///
/// Shows what is there: whether it was altered is for `cordon audit verify` to say.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Only what happened since: an instant, as 2026-03-01T00:00:00Z, or a span before now, as 2h
    #[arg(long, value_name = "INSTANT|SPAN", value_parser = since)]
    since: Option<Timestamp>,

    /// Only records of one kind, as publish or halt; or rejections of that verb
    #[arg(long, value_name = "NAME")]
    verb: Option<String>,

    /// Only the newest so many
    #[arg(short = 'n', long, value_name = "N")]
    last: Option<usize>,

    /// One JSON value with all records, as `-o json`
    #[arg(long)]
    pub(super) json: bool,

    /// Directory of the log, or of a copy [default: `audit` in the state directory of the host file]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Shown {
    dir: String,
    records: Vec<Record>,
    /// Lines that are no record, or altered.
    n_unreadable: usize,
}

impl Show {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let dir = files::dir(self.dir.clone(), globals)?;
        let mut shown = Shown {
            dir: dir.display().to_string(),
            records: Vec::new(),
            n_unreadable: 0,
        };
        files::read(&dir, |_, bytes| {
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match Record::from_line(line) {
                    Ok((record, _)) if self.is_wanted(&record) => shown.records.push(record),
                    Ok(_) => {}
                    Err(_) => shown.n_unreadable += 1,
                }
            }
        })?;
        if let Some(n) = self.last {
            let n_surplus = shown.records.len().saturating_sub(n);
            shown.records.drain(..n_surplus);
        }
        output::print(globals.output, &shown, render)?;
        Ok(ExitCode::SUCCESS)
    }

    fn is_wanted(&self, record: &Record) -> bool {
        if let Some(since) = self.since
            && record.at.parse::<Timestamp>().is_ok_and(|at| at < since)
        {
            return false;
        }
        let Some(verb) = &self.verb else {
            return true;
        };
        record.event_name() == verb || record.what.get("verb").and_then(Value::as_str) == Some(verb)
    }
}

fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse() {
        return Ok(instant);
    }
    let span =
        parse_span(text).map_err(|error| format!("{error}; or an instant, such as 2026-03-01T00:00:00Z"))?;
    Timestamp::now()
        .checked_sub(span)
        .map_err(|error| error.to_string())
}

fn render(shown: &Shown) -> String {
    let mut text: String = shown.records.iter().map(line).collect();
    if shown.n_unreadable > 0 {
        text.push_str(&format!(
            "{} lines in {} cannot be shown: look at them with `cordon audit verify`\n",
            shown.n_unreadable, shown.dir
        ));
    }
    text
}

/// `2026-03-01T00:00:00.000Z 12 halt by user 0: reason="drill"`.
fn line(record: &Record) -> String {
    let actor = match Actor::deserialize(&record.actor) {
        Ok(actor) => actor.to_string(),
        Err(_) => record.actor.to_string(),
    };
    let fields = record.what.as_object().into_iter().flatten();
    let fields: Vec<String> = fields
        .filter(|(name, value)| *name != "event" && !value.is_null())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let late = match &record.written {
        Some(written) => format!(" (written {written})"),
        None => String::new(),
    };
    let mut line = format!(
        "{} {} {} by {actor}{late}",
        record.at,
        record.seq,
        record.event_name()
    );
    if !fields.is_empty() {
        line.push_str(": ");
        line.push_str(&fields.join(" "));
    }
    // Somebody may have written the file who wants to move the cursor.
    line.replace(char::is_control, "?") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Digest;

    #[test]
    fn a_record_is_one_line() {
        let record = Record {
            seq: 12,
            at: "2026-03-01T00:00:00.000Z".to_owned(),
            written: None,
            boot: String::new(),
            mono_ms: 0,
            actor: serde_json::json!({"by": "local", "uid": 0}),
            what: serde_json::json!({"event": "halt", "reason": "a\nb", "until": null, "more": 1}),
            prev: Digest::ZERO,
        };
        assert_eq!(
            line(&record),
            "2026-03-01T00:00:00.000Z 12 halt by user 0: more=1 reason=\"a\\nb\"\n"
        );
    }

    #[test]
    fn since_is_an_instant_or_a_span() {
        assert_eq!(
            since("1970-01-01T00:00:07Z"),
            Ok(Timestamp::from_second(7).unwrap())
        );
        assert!(since("2h").unwrap() < Timestamp::now());
        assert!(since("yesterday").unwrap_err().contains("instant"));
    }
}
