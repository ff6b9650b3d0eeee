//! Counters outlive what counted: those of each generation go into the audit log, sums of retired ones into a file.

use std::collections::BTreeMap;

use super::Engine;
use crate::{
    audit::{Actor, Event, boot_id},
    daemon::{
        problems::Topic,
        store::{StoredCounters, StoredRow},
    },
    dataplane::CounterRow,
};

/// How often counters go into the log.
const INTERVAL_NS: u64 = 300 * 1_000_000_000;
/// So many rows of a generation are listed; the others are summed up.
const MAX_ROWS: usize = 128;
/// Class of the sum of what is not listed.
const OTHERS: &str = "(others)";

/// What was persisted, to persist only what is new.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Boot time of the last look.
    at_ns: u64,
    /// Packets by generation.
    n_packets: BTreeMap<u32, u64>,
    /// Packets of retired generations.
    n_retired: u64,
}

impl Engine {
    /// Takes up what generations have counted that were retired before this process began.
    pub(super) fn restore_counters(&mut self) {
        match self.store.counters() {
            Ok(Some(stored)) if stored.boot == boot_id() => {
                let rows = stored.retired.into_iter();
                let rows = rows.map(|row| (row.reason, row.class, row.packets, row.bytes));
                self.dataplane.restore_retired(rows);
                self.kept_counters.n_retired = n_packets(&self.dataplane.retired_counters());
            }
            // The kernel counts from zero after a boot; what was before is in the log.
            Ok(_) => {}
            Err(error) => self.problems.set(Topic::StoredCounters, format!("{error:#}")),
        }
        self.kept_counters.at_ns = crate::dataplane::boot_ns();
    }

    /// Persists what is due: the last counters of generations that were retired, and every five minutes all.
    pub(super) fn keep_counters(&mut self) {
        for (generation, rows) in self.dataplane.take_last_counters() {
            self.kept_counters.n_packets.remove(&generation);
            let rows = bounded(rows);
            self.record(&Actor::Daemon, &Event::Counters { generation, rows });
        }
        let retired = self.dataplane.retired_counters();
        if n_packets(&retired) != self.kept_counters.n_retired {
            self.kept_counters.n_retired = n_packets(&retired);
            let stored = StoredCounters {
                boot: boot_id(),
                retired: retired.into_iter().map(stored_row).collect(),
            };
            let result = self.store.set_counters(&stored);
            self.problems
                .note(Topic::StoredCounters, "cannot store counters", result);
        }
        let now_ns = crate::dataplane::boot_ns();
        if now_ns.saturating_sub(self.kept_counters.at_ns) >= INTERVAL_NS {
            self.record_counters();
        }
    }

    /// Puts the counters of all generations into the log.
    pub(super) fn record_counters(&mut self) {
        self.kept_counters.at_ns = crate::dataplane::boot_ns();
        self.keep_clock();
        let counters = match self.dataplane.counters_by_generation() {
            Ok(counters) => counters,
            Err(error) => {
                tracing::warn!("cannot read the counters: {error}");
                return;
            }
        };
        for (generation, rows) in counters {
            let n_packets = n_packets(&rows);
            if n_packets == 0 || self.kept_counters.n_packets.get(&generation) == Some(&n_packets) {
                continue;
            }
            let rows = bounded(rows);
            // If it cannot be written now, the next one says it too.
            let result = self
                .journal
                .offer(&Actor::Daemon, &Event::Counters { generation, rows });
            if result.is_ok() {
                self.kept_counters.n_packets.insert(generation, n_packets);
            }
            self.note_journal(result);
        }
    }
}

fn n_packets(rows: &[CounterRow]) -> u64 {
    rows.iter().map(|row| row.packets).sum()
}

fn stored_row(row: CounterRow) -> StoredRow {
    StoredRow {
        reason: row.reason.to_owned(),
        class: row.class,
        packets: row.packets,
        bytes: row.bytes,
    }
}

type Row = (String, Option<String>, u64, u64);

/// The rows with most packets, and the sums of the others by reason.
fn bounded(mut rows: Vec<CounterRow>) -> Vec<Row> {
    rows.sort_by_key(|row| (std::cmp::Reverse(row.packets), row.reason, row.class.clone()));
    let n_listed = if rows.len() > MAX_ROWS {
        MAX_ROWS / 2
    } else {
        rows.len()
    };
    let mut others: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for row in &rows[n_listed..] {
        let sum = others.entry(row.reason).or_default();
        sum.0 += row.packets;
        sum.1 += row.bytes;
    }
    let listed = rows
        .iter()
        .take(n_listed)
        .map(|row| (row.reason.to_owned(), row.class.clone(), row.packets, row.bytes));
    let others = others
        .into_iter()
        .map(|(reason, (packets, bytes))| (reason.to_owned(), Some(OTHERS.to_owned()), packets, bytes));
    listed.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(n: u64) -> Vec<CounterRow> {
        let row = |i| CounterRow {
            direction: "in",
            reason: if i % 2 == 0 { "policy_drop" } else { "policy_pass" },
            class: Some(format!("class-{i}")),
            packets: i,
            bytes: i * 60,
        };
        (1..=n).map(row).collect()
    }

    #[test]
    fn few_rows_are_listed_and_none_is_left_out_of_the_sum() {
        for n in [0, 1, 128, 129, 5_000] {
            let listed = bounded(rows(n));
            assert!(listed.len() <= MAX_ROWS, "{n}: {}", listed.len());
            let sum: u64 = listed.iter().map(|row| row.2).sum();
            assert_eq!(sum, n * (n + 1) / 2);
            let has_others = listed.iter().any(|row| row.1.as_deref() == Some(OTHERS));
            assert_eq!(has_others, n > 128);
        }
        assert_eq!(bounded(rows(5_000))[0].1.as_deref(), Some("class-5000"));
    }
}
