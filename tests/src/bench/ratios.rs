//! The guard: the ratios of this run against those that are stored in the repository.

use std::{
    collections::BTreeMap,
    env, fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::row::{Group, Row};

/// The part of a stored ratio that may be lost: two runs on one machine differ by some of it.
const TOLERATED_LOSS: f64 = 0.15;

/// Median ratios of a run that is the measure of later ones.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Stored {
    /// Kernel, processor and number of CPUs of that run. Ratios of another machine may differ.
    pub machine: String,
    /// Key of a row to its median ratio; more is better.
    pub ratios: BTreeMap<String, f64>,
}

/// What became of the stored ratios.
#[derive(Debug, Default, PartialEq)]
pub struct Comparison {
    /// Key, stored, now.
    pub losses: Vec<(String, f64, f64)>,
    /// Stored, and not measured now.
    pub missing: Vec<String>,
    /// Measured, and not stored.
    pub new: Vec<String>,
    /// As good as stored, within the tolerance.
    pub n_kept: usize,
}

impl Stored {
    /// The ratios of a run.
    pub fn of(machine: &str, rows: &[Row]) -> Self {
        let ratios = rows.iter().filter(|row| row.is_guarded());
        Self {
            machine: machine.to_owned(),
            ratios: ratios
                .filter_map(|row| Some((row.key(), row.ratio()?.median)))
                .filter(|(_, ratio)| ratio.is_finite())
                .collect(),
        }
    }

    /// Reads the file.
    pub fn read() -> anyhow::Result<Self> {
        let file = file();
        let text = fs::read_to_string(&file).with_context(|| {
            format!(
                "cannot read {}: `cargo xtask bench --store` writes it",
                file.display()
            )
        })?;
        serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is not what `cargo xtask bench --store` writes",
                file.display()
            )
        })
    }

    /// Writes the file. Ratios of groups that were not measured stay as they are.
    pub fn write(mut self, groups: &[Group]) -> anyhow::Result<PathBuf> {
        let file = file();
        if file.exists() {
            let old = Self::read()?;
            let kept = old.ratios.into_iter().filter(|(key, _)| !is_of(key, groups));
            self.ratios.extend(kept);
        }
        fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
        fs::write(&file, serde_json::to_string_pretty(&self)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    /// Compares with a run of these groups.
    pub fn compare(&self, rows: &[Row], groups: &[Group]) -> Comparison {
        let now = Self::of("", rows).ratios;
        let mut comparison = Comparison::default();
        for (key, stored) in self.ratios.iter().filter(|(key, _)| is_of(key, groups)) {
            match now.get(key) {
                None => comparison.missing.push(key.clone()),
                Some(ratio) if *ratio < stored * (1.0 - TOLERATED_LOSS) => {
                    comparison.losses.push((key.clone(), *stored, *ratio));
                }
                Some(_) => comparison.n_kept += 1,
            }
        }
        let new = now.keys().filter(|key| !self.ratios.contains_key(*key));
        comparison.new = new.cloned().collect();
        comparison
    }
}

impl Comparison {
    /// An error if anything was lost.
    pub fn into_result(self) -> anyhow::Result<()> {
        if !self.losses.is_empty() || !self.missing.is_empty() {
            bail!("{self}");
        }
        Ok(())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "of the stored ratios {} are kept, {} lost more than {:.0} %, {} were not measured",
            self.n_kept,
            self.losses.len(),
            TOLERATED_LOSS * 100.0,
            self.missing.len()
        )?;
        for (key, stored, now) in &self.losses {
            let loss = (1.0 - now / stored) * 100.0;
            writeln!(f, "lost {loss:.0} %: {key}: {stored:.2} stored, {now:.2} now")?;
        }
        for key in &self.missing {
            writeln!(f, "not measured: {key}")?;
        }
        for key in &self.new {
            writeln!(f, "not stored yet (`--store`): {key}")?;
        }
        Ok(())
    }
}

fn is_of(key: &str, groups: &[Group]) -> bool {
    groups.iter().any(|group| key.starts_with(&format!("{group} | ")))
}

/// `tests/bench/ratios.json`.
fn file() -> PathBuf {
    // At run time first: the checkout may have been moved since this was compiled.
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).join("bench/ratios.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::Unit;

    fn row(name: &str, ratio: f64) -> Row {
        Row::alternating(
            Group::Packets,
            name,
            Unit::Ns,
            ("cordon", &[100.0]),
            ("floor", &[100.0 * ratio]),
        )
    }

    fn stored(rows: &[Row]) -> Stored {
        Stored::of("a machine", rows)
    }

    #[test]
    fn a_loss_of_sixteen_percent_fails_and_one_of_fourteen_does_not() {
        let stored = stored(&[row("a", 2.0), row("b", 2.0)]);
        let comparison = stored.compare(&[row("a", 2.0 * 0.84), row("b", 2.0 * 0.86)], &[Group::Packets]);
        assert_eq!(comparison.n_kept, 1);
        let [(key, before, now)] = &comparison.losses[..] else {
            panic!("one row lost too much: {comparison:?}");
        };
        assert_eq!((key.as_str(), *before), ("packets | a | cordon | floor", 2.0));
        assert!((now - 1.68).abs() < 1e-9, "{now}");
        let error = comparison.into_result().expect_err("a loss fails");
        assert!(error.to_string().contains("lost 16 %: packets | a |"), "{error}");
    }

    #[test]
    fn a_gain_is_no_loss() {
        let stored = stored(&[row("a", 2.0)]);
        let comparison = stored.compare(&[row("a", 20.0)], &[Group::Packets]);
        comparison.into_result().expect("more is better");
    }

    #[test]
    fn a_missing_row_is_named_and_fails_and_a_new_one_is_named() {
        let stored = stored(&[row("a", 2.0)]);
        let comparison = stored.compare(&[row("b", 2.0)], &[Group::Packets]);
        assert_eq!(comparison.new, ["packets | b | cordon | floor"]);
        let error = comparison.into_result().expect_err("a row is missing");
        assert!(
            error
                .to_string()
                .contains("not measured: packets | a | cordon | floor"),
            "{error}"
        );
    }

    #[test]
    fn groups_that_were_not_asked_for_are_not_missing() {
        let stored = stored(&[row("a", 2.0)]);
        let comparison = stored.compare(&[], &[Group::Memory]);
        assert_eq!(comparison, Comparison::default());
    }
}
