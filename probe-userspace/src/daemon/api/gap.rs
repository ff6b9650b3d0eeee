//! Times without enforcement on an interface.

use serde::{Deserialize, Serialize};

/// Times in which packets came by unjudged, since the state directory was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gaps {
    /// How many are over.
    pub n: u64,
    /// At most so many packets came by in them.
    pub packets: u64,
    /// The last ones, oldest first, and those that are not over.
    pub last: Vec<Gap>,
}

/// A time in which an interface should have been judged and was not, while packets came by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Its name.
    pub interface: String,
    /// From when on it may have been unjudged.
    pub from: String,
    /// When it was judged again; absent: it is not.
    #[serde(default)]
    pub to: Option<String>,
    /// At most so many packets came by unjudged.
    pub packets: u64,
}
