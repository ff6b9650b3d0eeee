//! Exemptions made at run time: who is exempt from what until when, and what the kernel is told of it. Pure: no IO, no
//! clock but the instants it is given.
//!
//! `entry` is one exemption, `list` all of them, `file` their text form. `lift` is what an address is exempt from,
//! `plan` the union of everything that covers a prefix, step by step, and `keys` the numbers by which kernel and
//! generations know lifts.

mod entry;
pub mod file;
mod keys;
mod lift;
pub mod limits;
mod list;
mod plan;
#[cfg(test)]
mod tests;

pub use entry::{Exemption, Fault, Written};
pub use keys::{Keys, KeysFull, KnownLifts};
pub use lift::{Lift, Orders};
pub use list::{Changes, List};
pub use plan::{Plan, Step, steps_at};
