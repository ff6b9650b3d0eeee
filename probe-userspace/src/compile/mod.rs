//! The compiler: policy + location -> generation image. Pure: no IO, no clock but the instant it is given.
//!
//! `orders` says what a policy means, `matrix` and `overrides` put it into the kernel's tables, `checks` remarks on
//! what its author may not have meant. `oracle` reads the tables back, and `samples` chooses the addresses for
//! which kernel and oracle are compared before a publish.

mod checks;
mod image;
mod matrix;
mod oracle;
mod orders;
mod overrides;
mod samples;
#[cfg(test)]
mod tests;

pub use checks::compile;
pub use image::{FrameSettings, Image, Matrix, Override, ProfileInfo, Scopes};
pub use oracle::{Explanation, Heading, Query};
pub use orders::OrderInfo;
pub use samples::{N_SAMPLES, Sample, is_judged_by_place, samples};
