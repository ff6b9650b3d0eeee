//! The compiler: policy + location -> generation image. Pure: no IO, no clock but the instant it is given.
//!
//! `orders` says what a policy means, `rows` for which packets; `matrix`, `overrides`, `scopes` and `tiers` put it into
//! the kernel's tables, `checks` remarks on what its author may not have meant. `oracle` and `explanation` read the
//! tables back, and `samples` chooses the packets for which kernel and oracle are compared before a publish.

mod checks;
mod explanation;
mod image;
mod matrix;
mod oracle;
mod orders;
mod overrides;
mod rows;
mod runtime;
mod samples;
mod scopes;
mod services;
mod source;
#[cfg(test)]
mod tests;
mod tiers;

pub use checks::{compile, compile_with_lifts};
pub use explanation::{Change, Explanation, OtherService, TierName};
pub use image::{FrameSettings, Image, Matrix, Override, ProfileInfo, Scopes};
pub use oracle::{Heading, Query};
pub use orders::OrderInfo;
pub use rows::Examples;
pub use samples::{N_SAMPLES, Sample, is_judged_by_place, samples};
pub use services::ServiceBox;
pub use source::{EmbeddedV4, embedded_v4, judged_source};
