//! Finds, opens and compiles the database: the only part of `geo` with IO.

use std::path::PathBuf;

use super::{GeoError, Location, embedded_database, read_database};
use crate::host::FieldChoice;

/// Which database to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GeoChoice {
    /// This file.
    File(PathBuf),
    /// The first database in the usual places, else the embedded one.
    Auto,
    /// The embedded one.
    Embedded,
}

/// Loads and compiles the chosen database.
pub fn load(_choice: &GeoChoice, field: FieldChoice) -> Result<Location, GeoError> {
    read_database(super::EMBEDDED_NAME, embedded_database()?, field)
}
