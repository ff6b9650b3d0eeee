//! Where bundles are pulled from, as the status tells it.

use serde::{Deserialize, Serialize};

/// A `[[source]]` of the host file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRow {
    /// Its URL.
    pub url: String,
    /// `policy`, `geo` or `directive`.
    pub kind: String,
    /// When it last answered and what it gave was in force or was taken; absent: never.
    pub last_success: Option<String>,
    /// Seconds since then.
    pub age_s: Option<u64>,
    /// When it is looked at next; absent: not planned yet.
    pub next: Option<String>,
    /// Times in a row that it failed.
    pub n_failures: u32,
    /// What is wrong with it.
    pub problem: Option<String>,
}
