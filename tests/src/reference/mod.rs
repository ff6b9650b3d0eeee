//! What must become of a frame, computed a second time: from the specification, by other means than the kernel's
//! programs (`etherparse` reads the headers, `prefix-trie` finds the place), and sharing no code with them but the
//! names of reasons.

mod embedded;
mod judge;
mod link;
mod net;
mod policy;
mod tunnel;

pub use judge::{Answer, Options, Reference};
pub use policy::{Decision, Policy, Service, TargetState};
