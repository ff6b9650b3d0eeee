//! The packet corpus: what becomes of every kind of frame, as data.
//!
//! The rows lie in `tests/corpus/rows/`, one file for each row of the specification, with frames as hex dumps; the
//! policies that they are judged by in `tests/corpus/policies/`. `cargo run -p integration-tests --bin corpus -- write`
//! writes the rows from [`rows`], `-- pcap FILE` turns them into a capture for tcpdump. A test keeps data and
//! generator equal. The same cases, under the same names, run against the reference, in BPF_PROG_TEST_RUN and on a
//! wire.

pub mod build;
mod case;
pub mod data;
pub mod fuzz;
mod meaning;
pub mod places;
pub mod rows;
pub mod test_run;
pub mod wire;
pub mod world;

pub use case::{Case, Run, Settings, Target};
