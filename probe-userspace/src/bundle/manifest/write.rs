//! Manifest to text: one way to write each, so that building is reproducible.

use std::fmt::Write as _;

use toml::Value;

use super::{Content, GeoContent, Manifest, PolicyContent, Validity};

impl Manifest {
    /// The text of the manifest, sections included.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        self.write(&mut text).unwrap_or_default();
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "format = 1")?;
        writeln!(text, "kind = \"{}\"", self.kind().name())?;
        writeln!(text, "name = {}", quoted(&self.name))?;
        writeln!(text, "revision = {}", self.revision)?;
        writeln!(text, "issued = {}", self.issued)?;
        writeln!(text, "min_cordon = \"{}\"", self.min_cordon)?;
        writeln!(text, "change = {}", quoted(&self.change))?;
        match &self.content {
            Content::Policy(content) => content.write(text)?,
            Content::Geo(content) => content.write(text)?,
            Content::Directive(content) => content.validity.write(text)?,
        }
        for section in &self.sections {
            writeln!(text, "\n[[section]]")?;
            writeln!(text, "name = \"{}\"", section.name)?;
            writeln!(text, "bytes = {}", section.n_bytes)?;
            writeln!(text, "sha256 = \"{}\"", section.sha256)?;
        }
        Ok(())
    }
}

impl Validity {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        if let Some(not_before) = self.not_before {
            writeln!(text, "not_before = {not_before}")?;
        }
        writeln!(text, "expires = {}", self.expires)?;
        if !self.target.is_every_host() {
            writeln!(text, "\n[target]")?;
            if !self.target.hosts.is_empty() {
                let hosts: Vec<String> = self.target.hosts.iter().map(|host| quoted(host)).collect();
                writeln!(text, "hosts = [{}]", hosts.join(", "))?;
            }
            if !self.target.labels.is_empty() {
                let labels = self.target.labels.iter();
                let labels: Vec<String> = labels
                    .map(|(label, pattern)| format!("{} = {}", quoted(label), quoted(pattern)))
                    .collect();
                writeln!(text, "labels = {{ {} }}", labels.join(", "))?;
            }
        }
        Ok(())
    }
}

impl PolicyContent {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        self.validity.write(text)?;
        if let Some(need) = &self.database {
            writeln!(text, "\n[database]")?;
            writeln!(text, "name = {}", quoted(&need.name))?;
            if let Some(oldest) = need.oldest_build {
                writeln!(text, "oldest_build = {oldest}")?;
            }
            if let Some(days) = need.max_age_days {
                writeln!(text, "max_age_days = {days}")?;
            }
        }
        Ok(())
    }
}

impl GeoContent {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "built = {}", self.built)?;
        writeln!(text, "licence = {}", quoted(&self.licence))
    }
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}
