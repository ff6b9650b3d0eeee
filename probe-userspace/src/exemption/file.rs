//! Files of exemptions: a JSON object a line. Empty lines and lines that begin with `#` mean nothing.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::{
    Exemption, Fault, List, Written,
    limits::{MAX_EXEMPTIONS, MAX_FILE_BYTES},
};
use crate::{
    diagnostic::{Diagnostic, Place},
    instant::Instant,
    policy::limits::MAX_REMARKS,
};

/// First line of the files that cordon itself writes.
const HEADER: &str = "# cordon exemptions, version 1: one a line; docs/exemptions.md\n";
const FORM: &str = "write a JSON object with prefix, reference, reason, approver and until; orders, services and wide \
                    may be left out";

/// Lines of a file, by prefix and reference.
pub type Lines = BTreeMap<(IpNet, String), u32>;

/// What a file says, and remarks on it. `None` if any of them is an error.
#[derive(Debug)]
pub struct Read {
    /// The exemptions.
    pub list: Option<List>,
    /// The line of each, by prefix and reference.
    pub lines: Lines,
    /// Remarks, at most [`MAX_REMARKS`].
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a file that somebody wrote to be granted now. What is over is left out, with a warning.
pub fn read(file: &str, text: &str, now: Instant, by: &str) -> Read {
    let mut reading = Reading::new(file);
    reading.lines(text, |written| {
        if let Some(for_s) = written.for_s {
            return Err(vec![Fault::new(
                "for_s",
                for_s.to_string(),
                "a file has no moment from which a time could run",
                "write the end as `until`",
            )]);
        }
        Exemption::new(written, now, by)
    });
    reading.leave_out_ended(now);
    reading.finish()
}

/// Reads a file that cordon itself wrote; what is over is still in it.
pub fn read_stored(file: &str, text: &str) -> Result<List, Vec<Diagnostic>> {
    let mut reading = Reading::new(file);
    reading.lines(text, Exemption::stored);
    let read = reading.finish();
    read.list.ok_or(read.diagnostics)
}

/// The file of a list: what [`read`] and [`read_stored`] read.
pub fn write(list: &List) -> anyhow::Result<String> {
    let mut text = HEADER.to_owned();
    for exemption in list.iter() {
        text.push_str(&serde_json::to_string(&exemption.written())?);
        text.push('\n');
    }
    Ok(text)
}

struct Reading<'a> {
    file: &'a str,
    list: List,
    lines: Lines,
    diagnostics: Vec<Diagnostic>,
    n_more: usize,
    is_refused: bool,
}

impl<'a> Reading<'a> {
    fn new(file: &'a str) -> Self {
        Self {
            file,
            list: List::default(),
            lines: Lines::new(),
            diagnostics: Vec::new(),
            n_more: 0,
            is_refused: false,
        }
    }

    fn lines(&mut self, text: &str, check: impl Fn(Written) -> Result<Exemption, Vec<Fault>>) {
        if text.len() > MAX_FILE_BYTES {
            let fix = format!("a file of exemptions has at most {} MiB", MAX_FILE_BYTES >> 20);
            return self.refuse(
                Place::file(self.file),
                format!("{} bytes", text.len()),
                "too large",
                &fix,
            );
        }
        for (number, line) in (1..).zip(text.lines()) {
            let content = line.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            if self.list.len() == MAX_EXEMPTIONS {
                let message = format!("more than {MAX_EXEMPTIONS} exemptions");
                self.refuse(
                    self.place(number, 1),
                    shortened(content),
                    &message,
                    "leave some out, or join prefixes",
                );
                return;
            }
            match serde_json::from_str::<Written>(line) {
                Ok(written) => self.take(number, line, check(written)),
                Err(error) => {
                    let message = error.to_string();
                    let message = message.split(" at line ").next().unwrap_or(&message);
                    let at = line.get(..error.column().saturating_sub(1)).unwrap_or(line);
                    let column = at.chars().count() as u32 + 1;
                    self.refuse(self.place(number, column), shortened(content), message, FORM);
                }
            }
        }
    }

    fn take(&mut self, number: u32, line: &str, checked: Result<Exemption, Vec<Fault>>) {
        let column_of = |field: &str| {
            let key = format!("\"{field}\"");
            line.find(&key)
                .map_or(1, |at| line[..at].chars().count() as u32 + 1)
        };
        let exemption = match checked {
            Ok(exemption) => exemption,
            Err(faults) => {
                for fault in faults {
                    let place = self.place(number, column_of(fault.field));
                    self.refuse(place, fault.value, &fault.message, &fault.fix);
                }
                return;
            }
        };
        let name = (exemption.prefix, exemption.reference.clone());
        if let Some(first) = self.lines.get(&name) {
            self.refuse(
                self.place(number, column_of("prefix")),
                format!("{}, {}", exemption.prefix, exemption.reference),
                &format!("this prefix has this reference in line {first} already"),
                "keep one of the two lines",
            );
            return;
        }
        self.lines.insert(name, number);
        self.list.insert(exemption);
    }

    fn leave_out_ended(&mut self, now: Instant) {
        let ended = self.list.remove_if(|exemption| exemption.until <= now);
        for exemption in ended {
            let name = (exemption.prefix, exemption.reference.clone());
            let line = self.lines.remove(&name).unwrap_or(0);
            self.remark(Diagnostic::warning(
                self.place(line, 1),
                exemption.until.to_string(),
                format!(
                    "the exemption {} of {} is over and is left out",
                    exemption.reference, exemption.prefix
                ),
                "remove it, or give it a later end",
            ));
        }
    }

    fn place(&self, line: u32, column: u32) -> Place {
        Place {
            file: self.file.to_owned(),
            line,
            column,
        }
    }

    fn refuse(&mut self, place: Place, value: String, message: &str, fix: &str) {
        self.is_refused = true;
        self.remark(Diagnostic::error(place, value, message, fix));
    }

    fn remark(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() < MAX_REMARKS {
            self.diagnostics.push(diagnostic);
        } else {
            self.n_more += 1;
        }
    }

    fn finish(mut self) -> Read {
        if self.n_more > 0 {
            let place = Place::file(self.file);
            let message = format!("and {} more remarks", self.n_more);
            self.diagnostics
                .push(Diagnostic::warning(place, "", message, "correct these first"));
        }
        Read {
            list: (!self.is_refused).then_some(self.list),
            lines: self.lines,
            diagnostics: self.diagnostics,
        }
    }
}

/// Enough of a line to know it again.
fn shortened(line: &str) -> String {
    const MAX_CHARS: usize = 80;
    match line.char_indices().nth(MAX_CHARS) {
        None => line.to_owned(),
        Some((at, _)) => format!("{}...", &line[..at]),
    }
}
