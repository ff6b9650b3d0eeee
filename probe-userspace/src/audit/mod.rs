//! What happened on this host, as records that can be shown later: who did what, and what became of it.
//!
//! Records are lines of JSON in segment files. Each holds the hash of the one before it, and a host key signs the
//! newest every now and then. The format, to the byte, and what it proves are in docs/audit.md.
//!
//! Everything here works on bytes, but for [`log`] and [`Journal`], which lead them to the disk.

mod anchor;
mod chain;
mod checkpoint;
mod event;
mod journal;
#[cfg(test)]
mod journal_tests;
pub mod log;
#[cfg(test)]
mod properties;
mod record;
mod rejections;
mod replay;
mod report;
mod verify;

pub use anchor::{Anchor, MAX_ANCHOR_BYTES};
pub use chain::{Chain, Head};
pub use checkpoint::{Statement, StatementSignature};
pub use event::{Actor, Event};
pub use journal::{Journal, JournalError};
pub use log::boot_id;
pub use record::{Entry, Fault, Record, Stamp};
pub use rejections::Rejection;
pub use replay::{Newest, Replay};
pub use report::{Class, ClockJump, Finding, Report};
pub use verify::Verifier;

/// Version of the format.
pub const FORMAT: u32 = 1;
/// So many records may follow each other without a checkpoint.
pub const MAX_UNSIGNED: u64 = 64;
/// The log goes on in a new segment before one grows larger than this.
pub const SEGMENT_BYTES: u64 = 8 << 20;
/// A line that is longer is no record.
pub const MAX_LINE_BYTES: usize = 1 << 20;
