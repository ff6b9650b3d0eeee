//! What happened on this host, as records that can be shown later: who did what, and what became of it.

mod event;

pub use event::{Actor, Event};
