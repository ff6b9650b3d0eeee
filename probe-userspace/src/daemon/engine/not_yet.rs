//! Calls that the dataplane is about to get. Its own take their place as they come.

use std::{
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
};

use probe_common::{Counter, Event, Target};

use crate::dataplane::{Dataplane, DataplaneError};

type Done = Result<(), DataplaneError>;

/// Counters of events.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventCounters {
    pub written: u64,
    pub lost: u64,
    pub capped: u64,
}

/// No ring yet.
#[derive(Debug)]
pub enum EventRing {}

impl AsFd for EventRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

impl EventRing {
    pub fn drain(&mut self, _: impl FnMut(&Event)) {
        match *self {}
    }
}

pub trait NotYet {
    fn set_own_addresses(&mut self, _: &[IpAddr]) -> Done {
        Ok(())
    }
    fn set_interfaces(&mut self, _: &[(u32, String)]) -> Done {
        Ok(())
    }
    fn set_vlans(&mut self, _: &[(u32, u16)]) -> Done {
        Ok(())
    }
    fn set_targets(&mut self, _: &[(String, Option<Target>)]) -> Done {
        Ok(())
    }
    fn open_events(&self) -> Result<EventRing, DataplaneError> {
        Err(DataplaneError::NothingPublished)
    }
    fn event_counters(&self) -> Result<EventCounters, DataplaneError> {
        Ok(EventCounters::default())
    }
    fn redirect_errors(&self) -> Result<u64, DataplaneError> {
        Ok(0)
    }
    fn ethertypes(&self) -> Result<Vec<(u16, Counter)>, DataplaneError> {
        Ok(Vec::new())
    }
}

impl NotYet for Dataplane {}
