//! What package managers run: the same fragments in every format.

use super::{Release, read};

/// The fragments, each for the word of its name.
const FRAGMENTS: [&str; 6] = ["configure", "installed", "upgraded", "remove", "removed", "purge"];

/// Fills the fragments into a template.
pub fn fill(release: &Release, template: &str, words: &[(&str, &str)]) -> anyhow::Result<String> {
    let mut text = release.fill(template, words)?;
    for fragment in FRAGMENTS {
        let body = read(&release.packaging.join(format!("scripts/{fragment}.sh")))?;
        text = text.replace(&format!("@{fragment}@"), body.trim_end());
    }
    Ok(text)
}
