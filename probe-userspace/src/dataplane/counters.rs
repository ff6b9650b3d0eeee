//! Counters across generations. They are summed by the name of the class: its number may change with the
//! database.

use std::{collections::BTreeMap, sync::Arc};

use aya::maps::{Map, MapData, PerCpuArray, PerCpuValues};
use probe_common::{Counter, Reason, map_name};

use super::{
    CounterRow, Dataplane, DataplaneError,
    generation::{CounterArray, Generation, non_zero},
    pins::Pins,
};
use crate::compile::Image;

/// Sums by reason and class.
pub type Sums = BTreeMap<(Reason, Option<String>), Counter>;

/// So many generations may be retired before somebody asks for their counters.
const MAX_LAST: usize = 16;

/// What retired generations have counted, and the entry program's counters.
pub struct Totals {
    entry: CounterArray,
    retired: Arc<Sums>,
    /// The last counters of generations that were retired, until somebody asks.
    last: Vec<(u32, Sums)>,
}

impl Totals {
    /// Opens the entry program's counters.
    pub fn open(pins: &Pins) -> Result<Self, DataplaneError> {
        let failed = |error| DataplaneError::kernel(format!("opening {}", map_name::ENTRY_COUNTERS), &error);
        let map = MapData::from_pin(pins.map(map_name::ENTRY_COUNTERS)).map_err(failed)?;
        Ok(Self {
            entry: Arc::new(PerCpuArray::try_from(Map::PerCpuArray(map)).map_err(failed)?),
            retired: Arc::default(),
            last: Vec::new(),
        })
    }

    /// A copy of what retired generations have counted.
    pub fn clone_sums(&self) -> Sums {
        Sums::clone(&self.retired)
    }

    /// Adds the entry program's counters.
    pub fn add_entry(&self, sums: &mut Sums) -> Result<(), DataplaneError> {
        for (idx, counter) in non_zero(&self.entry)? {
            add(sums, idx, counter, |_| None);
        }
        Ok(())
    }

    /// Keeps the counters of a generation that no program runs any more.
    pub fn add_retired(&mut self, generation: &Generation) -> Result<(), DataplaneError> {
        let mut sums = Sums::new();
        add_generation(&mut sums, generation)?;
        for (key, counter) in &sums {
            let sum = Arc::make_mut(&mut self.retired).entry(key.clone()).or_default();
            sum.packets += counter.packets;
            sum.bytes += counter.bytes;
        }
        // Somebody who never asks does not let them grow without end.
        self.last.truncate(MAX_LAST);
        self.last.push((generation.meta.number, sums));
        Ok(())
    }

    /// What generations have counted that were retired since the last call, by their numbers.
    pub fn take_last(&mut self) -> Vec<(u32, Sums)> {
        std::mem::take(&mut self.last)
    }

    /// Adds what was counted by generations that were retired before this process began. Names that are not known any
    /// more are left out.
    pub fn restore(&mut self, rows: impl Iterator<Item = (String, Option<String>, u64, u64)>) {
        for (name, class, packets, bytes) in rows {
            let mut reasons = (0..=u8::MAX).filter_map(Reason::from_code);
            if let Some(reason) = reasons.find(|reason| reason.name() == name) {
                let sum = Arc::make_mut(&mut self.retired)
                    .entry((reason, class))
                    .or_default();
                sum.packets += packets;
                sum.bytes += bytes;
            }
        }
    }
}

/// Adds a generation's counters.
pub fn add_generation(sums: &mut Sums, generation: &Generation) -> Result<(), DataplaneError> {
    add_array(sums, generation.counter_array(), generation.image.as_deref())
}

fn add_array(
    sums: &mut Sums,
    counters: &PerCpuArray<MapData, Counter>,
    image: Option<&Image>,
) -> Result<(), DataplaneError> {
    for (idx, counter) in non_zero(counters)? {
        add(sums, idx, counter, |class| {
            image.map(|image| image.location.classes.name(class).to_owned())
        });
    }
    Ok(())
}

/// Reads the counters in another thread than the one that owns the dataplane: handles to the same arrays, as of when it
/// was made. Sums only grow, also from one reader to the next.
#[derive(Clone)]
pub struct CounterReader {
    entry: CounterArray,
    retired: Arc<Sums>,
    generations: Vec<(CounterArray, Option<Arc<Image>>)>,
}

impl Dataplane {
    /// Reads the counters of all generations that there are now, wherever it is sent.
    pub fn counter_reader(&self) -> CounterReader {
        CounterReader::new(
            &self.totals,
            self.generations.iter().map(|(_, generation)| generation),
        )
    }
}

impl CounterReader {
    /// Of the entry program, what is retired, and these generations.
    pub fn new<'a>(totals: &Totals, generations: impl Iterator<Item = &'a Generation>) -> Self {
        let of = |generation: &Generation| (Arc::clone(generation.counter_array()), generation.image.clone());
        Self {
            entry: Arc::clone(&totals.entry),
            retired: Arc::clone(&totals.retired),
            generations: generations.map(of).collect(),
        }
    }

    /// The counters that are not zero.
    pub fn read(&self) -> Result<Vec<CounterRow>, DataplaneError> {
        let mut sums = Sums::clone(&self.retired);
        add_array(&mut sums, &self.entry, None)?;
        for (counters, image) in &self.generations {
            add_array(&mut sums, counters, image.as_deref())?;
        }
        Ok(rows(&sums))
    }
}

impl std::fmt::Debug for CounterReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CounterReader")
            .field("n_generations", &self.generations.len())
            .finish_non_exhaustive()
    }
}

/// The sum over CPUs.
pub fn sum(values: &PerCpuValues<Counter>) -> Counter {
    values.iter().fold(Counter::default(), |sum, counter| Counter {
        packets: sum.packets + counter.packets,
        bytes: sum.bytes + counter.bytes,
    })
}

/// The sums as rows.
pub fn rows(sums: &Sums) -> Vec<CounterRow> {
    sums.iter()
        .map(|((reason, class), counter)| CounterRow {
            direction: if reason.is_ingress() { "in" } else { "out" },
            reason: reason.name(),
            class: class.clone(),
            packets: counter.packets,
            bytes: counter.bytes,
        })
        .collect()
}

/// Adds the counter at an index; `name` names a class, if its generation's image is known.
fn add(sums: &mut Sums, idx: u32, counter: Counter, name: impl Fn(u16) -> Option<String>) {
    let Some((reason, class)) = probe_common::counter_at(idx) else {
        return;
    };
    let class = class.map(|class| name(class).unwrap_or_else(|| format!("class-{class}")));
    let sum = sums.entry((reason, class)).or_default();
    sum.packets += counter.packets;
    sum.bytes += counter.bytes;
}
