//! What cordon's tests and its demo stand on: network namespaces with real traffic between them, the real
//! binary with directories of its own, databases and an independent reading of them.
//!
//! Nothing here outlives the process: namespaces are held by file descriptors only, children die with their
//! parent, and what a killed process leaves on disk (a bpffs mount) the next one sweeps away.

pub mod abroad;
pub mod bench;
pub mod booted;
pub mod bundle_writer;
pub mod cordon_process;
pub mod corpus;
pub mod counters;
pub mod curl;
pub mod demo;
pub mod download;
pub mod frames;
pub mod guest;
pub mod images;
pub mod interrupt;
pub mod lab;
pub mod ledger;
pub mod mmdb_writer;
pub mod netns;
pub mod nft;
pub mod oracle;
pub mod pacer;
pub mod probes;
pub mod raw_database;
pub mod reference;
pub mod rng;
pub mod scratch;
pub mod segments;
pub mod servers;
pub mod small_disk;
pub mod stream;
pub mod taker;
pub mod test_run;
