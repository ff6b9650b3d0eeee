//! What cordon counted, as its status tells it.

use std::fmt;

use anyhow::Context as _;
use probe_common::Reason;
use serde_json::Value;

/// Counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    reason: String,
    class: Option<String>,
    packets: u64,
    bytes: u64,
}

impl Counters {
    /// The rows of `cordon status -o json`.
    pub(crate) fn from_rows(rows: &[Value]) -> anyhow::Result<Self> {
        let rows = rows
            .iter()
            .map(|row| {
                Some(Row {
                    reason: row["reason"].as_str()?.to_owned(),
                    class: row["class"].as_str().map(str::to_owned),
                    packets: row["packets"].as_u64()?,
                    bytes: row["bytes"].as_u64()?,
                })
            })
            .collect::<Option<Vec<Row>>>()
            .with_context(|| format!("status has counters of an unknown form: {rows:?}"))?;
        Ok(Self { rows })
    }

    /// Packets of a reason, of all classes.
    pub fn packets(&self, reason: &str) -> u64 {
        self.sum(|row| row.reason == reason)
    }

    /// Packets of a reason and class.
    pub fn packets_of(&self, reason: &str, class: &str) -> u64 {
        self.sum(|row| row.reason == reason && row.class.as_deref() == Some(class))
    }

    /// All packets.
    pub fn total_packets(&self) -> u64 {
        self.sum(|_| true)
    }

    /// All packets that were received: the sum over the reasons that count these.
    pub fn received_packets(&self) -> u64 {
        let is_leaving = |row: &Row| {
            Reason::ALL
                .iter()
                .any(|reason| !reason.is_ingress() && reason.name() == row.reason)
        };
        self.sum(|row| !is_leaving(row))
    }

    /// All bytes.
    pub fn total_bytes(&self) -> u64 {
        self.rows.iter().map(|row| row.bytes).sum()
    }

    /// What was counted since an earlier moment, without what did not change.
    pub fn since(&self, earlier: &Self) -> Self {
        let rows = self.rows.iter().filter_map(|row| {
            let before = earlier
                .rows
                .iter()
                .find(|old| old.reason == row.reason && old.class == row.class);
            let (packets, bytes) = before.map_or((0, 0), |old| (old.packets, old.bytes));
            let grown = Row {
                packets: row.packets.saturating_sub(packets),
                bytes: row.bytes.saturating_sub(bytes),
                ..row.clone()
            };
            (grown.packets > 0).then_some(grown)
        });
        Self { rows: rows.collect() }
    }

    /// Packets by reason, most first.
    pub fn by_reason(&self) -> String {
        let mut reasons: Vec<&str> = self.rows.iter().map(|row| row.reason.as_str()).collect();
        reasons.sort_by_key(|reason| (std::cmp::Reverse(self.packets(reason)), *reason));
        reasons.dedup();
        let sums: Vec<String> = reasons
            .iter()
            .map(|reason| format!("{reason} {}", self.packets(reason)))
            .collect();
        sums.join(", ")
    }

    fn sum(&self, mut wanted: impl FnMut(&Row) -> bool) -> u64 {
        self.rows
            .iter()
            .filter(|row| wanted(row))
            .map(|row| row.packets)
            .sum()
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<String> = self
            .rows
            .iter()
            .map(|row| match &row.class {
                Some(class) => format!("{}[{class}] {}", row.reason, row.packets),
                None => format!("{} {}", row.reason, row.packets),
            })
            .collect();
        f.pad(&rows.join(", "))
    }
}
