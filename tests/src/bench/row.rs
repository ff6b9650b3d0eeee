//! What every part of the bench reports: one contestant's figures, beside those of another in the same rounds.
//!
//! A ratio always says **how many times as good the subject is** as what it is compared with, so more is better in
//! every row: a packet in a third of the time is a rate of 3, a third of the memory is 3.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which part of the bench a row belongs to; `--only` takes these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// An address to its class, inside one program run.
    Lookup,
    /// Packets on a veth pair.
    Packets,
    /// Another list or policy into the kernel.
    Reload,
    /// Bytes, in the kernel and in the daemon.
    Memory,
    /// Verbs of the command line.
    Commands,
}

/// What a figure counts. Fewer are better in each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// Milliseconds.
    Ms,
    /// Mebibytes.
    Mib,
    /// Packets that were not judged as the list says.
    Packets,
}

/// Minimum, median and maximum.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The middle one; of an even number the upper of the two.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Its part of the bench.
    pub group: Group,
    /// What was done, for example `IPv4, 7 countries, all dropped`.
    pub name: String,
    /// Who did it, for example `cordon`.
    pub subject: String,
    /// Unit of all figures but ratios.
    pub unit: Unit,
    /// The subject's figures; `None`: not measured.
    pub value: Option<Spread>,
    /// What the subject is compared with; `None`: the figure stands for itself.
    pub against: Option<Against>,
    /// What the project promises of this row.
    pub aims: Vec<Aim>,
    /// Why there are no figures, or what stands in the way of comparing them.
    pub not_comparable: Option<String>,
    /// How it was measured, where that does not go without saying.
    pub note: Option<String>,
    /// Left out of the guard: the ratio of two runs differs by more than the guard tolerates.
    pub is_noisy: bool,
}

/// The other side of a comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Against {
    /// For example `nftables, prerouting raw`.
    pub name: String,
    /// Its figures in the same rounds.
    pub value: Option<Spread>,
    /// Its figure divided by the subject's in the same round; `None`: not comparable.
    pub ratio: Option<Spread>,
}

/// A promise about a median.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// The ratio is at least this.
    RatioAtLeast(f64),
    /// The subject's figure is at most this, in the row's unit.
    AtMost(f64),
}

impl Row {
    /// A comparison: figures of both sides, one for each round in the same order.
    pub fn alternating(
        group: Group,
        name: &str,
        unit: Unit,
        (subject, of_subject): (&str, &[f64]),
        (against, of_against): (&str, &[f64]),
    ) -> Self {
        let ratios: Vec<f64> = of_subject
            .iter()
            .zip(of_against)
            .map(|(subject, against)| against / subject)
            .collect();
        Self {
            value: Spread::of(of_subject),
            against: Some(Against {
                name: against.to_owned(),
                value: Spread::of(of_against),
                ratio: Spread::of(&ratios),
            }),
            ..Self::bare(group, name, unit, subject)
        }
    }

    /// Figures that stand for themselves.
    pub fn alone(group: Group, name: &str, unit: Unit, (subject, figures): (&str, &[f64])) -> Self {
        Self {
            value: Spread::of(figures),
            ..Self::bare(group, name, unit, subject)
        }
    }

    /// A comparison that could not be made, and why.
    pub fn not_comparable(
        group: Group,
        name: &str,
        unit: Unit,
        (subject, against): (&str, &str),
        why: impl Into<String>,
    ) -> Self {
        Self {
            against: Some(Against {
                name: against.to_owned(),
                value: None,
                ratio: None,
            }),
            not_comparable: Some(why.into()),
            ..Self::bare(group, name, unit, subject)
        }
    }

    /// The row with a promise about it.
    #[must_use]
    pub fn aiming(mut self, aim: Aim) -> Self {
        self.aims.push(aim);
        self
    }

    /// The row with a word on how it was measured.
    #[must_use]
    pub fn noting(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// The row, whose ratio no guard holds to account.
    #[must_use]
    pub fn noisy(mut self) -> Self {
        self.is_noisy = true;
        self
    }

    /// Whether the guard compares it with the stored ratio.
    pub fn is_guarded(&self) -> bool {
        !self.is_noisy && self.ratio().is_some()
    }

    /// What the row is called in the file of stored ratios. Unique in a report.
    pub fn key(&self) -> String {
        let against = self.against.as_ref().map(|against| against.name.as_str());
        format!(
            "{} | {} | {} | {}",
            self.group,
            self.name,
            self.subject,
            against.unwrap_or("-")
        )
    }

    /// The ratio, if there is one.
    pub fn ratio(&self) -> Option<Spread> {
        self.against.as_ref().and_then(|against| against.ratio)
    }

    fn bare(group: Group, name: &str, unit: Unit, subject: &str) -> Self {
        Self {
            group,
            name: name.to_owned(),
            subject: subject.to_owned(),
            unit,
            value: None,
            against: None,
            aims: Vec::new(),
            not_comparable: None,
            note: None,
            is_noisy: false,
        }
    }
}

impl Spread {
    /// Of these figures; `None` if there are none.
    pub fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            min: *sorted.first()?,
            median: *sorted.get(sorted.len() / 2)?,
            max: *sorted.last()?,
        })
    }
}

impl Aim {
    /// Whether a row's medians reach it; `None`: the row has no such figure.
    pub fn is_reached(self, row: &Row) -> Option<bool> {
        match self {
            Self::RatioAtLeast(least) => row.ratio().map(|ratio| ratio.median >= least),
            Self::AtMost(most) => row.value.map(|value| value.median <= most),
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lookup => "lookup",
            Self::Packets => "packets",
            Self::Reload => "reload",
            Self::Memory => "memory",
            Self::Commands => "commands",
        })
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ns => "ns",
            Self::Ms => "ms",
            Self::Mib => "MiB",
            Self::Packets => "packets",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_round_by_round_and_more_is_better() {
        let row = Row::alternating(
            Group::Packets,
            "x",
            Unit::Ns,
            ("cordon", &[100.0, 200.0, 100.0]),
            ("floor", &[90.0, 100.0, 80.0]),
        );
        let ratio = row.ratio().expect("both sides have figures");
        assert_eq!(
            ratio,
            Spread {
                min: 0.5,
                median: 0.8,
                max: 0.9
            }
        );
        assert_eq!(row.key(), "packets | x | cordon | floor");
    }

    #[test]
    fn an_aim_is_about_the_median_and_says_nothing_without_figures() {
        let row = Row::alternating(
            Group::Reload,
            "x",
            Unit::Ms,
            ("a", &[1.0, 2.0, 9.0]),
            ("b", &[3.0, 8.0, 9.0]),
        );
        assert_eq!(Aim::RatioAtLeast(3.0).is_reached(&row), Some(true));
        assert_eq!(Aim::RatioAtLeast(3.1).is_reached(&row), Some(false));
        assert_eq!(Aim::AtMost(2.0).is_reached(&row), Some(true));
        assert_eq!(Aim::AtMost(1.9).is_reached(&row), Some(false));
        let missing = Row::not_comparable(Group::Reload, "x", Unit::Ms, ("a", "b"), "it has no such list");
        assert_eq!(Aim::RatioAtLeast(3.0).is_reached(&missing), None);
        assert_eq!(Aim::AtMost(2.0).is_reached(&missing), None);
    }
}
