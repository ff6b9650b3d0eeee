//! `cordon support`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Subcommand;
use serde::Serialize;

use super::{Globals, audit, doctor, output, remote};
use crate::{
    daemon::client::Client,
    durable::{self, Existing},
    instant::Instant,
    support::{Section, dump},
};

/// Records of the audit log that are shown.
const MAX_RECORDS: usize = 200;
/// Longest file that is shown.
const MAX_FILE_BYTES: usize = 4 << 20;

/// Collect what somebody who helps must know
#[derive(Debug, clap::Args)]
pub(super) struct Support {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Dump(Dump),
}

/// Write status, doctor, metrics, host file, policy, history and the end of the audit log into one text
///
/// Without addresses and secrets: addresses are numbered, the same one always alike. What cannot be had is said in its
/// place. Works without the daemon.
#[derive(Debug, clap::Args)]
struct Dump {
    /// The file, or `-` for standard output [default: cordon-support-DATE.txt here]
    file: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Written {
    file: String,
    bytes: usize,
}

impl Support {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Verb::Dump(verb) = self.verb;
        verb.execute(globals)
    }
}

impl Dump {
    fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let text = dump(&sections(globals));
        let file = self.file.unwrap_or_else(|| {
            let now = Instant::now().to_string().replace(':', "");
            PathBuf::from(format!("cordon-support-{now}.txt"))
        });
        if file == Path::new("-") {
            output::print_text(&text)?;
            return Ok(ExitCode::SUCCESS);
        }
        durable::write(&file, text.as_bytes(), 0o600, Existing::Keep)
            .with_context(|| format!("cannot write {}", file.display()))?;
        let written = Written {
            file: file.display().to_string(),
            bytes: text.len(),
        };
        output::print(globals.output, &written, |written| {
            format!("wrote {}: read it before you send it\n", written.file)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn sections(globals: &Globals) -> Vec<Section> {
    let mut sections = vec![section("versions", Ok(versions()))];
    let mut add = |title: &str, text: anyhow::Result<String>| sections.push(section(title, text));
    add(
        "doctor",
        doctor::examine(globals).and_then(|examined| Ok(serde_json::to_string_pretty(&examined)?)),
    );
    let host_file = globals.host_file();
    add("host file", file(&host_file));
    let settings = globals.settings();
    let asked = settings.as_ref().map_err(|error| anyhow::anyhow!("{error}"));
    for (title, path) in [
        ("status", "/v1/status"),
        ("history", "/v1/history"),
        ("metrics", "/v1/metrics"),
    ] {
        let text = asked
            .as_ref()
            .map_err(|error| anyhow::anyhow!("{error}"))
            .and_then(|settings| {
                let client = Client::new(&settings.socket());
                remote::runtime()?.block_on(client.get_text(path))
            });
        // JSON of one line is hard to read, and redacted by the line.
        let pretty = text.map(|text| match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(value) => format!("{value:#}"),
            Err(_) => text,
        });
        add(title, pretty);
    }
    if let Ok(settings) = &settings {
        for name in ["policy.toml", "pending.toml"] {
            let path = settings.state_dir.join(name);
            if path.exists() {
                add(name, file(&path));
            }
        }
        add("audit log, its end", audit::tail(globals, MAX_RECORDS));
        add(
            "files",
            Ok(listing(&[
                &settings.state_dir,
                &settings.pin_dir,
                &settings.run_dir,
            ])),
        );
    }
    sections
}

fn section(title: &str, text: anyhow::Result<String>) -> Section {
    Section {
        title: title.to_owned(),
        text: text.unwrap_or_else(|error| format!("(not to be had: {error:#})")),
    }
}

fn versions() -> String {
    let mut text = format!("cordon {}\nat {}\n", env!("CARGO_PKG_VERSION"), Instant::now());
    for path in [
        "/proc/version",
        "/etc/os-release",
        "/proc/uptime",
        "/proc/meminfo",
        "/proc/loadavg",
    ] {
        let content = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<&str> = content.lines().take(12).collect();
        text.push_str(&format!("\n{path}:\n{}\n", lines.join("\n")));
    }
    text
}

fn file(path: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let bytes = bytes.get(..MAX_FILE_BYTES).unwrap_or(&bytes);
    Ok(format!(
        "# {}\n{}",
        path.display(),
        String::from_utf8_lossy(bytes)
    ))
}

/// Names, sizes and modes; two levels deep.
fn listing(dirs: &[&Path]) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let mut text = String::new();
    let mut todo: Vec<(PathBuf, u8)> = dirs.iter().rev().map(|dir| (dir.to_path_buf(), 0)).collect();
    while let Some((path, depth)) = todo.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            text.push_str(&format!("{}: not to be read\n", path.display()));
            continue;
        };
        text.push_str(&format!(
            "{:o} {}:{} {:>10} {}\n",
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            metadata.len(),
            path.display()
        ));
        if metadata.is_dir() && depth < 2 {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            let mut entries: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            entries.sort_unstable_by(|a, b| b.cmp(a));
            todo.extend(entries.into_iter().map(|path| (path, depth + 1)));
        }
    }
    text
}
