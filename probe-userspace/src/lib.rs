//! cordon's library: policy language, GeoIP data, the pure compiler, the kernel side's loader, the daemon and
//! the command line. The map of the code is in ARCHITECTURE.md.

pub mod audit;
pub mod bundle;
pub mod cli;
pub mod compile;
pub mod daemon;
pub mod dataplane;
pub mod diagnostic;
pub mod doctor;
pub mod durable;
pub mod exemption;
pub mod geo;
pub mod host;
pub mod import;
pub mod input;
pub mod instant;
pub mod link;
pub mod policy;
pub mod span;
pub mod support;
