//! cordon's integration tests: one binary.

mod examples;
mod golden;
