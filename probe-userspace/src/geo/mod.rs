//! GeoIP databases: a MaxMind DB file becomes a [`Location`], the table address -> class.
//!
//! `mmdb` reads bytes: `tree` walks them in the order of addresses, `record` finds the country codes, `lan` marks
//! what belongs to no place, `ortc` makes the prefixes for the kernel's tries of the runs, and `index` the tables of its
//! other engine. `embedded` holds the default
//! database, `load` is the only part that opens files.

mod address;
mod embedded;
mod format;
mod index;
mod lan;
mod load;
mod location;
mod mmdb;
mod ortc;
mod ranges;
mod record;
#[cfg(test)]
pub(crate) mod test_database;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use lan::{LAN_V4, LAN_V6};

pub use address::Address;
pub use embedded::{EMBEDDED_ATTRIBUTION, EMBEDDED_NAME, embedded_database};
pub use index::{Index, TooLarge};
pub(crate) use load::read_file;
pub use load::{GeoChoice, load};
pub use location::{ClassTable, GeoSource, Location, Prefix, location_of};
pub use mmdb::{GeoError, read_database};
pub use ortc::prefixes as lpm_prefixes;
pub use ranges::Ranges;
