//! cordon's integration tests: one binary. They need root, and make everything they touch themselves.
#![expect(
    clippy::unwrap_used,
    reason = "an unwrap in a test is an assertion with a stack trace, in its helper functions too"
)]

/// Who may ask what over the socket, and limits on whoever asks.
mod access;
/// Actions, scopes, phases, replies and events on real traffic, each through a policy file.
mod actions;
/// The audit log: what is recorded, what becomes of it when the disk is full, and whoever tampers with it.
mod audit;
/// The peers that cordon is measured against, and the floors.
mod bench;
/// A booted host, and the packages it is given.
mod booted;
/// Signed bundles: bad ones, altered ones, and stock minisign.
mod bundle;
/// Kills, restarts, stops, networks that change, and whoever changes what is in the kernel, under packets.
mod chaos;
/// What is left behind by the harness, the daemon and the demo: nothing.
mod cleanup;
/// The command line.
mod cli;
/// The packet corpus, on every rung.
mod corpus;
/// Crashes and errors at the system calls of an apply.
mod crash;
/// The daemon from start to start.
mod daemon;
/// Broken databases: every error, to the letter.
mod database;
/// `cordon doctor`, `cordon support dump`, `cordon status --check`.
mod doctor;
/// Answers to a host's own connections, and what leaves it.
mod egress;
/// The examples in `policies/` compile and their own tests hold.
mod examples;
/// Exemptions made at run time.
mod exempt;
/// Bundles that are pulled from a server.
mod fetch;
/// What becomes of every kind of frame, by test runs: no interface.
mod frames;
/// Frames by chance, against the reference.
mod fuzz;
/// Broken policies and host files: every remark, to the letter.
mod golden;
/// The guides in `docs/`: their commands are run.
mod guides;
/// Halts, resumes and lifts on real traffic.
mod halt;
/// `cordon import`, of what the real tools print.
mod import;
/// More than one interface, and one that comes late.
mod interfaces;
/// `-o json` on every verb.
mod json;
/// On another kernel: the corpus, publish, swap, adoption.
mod kernels;
/// The harness, before anything is built on it.
mod lab;
/// What stands in the way of attaching, and what the daemon takes note of in the network.
mod links;
/// Nobody who applies a policy cuts off their own session by it.
mod lockout;
/// Metrics: what a scrape says, and what dashboard and alert rules make of it.
mod metrics;
/// What the service manager is told.
mod notify;
/// `cordon observe` on an interface with traffic.
mod observe;
/// Canaries: `cordon probe`, and `--confirm auto`.
mod probes;
/// One publish at a time: verification, revert, adoption, expiry, sizes.
mod publish;
/// Bundles that are pushed: over the socket, from the incoming directory, and history.
mod push;
/// `cordon restore`: a boot without a daemon.
mod restore;
/// Policies that nobody confirms, in many windows.
mod revert;
/// What the daemon tells the dataplane about its host.
mod surroundings;
/// Publishing under packets.
mod swap;
/// Verdicts on real packets, by the real daemon, from policy files.
mod traffic;
/// `cordon watch`.
mod watch;
/// The world database in the kernel against an independent reading of it.
mod world;
