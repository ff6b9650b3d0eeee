//! What to print for a command line that does not parse, and for `--help` and `--version`.

use std::{ffi::OsString, process::ExitCode};

use anyhow::anyhow;

use super::{Format, output};

/// The format that the raw arguments ask for: they may be all there is, because they do not parse.
pub(super) fn format_asked_for(args: impl IntoIterator<Item = OsString>) -> Format {
    let mut is_value = false;
    for arg in args {
        let arg = arg.to_string_lossy();
        if is_value && arg == "json" {
            return Format::Json;
        }
        is_value = false;
        match arg.as_ref() {
            "--" => break,
            "-o" | "--output" => is_value = true,
            "-ojson" | "-o=json" | "--output=json" => return Format::Json,
            _ => {}
        }
    }
    Format::Text
}

/// Prints an error of the parser; help and version, which it reports as errors too, are always text.
pub(super) fn print(error: &clap::Error, format: Format) -> ExitCode {
    if error.exit_code() != 0 && format == Format::Json {
        let text = error.to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
        output::print_error(format, &anyhow!("{text}"));
    } else {
        // Printing can fail only because nobody reads it.
        drop(error.print());
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_asked_for_in_every_spelling_and_only_before_a_double_dash() {
        let format = |args: &str| format_asked_for(args.split(' ').map(OsString::from));
        for args in [
            "cordon -o json x",
            "cordon x --output json",
            "cordon -ojson x",
            "cordon x -o=json",
            "cordon x --output=json -z",
            "cordon -o -o json",
        ] {
            assert_eq!(format(args), Format::Json, "{args}");
        }
        for args in [
            "cordon x",
            "cordon json",
            "cordon -o text json",
            "cordon -o yaml",
            "cordon -- -o json",
            "cordon x --output",
        ] {
            assert_eq!(format(args), Format::Text, "{args}");
        }
    }
}
