//! The demo: the real binary, the world database, an example policy, and real traffic from addresses drawn at
//! run time. What must happen is computed by the oracle and never written here.

mod draw;
mod report;
mod steps;
mod table;
mod world;

use anyhow::Context as _;

pub use report::Report;
use world::World;

use crate::{
    cordon_process::{self, Cordon, HostFile},
    lab::Lab,
};

/// What the demo can be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Decides which addresses are drawn.
    pub seed: u64,
    /// As in the host file.
    pub xdp_mode: String,
}

/// Runs the demo; whether everything was as expected. Everything it makes is gone when it returns.
pub fn run(settings: &Settings) -> anyhow::Result<bool> {
    let mut report = Report::new();
    println!(
        "cordon demo, seed {0} (the same addresses again: --seed {0})",
        settings.seed
    );

    report.section("The world, and what the policy says about it");
    cordon_process::binary().context("the demo runs the real binary")?;
    let world = World::draw(settings.seed)?;
    world.describe(&mut report);

    report.section("The lab: an \"internet\" and an \"edge\", joined by a veth pair, without cordon");
    let lab = Lab::new()?;
    steps::without_cordon(&mut report, &lab, &world)?;

    report.section("cordon on the edge's interface");
    let host_file = HostFile {
        failsafe: world::prefixes(&world.failsafe),
        xdp_mode: settings.xdp_mode.clone(),
        ..HostFile::default()
    };
    let mut cordon = Cordon::start(&lab, &host_file)?;
    steps::first_policy(&mut report, &cordon, &world)?;
    let gauge = table::judge_all(&mut report, &lab, &cordon, &world)?;
    steps::counters_add_up(&mut report, &cordon, &gauge)?;

    report.section("Another policy, under traffic");
    steps::change_under_traffic(&mut report, &lab, &cordon, &world)?;

    report.section("An exemption, and its end");
    steps::exemption_ends(&mut report, &lab, &cordon, &world)?;

    report.section("Halt: drop the world");
    steps::halt_and_resume(&mut report, &lab, &cordon, &world)?;

    report.section("The daemon is killed");
    steps::kill_and_restart(&mut report, &lab, &mut cordon, &world)?;

    report.section("Detach");
    steps::detach(&mut report, &lab, &mut cordon, &world)?;

    println!("\n{}", world.credit());
    Ok(report.finish())
}
