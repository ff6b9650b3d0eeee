//! What cordon's tests and its demo stand on: network namespaces with real traffic between them, the real
//! binary with directories of its own, databases and an independent reading of them.
//!
//! Nothing here outlives the process: namespaces are held by file descriptors only, children die with their
//! parent, and what a killed process leaves on disk (a bpffs mount) the next one sweeps away.

pub mod bench;
pub mod bundle_writer;
pub mod cordon_process;
pub mod counters;
pub mod demo;
pub mod frames;
pub mod images;
pub mod interrupt;
pub mod lab;
pub mod mmdb_writer;
pub mod netns;
pub mod oracle;
pub mod probes;
pub mod raw_database;
pub mod rng;
pub mod scratch;
pub mod servers;
pub mod stream;
pub mod test_run;
