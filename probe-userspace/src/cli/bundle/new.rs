//! `cordon bundle new`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use serde::Serialize;

use super::files::{self, Existing};
use crate::{
    bundle::{Kind, Version, is_plain_name},
    cli::{Globals, output},
    instant::Instant,
};

/// Start a directory from which a bundle is built
///
/// Writes `bundle.toml` (name, revision, dates, target) and, for a policy, a `policy.toml` to begin with, for a directive
/// a `directive.toml`. Groups go to `groups.toml`, lists of prefixes to `lists/NAME.txt`.
#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// Directory to make
    dir: PathBuf,

    /// Name of the bundle [default: the directory's]
    #[arg(long, value_name = "NAME", value_parser = plain_name)]
    name: Option<String>,

    /// For a geo database instead of a policy; put it there as `database.mmdb`
    #[arg(long, conflicts_with = "directive")]
    geo: bool,

    /// For a directive instead of a policy: halt, resume, lift, unlift, exempt
    #[arg(long)]
    directive: bool,
}

#[derive(Debug, Serialize)]
struct Written {
    dir: String,
    name: String,
    kind: Kind,
    files: Vec<String>,
}

/// Days from issue to end that are written for a start.
const VALID_DAYS: u32 = 90;
/// A directive is for now: who keeps a copy should not be able to use it on a host that it did not reach.
const DIRECTIVE_VALID_HOURS: u32 = 24;

impl New {
    pub(super) fn execute(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => plain_name_of(&self.dir)?,
        };
        fs::create_dir_all(&self.dir)
            .with_context(|| format!("cannot make the directory {}", self.dir.display()))?;
        let now = Instant::now();
        let kind = match (self.geo, self.directive) {
            (true, _) => Kind::Geo,
            (false, true) => Kind::Directive,
            (false, false) => Kind::Policy,
        };
        let texts = match kind {
            Kind::Geo => vec![("bundle.toml", geo_manifest(&name, now))],
            Kind::Policy => vec![
                ("bundle.toml", policy_manifest(&name, now)),
                ("policy.toml", POLICY.to_owned()),
            ],
            Kind::Directive => vec![
                ("bundle.toml", directive_manifest(&name, now)),
                ("directive.toml", DIRECTIVE.to_owned()),
            ],
        };
        let mut written = Vec::new();
        for (file, text) in texts {
            let path = self.dir.join(file);
            files::write(&path, text.as_bytes(), Existing::Keep, 0o644)?;
            written.push(path.display().to_string());
        }
        let written = Written {
            dir: self.dir.display().to_string(),
            name,
            kind,
            files: written,
        };
        output::print(globals.output, &written, render)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn plain_name(text: &str) -> Result<String, String> {
    match is_plain_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a name is made of lower-case letters, digits, `-`, `_` and `.`".to_owned()),
    }
}

fn plain_name_of(dir: &Path) -> anyhow::Result<String> {
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned());
    plain_name(&name.unwrap_or_default()).map_err(|why| {
        anyhow::anyhow!(
            "{} gives the bundle no name: {why}; give one with `--name`",
            dir.display()
        )
    })
}

fn policy_manifest(name: &str, now: Instant) -> String {
    let expires = Instant(now.0.saturating_add(VALID_DAYS * 86_400));
    format!(
        "# What this bundle is. Raise `revision` with every issue: hosts never go back.\n\
         format = 1\n\
         kind = \"policy\"\n\
         name = \"{name}\"\n\
         revision = 1\n\
         issued = {now}\n\
         # Its end. A host keeps enforcing an ended policy, and says so.\n\
         expires = {expires}\n\
         min_cordon = \"{}\"\n\
         change = \"first issue\"\n\
         \n\
         # Without it the bundle is for every host.\n\
         # [target]\n\
         # hosts = [\"edge-*\"]\n\
         # labels = {{ site = \"fra\" }}\n\
         \n\
         # What the policy asks of the geo data.\n\
         # [database]\n\
         # name = \"country\"\n\
         # oldest_build = {now}\n\
         # max_age_days = 45\n",
        Version::ours()
    )
}

fn geo_manifest(name: &str, now: Instant) -> String {
    format!(
        "# What this bundle is. Raise `revision` with every issue: hosts never go back.\n\
         format = 1\n\
         kind = \"geo\"\n\
         name = \"{name}\"\n\
         revision = 1\n\
         issued = {now}\n\
         min_cordon = \"{}\"\n\
         change = \"first issue\"\n\
         # When the database was built, and on which terms it may be passed on.\n\
         built = {now}\n\
         licence = \"\"\n",
        Version::ours()
    )
}

fn directive_manifest(name: &str, now: Instant) -> String {
    let expires = Instant(now.0.saturating_add(DIRECTIVE_VALID_HOURS * 3600));
    format!(
        "# What this bundle is. Raise `revision` with every directive: hosts never go back.\n\
         format = 1\n\
         kind = \"directive\"\n\
         name = \"{name}\"\n\
         revision = 1\n\
         issued = {now}\n\
         # Hosts that it has not reached by then do not take it any more.\n\
         expires = {expires}\n\
         min_cordon = \"{}\"\n\
         change = \"first directive\"\n\
         \n\
         # Without it the directive is for every host.\n\
         # [target]\n\
         # hosts = [\"edge-*\"]\n\
         # labels = {{ site = \"fra\" }}\n",
        Version::ours()
    )
}

const DIRECTIVE: &str = "\
# What the hosts are to do: halt, resume, lift, unlift or exempt; see docs/bundle.md.
version = 1
verb = \"halt\"
reason = \"\"
# until = 2026-12-31T00:00:00Z
";

const POLICY: &str = "\
# Language: docs/policy.md. Check it with `cordon check`.
version = 1
default = \"pass\"
unknown = \"pass\"
";

fn render(written: &Written) -> String {
    let mut text = String::new();
    for file in &written.files {
        text.push_str(&format!("wrote {file}\n"));
    }
    let dir = &written.dir;
    text.push_str("next:\n");
    if written.kind == Kind::Directive {
        text.push_str(&format!(
            "  write in {dir}/directive.toml what is to be done, and why\n"
        ));
    }
    if written.kind == Kind::Geo {
        text.push_str(&format!(
            "  put the database there as {dir}/database.mmdb, and fill in `built` and `licence`\n"
        ));
    }
    text.push_str(&format!(
        "  cordon bundle build {dir}\n  cordon bundle sign {}-1.cordon --key KEY\n",
        written.name
    ));
    text
}
