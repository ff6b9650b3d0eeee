//! cordon's integration tests: one binary. They need root, and make everything they touch themselves.

/// The harness, before anything is built on it.
mod lab;
/// One publish at a time: verification, revert, adoption, expiry, sizes.
mod publish;
/// Publishing under packets.
mod swap;
/// The world database in the kernel against an independent reading of it.
mod world;
//! cordon's integration tests: one binary.

mod examples;
mod golden;
