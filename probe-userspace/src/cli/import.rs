//! `cordon import`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::{Globals, output};
use crate::{
    bundle::is_plain_name,
    daemon::{Refusal, settings::n_errors},
    diagnostic::Diagnostic,
    durable::{self, Existing},
    import::{self, Tool},
    input,
};

/// Longest file that is read.
const MAX_BYTES: usize = 64 << 20;

/// Turn a set of another tool into a prefix list with a first policy around it
///
/// Writes NAME.toml and lists/NAME.txt. Takes what `nft list ruleset` (also with -j), `ipset save` and
/// `xdp-filter status` print; intervals become prefixes. Nothing is applied.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// The tool that printed it
    #[arg(value_enum)]
    tool: Tool,

    /// What it printed
    file: PathBuf,

    /// Only the set of this name [default: all sets of addresses]
    #[arg(long, value_name = "NAME")]
    set: Option<String>,

    /// Name of the list and the policy: lower-case letters, digits, `-`, `_` and `.`
    #[arg(long, default_value = "imported", value_parser = plain_name)]
    name: String,

    /// Directory that they are written to
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// Replace files that exist. Hazard: what was written there by hand is lost
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Serialize)]
struct Written {
    policy: String,
    list: String,
    n_prefixes: usize,
    sets: Vec<String>,
    diagnostics: Vec<Diagnostic>,
}

impl Import {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let file = self.file.display().to_string();
        let bytes = input::read_bytes(&self.file, MAX_BYTES).map_err(|error| error.refusal("the set"))?;
        if bytes.len() > MAX_BYTES {
            bail!(
                "{file} is longer than {} MiB: give one set at a time",
                MAX_BYTES >> 20
            );
        }
        let text = String::from_utf8(bytes).with_context(|| format!("{file} is not UTF-8 text"))?;
        let imported = import::read(self.tool, &file, &text, self.set.as_deref());
        if n_errors(&imported.remarks) > 0 {
            return Err(Refusal::input(format!("{file} cannot be imported"), imported.remarks).into());
        }
        let prefixes = imported.prefixes();
        if prefixes.is_empty() {
            let which = self
                .set
                .as_ref()
                .map_or_else(String::new, |name| format!(" of the name {name}"));
            let refusal = format!("{file} holds no set of addresses{which} with anything in it");
            return Err(Refusal::input(refusal, imported.remarks).into());
        }
        if let Some(all) = prefixes.iter().find(|prefix| prefix.prefix_len() == 0) {
            let refusal =
                format!("{file} names all addresses ({all}): write `default = \"drop\"` instead of a list");
            return Err(Refusal::input(refusal, imported.remarks).into());
        }
        output::print_remarks(globals.output, &imported.remarks)?;
        let source = self.file.file_name().unwrap_or_default().to_string_lossy();
        let source: String = source
            .chars()
            .filter(|c| !c.is_control() && !"\"\\".contains(*c))
            .collect();
        let list = self.dir.join("lists").join(format!("{}.txt", self.name));
        let policy = self.dir.join(format!("{}.toml", self.name));
        self.write(&list, &import::list_text(&imported, &source, &prefixes))?;
        self.write(&policy, &import::policy_text(&self.name, &source, &prefixes))?;
        let written = Written {
            policy: policy.display().to_string(),
            list: list.display().to_string(),
            n_prefixes: prefixes.len(),
            sets: imported.sets.into_iter().map(|set| set.name).collect(),
            diagnostics: imported.remarks,
        };
        output::print(globals.output, &written, render)?;
        Ok(ExitCode::SUCCESS)
    }

    fn write(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        let dir = path.parent().context("a file has a directory")?;
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let existing = if self.force {
            Existing::Replace
        } else {
            Existing::Keep
        };
        match durable::write(path, text.as_bytes(), 0o644, existing) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                bail!(
                    "{} exists: choose another --name or --dir, or replace it with --force",
                    path.display()
                )
            }
            written => written.with_context(|| format!("cannot write {}", path.display())),
        }
    }
}

fn plain_name(name: &str) -> Result<String, String> {
    match is_plain_name(name) {
        true => Ok(name.to_owned()),
        false => Err("names are lower-case letters, digits, `-`, `_` and `.`".to_owned()),
    }
}

fn render(written: &Written) -> String {
    format!(
        "wrote {} and {}: {} prefixes of {}\nnext:\n  cordon check {}\n  cordon apply {}\n",
        written.policy,
        written.list,
        written.n_prefixes,
        written.sets.join(", "),
        written.policy,
        written.policy
    )
}
