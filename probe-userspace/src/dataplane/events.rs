//! Sampled verdicts, and counters beside those of generations.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use probe_common::{Event, event_counter, map_name};
use serde::Serialize;

use super::{DataplaneError, host_maps::typed, pins::Pins, sys};

/// What became of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventCounters {
    /// Events written.
    pub written: u64,
    /// Events lost because nobody read the ring in time.
    pub lost: u64,
    /// Events suppressed by the cap on their rate.
    pub capped: u64,
}

/// The ring that programs write events to. There is one for all readers: an event goes to whoever reads first.
pub struct EventRing {
    ring: RingBuf<MapData>,
}

impl EventRing {
    /// Opens the ring.
    pub(super) fn open(pins: &Pins) -> Result<Self, DataplaneError> {
        Ok(Self {
            ring: typed(pins, map_name::EVENTS, Map::RingBuf)?,
        })
    }

    /// Gives each event that is in the ring to a closure.
    pub fn drain(&mut self, mut on_event: impl FnMut(&Event)) {
        while let Some(item) = self.ring.next() {
            // The programs write whole events only.
            if let Some(event) = sys::value_of::<Event>(&item) {
                on_event(&event);
            }
        }
    }
}

impl AsFd for EventRing {
    /// Readable when there are events.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

/// Per-CPU sums beside those of generations.
pub struct Sums {
    events: PerCpuArray<MapData, u64>,
    redirect_errors: PerCpuArray<MapData, u64>,
}

impl Sums {
    /// Opens the maps, which exist.
    pub fn open(pins: &Pins) -> Result<Self, DataplaneError> {
        Ok(Self {
            events: typed(pins, map_name::EVENT_COUNTERS, Map::PerCpuArray)?,
            redirect_errors: typed(pins, map_name::REDIRECT_ERRORS, Map::PerCpuArray)?,
        })
    }

    /// What became of events.
    pub fn events(&self) -> Result<EventCounters, DataplaneError> {
        Ok(EventCounters {
            written: sum(&self.events, event_counter::WRITTEN)?,
            lost: sum(&self.events, event_counter::LOST)?,
            capped: sum(&self.events, event_counter::CAPPED)?,
        })
    }

    /// Frames that interfaces did not take from a redirect.
    pub fn redirect_errors(&self) -> Result<u64, DataplaneError> {
        sum(&self.redirect_errors, 0)
    }
}

fn sum(array: &PerCpuArray<MapData, u64>, idx: u32) -> Result<u64, DataplaneError> {
    let values = array
        .get(&idx, 0)
        .map_err(|error| DataplaneError::kernel("reading counters", &error))?;
    Ok(values.iter().sum())
}
