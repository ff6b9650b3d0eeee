//! Prefix lists and exemptions to override entries.
