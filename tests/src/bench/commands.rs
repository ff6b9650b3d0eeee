//! Verbs of the command line, from the start of the process to its end.

use std::{
    process::{Command, Stdio},
    time::Instant as Stopwatch,
};

use anyhow::{Context as _, ensure};

use super::{
    Bench, SEVEN,
    contest::Contest,
    row::{Aim, Group, Row, Unit},
};
use crate::{
    cordon_process::{Cordon, HostFile, binary},
    images,
    lab::Lab,
    nft,
};

/// Repetitions in each round: a verb is short, and now and then the disk is not.
const TIMES: usize = 5;
const HALT: &str = "cordon halt";
const RESUME: &str = "cordon resume";
const BARE: &str = "cordon --version: the process alone";
const NFT_RULE: &str = "nft: a rule that drops everything";

/// Halt and resume beside what starting a process costs, and a peer's nearest.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let name = "whole command";
    eprintln!("commands: halt, resume ...");
    let lab = Lab::new()?;
    let cordon = Cordon::start(&lab, &HostFile::default())?;
    cordon.apply(&images::drop_countries(&SEVEN))?;
    nft::load(
        &lab.edge,
        "table inet bench {\nchain judge {\ntype filter hook prerouting priority raw\n}\n}\n",
    )?;
    let mut contest = Contest::new(Group::Commands, name, Unit::Ms);
    for _ in 0..bench.rounds * TIMES {
        contest.add(BARE, timed(&lab, Command::new(binary()?).arg("--version"))?);
        let halt = cordon.args(&["halt", "--reason", "bench", "--override-lockout"]);
        contest.add(HALT, timed(&lab, Command::new(binary()?).args(halt))?);
        let resume = cordon.args(&["resume"]);
        contest.add(RESUME, timed(&lab, Command::new(binary()?).args(resume))?);
        let rule = ["add", "rule", "inet", "bench", "judge", "drop"];
        contest.add(NFT_RULE, timed(&lab, Command::new("nft").args(rule))?);
        nft::load(&lab.edge, "flush chain inet bench judge\n")?;
    }
    let mut rows = Vec::new();
    for verb in [HALT, RESUME] {
        rows.push(
            Row::alone(Group::Commands, name, Unit::Ms, (verb, contest.figures(verb)))
                .aiming(Aim::AtMost(5.0)),
        );
        for other in [BARE, NFT_RULE] {
            let row = Row::alternating(
                Group::Commands,
                name,
                Unit::Ms,
                (verb, contest.figures(verb)),
                (other, contest.figures(other)),
            );
            rows.push(row.noisy());
        }
    }
    Ok(rows)
}

/// Milliseconds. The thread enters the namespace, so that the child is started without a copy of this large process.
fn timed(lab: &Lab, command: &mut Command) -> anyhow::Result<f64> {
    for variable in ["SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"] {
        command.env_remove(variable);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    lab.edge.run(|| {
        let started = Stopwatch::now();
        let status = command
            .status()
            .with_context(|| format!("cannot run {command:?}"))?;
        let elapsed = started.elapsed();
        ensure!(status.success(), "{command:?} failed with {status}");
        Ok(elapsed.as_secs_f64() * 1e3)
    })
}
