//! The inner form of a bundle: what is signed. A first line and sections, each with a header line and its bytes; it can be
//! read with a pager. The bytes are specified in docs/bundle.md.

use super::{
    envelope::Kind,
    limits::{MAX_HEADER_LINE_BYTES, MAX_PAYLOAD_BYTES, MAX_SECTIONS},
    rejected::{Reason, Rejected},
    section::{Encoding, SectionName},
};
use crate::{diagnostic::Place, policy::document::shorten};

/// Version of the payload's form.
const VERSION: &str = "1";
const SECTION: &str = "section";
const END: &str = "end";

/// A section as it stands in the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<'p> {
    /// Its name.
    pub name: SectionName,
    /// How its bytes are stored.
    pub encoding: Encoding,
    /// Its bytes.
    pub bytes: &'p [u8],
}

/// Takes a payload apart. The kind is the one under which its signatures were checked.
pub fn parse<'p>(file: &str, payload: &'p [u8], kind: Kind) -> Result<Vec<Stored<'p>>, Rejected> {
    let mut reader = Reader { file, payload, at: 0 };
    reader.first_line(kind)?;
    let mut sections: Vec<Stored<'p>> = Vec::new();
    while let Some(section) = reader.section(kind)? {
        if let Some(previous) = sections.last()
            && previous.name >= section.name
        {
            return Err(reader.out_of_order(&previous.name, &section.name));
        }
        if sections.len() == MAX_SECTIONS {
            return Err(reader.rejected(
                Reason::TooLarge,
                section.name.to_string(),
                format!("more than {MAX_SECTIONS} sections"),
                "join lists",
            ));
        }
        sections.push(section);
    }
    for name in SectionName::mandatory(kind) {
        if !sections.iter().any(|section| section.name == *name) {
            return Err(reader.rejected(
                Reason::MissingSection,
                name.to_string(),
                format!("a {} bundle has the section `{name}`", kind.name()),
                "build it with `cordon bundle build`",
            ));
        }
    }
    Ok(sections)
}

/// Puts a payload together; sections come out in their order. `None`: it would be too large.
pub fn to_bytes(kind: Kind, mut sections: Vec<Stored<'_>>) -> Option<Vec<u8>> {
    sections.sort_by(|a, b| a.name.cmp(&b.name));
    let mut bytes = format!("cordon {} {VERSION}\n", kind.name()).into_bytes();
    for section in sections {
        let (name, encoding, n_bytes) = (&section.name, section.encoding.name(), section.bytes.len());
        bytes.extend(format!("{SECTION} {name} {encoding} {n_bytes}\n").bytes());
        bytes.extend(section.bytes);
        bytes.push(b'\n');
    }
    bytes.extend(format!("{END}\n").bytes());
    (bytes.len() <= MAX_PAYLOAD_BYTES).then_some(bytes)
}

struct Reader<'f, 'p> {
    file: &'f str,
    payload: &'p [u8],
    at: usize,
}

impl<'p> Reader<'_, 'p> {
    fn first_line(&mut self, kind: Kind) -> Result<(), Rejected> {
        let line = self.line()?;
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["cordon", name, VERSION] if name == kind.name() => Ok(()),
            ["cordon", name, VERSION] if Kind::ALL.iter().any(|kind| kind.name() == name) => Err(self
                .rejected(
                    Reason::WrongKind,
                    name,
                    format!(
                        "the payload is of another kind than the envelope says, {}",
                        kind.name()
                    ),
                    "fetch the bundle again: its envelope was altered",
                )),
            ["cordon", _, version] if version != VERSION => Err(self.rejected(
                Reason::UnknownVersion,
                shorten(line),
                format!(
                    "the payload has a format that this cordon does not know: it reads version {VERSION}"
                ),
                "install a newer cordon",
            )),
            _ => Err(self.rejected(
                Reason::MalformedPayload,
                shorten(line),
                format!("the payload must begin with `cordon {} {VERSION}`", kind.name()),
                "build it with `cordon bundle build`",
            )),
        }
    }

    /// The next section; `None` at the end.
    fn section(&mut self, kind: Kind) -> Result<Option<Stored<'p>>, Rejected> {
        let start = self.at;
        let line = self.line()?;
        if line == END {
            return match self.payload.len() - self.at {
                0 => Ok(None),
                n_bytes => Err(self.rejected(
                    Reason::TrailingBytes,
                    format!("{n_bytes} bytes"),
                    format!("something follows the line `{END}` of the payload"),
                    "build it with `cordon bundle build`",
                )),
            };
        }
        let words: Vec<&str> = line.split(' ').collect();
        let [SECTION, name, encoding, n_bytes] = words[..] else {
            return Err(self.rejected(
                Reason::MalformedPayload,
                shorten(line),
                format!(
                    "a section begins with `{SECTION} NAME ENCODING BYTES` (byte {start} of the payload)"
                ),
                "build it with `cordon bundle build`",
            ));
        };
        let Some(name) = SectionName::parse(name).filter(|name| name.belongs_to(kind)) else {
            return Err(self.rejected(
                Reason::UnknownSection,
                shorten(name),
                format!("a {} bundle has no such section", kind.name()),
                format!("its sections are {}", SectionName::list(kind)),
            ));
        };
        let Some(encoding) = Encoding::parse(encoding).filter(|encoding| name.may_be(*encoding)) else {
            return Err(self.rejected(
                Reason::MalformedPayload,
                shorten(encoding),
                format!("the section `{name}` cannot be stored like this"),
                "build it with `cordon bundle build`",
            ));
        };
        let Some(n_bytes) = canonical_number(n_bytes) else {
            return Err(self.rejected(
                Reason::MalformedPayload,
                shorten(n_bytes),
                format!("the size of the section `{name}` is no plain number"),
                "build it with `cordon bundle build`",
            ));
        };
        let bytes = self.bytes(&name, n_bytes)?;
        Ok(Some(Stored {
            name,
            encoding,
            bytes,
        }))
    }

    /// The bytes of a section and the newline behind them.
    fn bytes(&mut self, name: &SectionName, n_bytes: usize) -> Result<&'p [u8], Rejected> {
        let rest = &self.payload[self.at..];
        let Some((bytes, [b'\n', ..])) = rest.split_at_checked(n_bytes) else {
            let is_short = rest.len() <= n_bytes;
            let message = match is_short {
                true => format!(
                    "the section `{name}` is longer than what is left of the payload, {} bytes",
                    rest.len()
                ),
                false => format!("the section `{name}` does not end where its header says"),
            };
            let reason = if is_short {
                Reason::Truncated
            } else {
                Reason::MalformedPayload
            };
            let fix = "build it with `cordon bundle build`";
            return Err(self.rejected(reason, format!("{n_bytes} bytes"), message, fix));
        };
        self.at += n_bytes + 1;
        Ok(bytes)
    }

    /// The next line, without its newline.
    fn line(&mut self) -> Result<&'p str, Rejected> {
        let rest = &self.payload[self.at..];
        let window = &rest[..rest.len().min(MAX_HEADER_LINE_BYTES)];
        let Some(n_bytes) = window.iter().position(|byte| *byte == b'\n') else {
            if rest.len() < MAX_HEADER_LINE_BYTES {
                let message = format!("the payload ends without the line `{END}`");
                return Err(self.rejected(
                    Reason::Truncated,
                    "",
                    message,
                    "build it with `cordon bundle build`",
                ));
            }
            return Err(self.rejected(
                Reason::MalformedPayload,
                "",
                format!(
                    "a header of more than {MAX_HEADER_LINE_BYTES} bytes at byte {} of the payload",
                    self.at
                ),
                "build it with `cordon bundle build`",
            ));
        };
        let Ok(line) = std::str::from_utf8(&window[..n_bytes]) else {
            return Err(self.rejected(
                Reason::MalformedPayload,
                "",
                format!(
                    "a header that is not UTF-8 text at byte {} of the payload",
                    self.at
                ),
                "build it with `cordon bundle build`",
            ));
        };
        self.at += n_bytes + 1;
        Ok(line)
    }

    fn out_of_order(&self, previous: &SectionName, name: &SectionName) -> Rejected {
        let message = match previous == name {
            true => "the section is there twice".to_owned(),
            false => format!("the section comes after `{previous}`, but must come before it"),
        };
        let fix = "build it with `cordon bundle build`";
        self.rejected(Reason::SectionOrder, name.to_string(), message, fix)
    }

    fn rejected(
        &self,
        reason: Reason,
        value: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Rejected {
        Rejected::new(reason, Place::file(self.file), value, message, fix)
    }
}

/// A number as it is printed: no sign, no leading zero.
fn canonical_number(text: &str) -> Option<usize> {
    text.parse()
        .ok()
        .filter(|number: &usize| number.to_string() == text)
}
