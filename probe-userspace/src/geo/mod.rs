//! GeoIP databases: a MaxMind DB file becomes a [`Location`], the table address -> class.
//!
//! `mmdb` reads bytes, `embedded` holds the default database, `load` is the only part that opens files.

mod embedded;
mod load;
mod location;
mod mmdb;
mod ortc;
mod ranges;

pub use embedded::{EMBEDDED_ATTRIBUTION, EMBEDDED_NAME, embedded_database};
pub use load::{GeoChoice, load};
pub use location::{ClassTable, GeoSource, Location, Prefix, location_of};
pub use mmdb::{GeoError, read_database};
pub use ranges::Ranges;
