//! A policy as it is stored: its text, with a first line that says when it was accepted and what belongs to it.

use std::path::Path;

use crate::{bundle::Digest, instant::Instant};

/// What it is called if its author gave it no name that can be written in one line.
const UNNAMED: &str = "policy.toml";

/// A stored policy begins with this, the instant at which it was accepted, what belongs to it, `FROM` and the file it
/// came from.
const ACCEPTED: &str = "# cordon: accepted ";
const FROM: &str = " from ";
const BUNDLE: &str = "bundle";
const LISTS: &str = "lists";
const BREAK_GLASS: &str = "break-glass";
const UNCONFIRMED: &str = "unconfirmed";

/// What belongs to a stored policy beside its text, by digest; see [`super::kept`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A plain file that names no lists.
    #[default]
    Plain,
    /// A plain file and the lists that it names.
    Lists(Digest),
    /// A bundle, by the digest of its payload.
    Bundle(Digest),
}

/// A stored policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPolicy {
    /// Name of the file that was applied; it may be the policy's name.
    pub file: String,
    /// The text as it was applied.
    pub text: String,
    /// The instant it was compiled at. Compiling it again as of then gives the same image, whatever has begun or
    /// ended since: what is pinned is recognised, and a `[[test]]` that held then refuses nothing after a boot.
    /// `None`: the file was not written by cordon.
    pub accepted: Option<Instant>,
    /// What belongs to it.
    pub origin: Origin,
    /// Nobody signed it on a host that takes signed policies only: it never becomes the one in force for good.
    pub is_break_glass: bool,
    /// It was to be confirmed: that it was in force once does not make it the one in force for good.
    pub is_unconfirmed: bool,
}

impl StoredPolicy {
    /// A policy that is accepted now; `file` is what its author called it.
    pub fn accepted(file: &str, text: &str, now: Instant) -> Self {
        let name = Path::new(file).file_name().map(|name| name.to_string_lossy());
        let name = name.filter(|name| !name.contains(char::is_control));
        Self {
            file: name.map_or_else(|| UNNAMED.to_owned(), std::borrow::Cow::into_owned),
            text: text.to_owned(),
            accepted: Some(now),
            origin: Origin::Plain,
            is_break_glass: false,
            is_unconfirmed: false,
        }
    }

    /// The same with what belongs to it.
    pub fn with_origin(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// Digest of the bundle that brought it.
    pub fn bundle(&self) -> Option<Digest> {
        match self.origin {
            Origin::Bundle(digest) => Some(digest),
            Origin::Plain | Origin::Lists(_) => None,
        }
    }

    /// Digest of the lists that it names, if it is a plain one.
    pub fn lists(&self) -> Option<Digest> {
        match self.origin {
            Origin::Lists(digest) => Some(digest),
            Origin::Plain | Origin::Bundle(_) => None,
        }
    }

    /// The content of its file.
    pub fn to_file(&self) -> String {
        let Some(accepted) = self.accepted else {
            return self.text.clone();
        };
        let origin = match self.origin {
            Origin::Plain => String::new(),
            Origin::Lists(digest) => format!(" {LISTS} {digest}"),
            Origin::Bundle(digest) => format!(" {BUNDLE} {digest}"),
        };
        let break_glass = match self.is_break_glass {
            true => format!(" {BREAK_GLASS}"),
            false => String::new(),
        };
        let unconfirmed = match self.is_unconfirmed {
            true => format!(" {UNCONFIRMED}"),
            false => String::new(),
        };
        format!(
            "{ACCEPTED}{accepted}{origin}{break_glass}{unconfirmed}{FROM}{}\n{}",
            self.file, self.text
        )
    }

    /// Reads the content of its file.
    pub fn from_file(content: &str) -> Self {
        let header = content.split_once('\n').and_then(|(first, text)| {
            let (what, file) = first.strip_prefix(ACCEPTED)?.split_once(FROM)?;
            let mut words = what.split(' ').peekable();
            let accepted = Some(Instant::parse(words.next()?).ok()?);
            let origin = match words.peek() {
                Some(&kind @ (LISTS | BUNDLE)) => {
                    words.next();
                    let digest: Digest = words.next()?.parse().ok()?;
                    if kind == LISTS {
                        Origin::Lists(digest)
                    } else {
                        Origin::Bundle(digest)
                    }
                }
                _ => Origin::Plain,
            };
            let is_break_glass = words.next_if_eq(&BREAK_GLASS).is_some();
            let is_unconfirmed = words.next_if_eq(&UNCONFIRMED).is_some();
            words.next().is_none().then(|| Self {
                file: file.to_owned(),
                text: text.to_owned(),
                accepted,
                origin,
                is_break_glass,
                is_unconfirmed,
            })
        });
        let foreign = || Self {
            file: UNNAMED.to_owned(),
            text: content.to_owned(),
            accepted: None,
            origin: Origin::Plain,
            is_break_glass: false,
            is_unconfirmed: false,
        };
        header.unwrap_or_else(foreign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_policy_is_kept_with_it() {
        let digest = Digest::of(b"x");
        for origin in [Origin::Plain, Origin::Lists(digest), Origin::Bundle(digest)] {
            for (is_break_glass, is_unconfirmed) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let policy = StoredPolicy {
                    is_break_glass,
                    is_unconfirmed,
                    ..StoredPolicy::accepted("a from b.toml", "one", Instant(7)).with_origin(origin)
                };
                assert_eq!(StoredPolicy::from_file(&policy.to_file()), policy);
            }
        }
    }
}
