//! cordon's integration tests: one binary.

mod database;
