//! cordon's integration tests: one binary. They need root, and make everything they touch themselves.

/// The command line.
mod cli;
/// The harness, before anything is built on it.
mod lab;
