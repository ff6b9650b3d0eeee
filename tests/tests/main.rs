//! cordon's integration tests: one binary.
