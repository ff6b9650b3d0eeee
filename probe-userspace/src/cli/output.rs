//! Printing: results to standard output, remarks to standard error.

use std::io::{self, Write as _};

use serde::Serialize;

use super::Format;
use crate::{daemon::Refusal, diagnostic::Diagnostic};

/// Prints a result in the format asked for.
pub(super) fn print<T: Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Text => write!(out, "{}", text(value))?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Prints text to standard output.
pub(super) fn print_text(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{text}")?;
    out.flush()
}

/// Prints a note for people to standard error.
pub(super) fn print_note(text: &str) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{text}")
}

/// Prints remarks for people; with JSON they are part of the result.
pub(super) fn print_remarks(format: Format, diagnostics: &[Diagnostic]) -> io::Result<()> {
    if format == Format::Text {
        let mut err = io::stderr().lock();
        for diagnostic in diagnostics {
            writeln!(err, "{diagnostic}")?;
        }
    }
    Ok(())
}

/// Prints why a verb failed.
pub(super) fn print_error(format: Format, error: &anyhow::Error) {
    let refusal = error.downcast_ref::<Refusal>();
    let diagnostics = refusal.map_or(&[][..], |refusal| &refusal.diagnostics);
    // If nobody reads it there is nobody to tell.
    drop(match format {
        Format::Text => print_remarks(format, diagnostics)
            .and_then(|()| writeln!(io::stderr().lock(), "error: {error:#}")),
        Format::Json => {
            let mut value = serde_json::json!({ "error": format!("{error:#}"), "diagnostics": diagnostics });
            if let Some(reason) = refusal.and_then(|refusal| refusal.reason.as_ref()) {
                value["reason"] = reason.as_str().into();
            }
            // One line: it may come behind other lines of JSON.
            writeln!(io::stdout().lock(), "{value}")
        }
    });
}
