//! The compiler: policy + location -> generation image. Pure: no IO, no clock but the instant it is given.

mod checks;
mod image;
mod matrix;
mod oracle;
mod overrides;

pub use checks::compile;
pub use image::{Image, Matrix, Override, ProfileInfo};
pub use oracle::{Explanation, Query};

mod samples;
pub use samples::{Sample, samples};
