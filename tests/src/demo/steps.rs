//! The steps of the demo, one function each.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant as Stopwatch},
};

use anyhow::{Context as _, bail};
use cordon::instant::Instant;
use jiff::Timestamp;
use nix::sys::signal::Signal;

use super::{
    report::Report,
    table::Gauge,
    world::{World, exemption},
};
use crate::{
    cordon_process::Cordon,
    interrupt,
    lab::{EDGE_IFNAME, Lab},
    probes::{Outcome, Protocol},
    stream::{Always, SourceReport, Stream},
};

/// How often the policy is changed under traffic.
const N_CHANGES: usize = 6;
/// Sources of each kind and family that send meanwhile.
const N_STREAM_SOURCES: usize = 4;
/// Sources of each kind and family that later steps look at.
const N_WITNESSES: usize = 3;
/// How long the exemption holds, counted from before the policy that brings it is applied.
const EXEMPTION_MARGINS_S: [u32; 3] = [4, 15, 60];

/// Shows that the lab itself blocks nothing.
pub fn without_cordon(report: &mut Report, lab: &Lab, world: &World) -> anyhow::Result<()> {
    let sources = world.all_sources();
    let wrong = n_not(Outcome::Passed, lab, &sources)?;
    report.check(
        wrong == 0,
        format!(
            "all {} addresses reach the edge by TCP, UDP and ping ({} probes); not reached: {wrong}",
            sources.len(),
            sources.len() * Protocol::ALL.len()
        ),
    );
    report.check(!has_xdp(lab)?, format!("no XDP program on {EDGE_IFNAME}"));
    Ok(())
}

/// Applies the first policy and shows where it is in force.
pub fn first_policy(report: &mut Report, cordon: &Cordon<'_>, world: &World) -> anyhow::Result<()> {
    let path = cordon.write_policy(&world.policy)?;
    let answer = cordon.cordon(&["apply", "--no-confirm", &path])?;
    report.check(
        answer.status == 1
            && world
                .failsafe
                .iter()
                .all(|address| answer.stderr.contains(&address.to_string())),
        format!(
            "`cordon apply` refuses a policy that drops the failsafe addresses {}",
            listed(&world.failsafe)
        ),
    );
    let started = Stopwatch::now();
    cordon.apply(&world.policy)?;
    let took = started.elapsed().as_millis();
    let mode = cordon.wait_attached()?;
    let generation = cordon.generation()?;
    report.note(&format!(
        "generation {generation} in force on {EDGE_IFNAME}, XDP mode {mode}, {took} ms after `cordon apply --override-lockout`"
    ));
    Ok(())
}

/// Shows that no packet of the table escaped the counters.
pub fn counters_add_up(report: &mut Report, cordon: &Cordon<'_>, gauge: &Gauge) -> anyhow::Result<()> {
    let grown = cordon.counters()?.since(&gauge.before);
    report.check(
        grown.total_packets() >= gauge.n_probes as u64,
        format!(
            "{} packets counted for {} probes: {}",
            grown.total_packets(),
            gauge.n_probes,
            grown.by_reason()
        ),
    );
    Ok(())
}

/// Changes the policy back and forth while packets arrive.
pub fn change_under_traffic(
    report: &mut Report,
    lab: &Lab,
    cordon: &Cordon<'_>,
    world: &World,
) -> anyhow::Result<()> {
    let differing = world.differing();
    let mut sources = steady_sources(world);
    sources.extend(differing.iter().map(|source| (*source, Always::Either)));
    let stream = Stream::start(lab, &sources)?;
    let mut as_expected = true;
    for n in 0..N_CHANGES {
        interrupt::check()?;
        let (policy, expectations) = match n % 2 {
            0 => (&world.second_policy, &world.second_expectations),
            _ => (&world.policy, &world.expectations),
        };
        cordon.apply(policy)?;
        let reaches = lab.reach(&differing)?;
        as_expected &= differing
            .iter()
            .zip(reaches)
            .all(|(source, reach)| reach.uniform() == Some(expectations.outcome(*source)));
    }
    let reports = stream.stop()?;
    report.check(
        as_expected,
        format!(
            "after each of {N_CHANGES} changes, {} addresses (IPv4 and IPv6) follow the policy now in force",
            differing.len()
        ),
    );
    check_steady(report, &reports);
    let changing = reports.iter().filter(|report| report.always == Always::Either);
    let (n_sent, n_answered) = changing.fold((0, 0), |sums, report| {
        (sums.0 + report.n_sent, sums.1 + report.n_answered)
    });
    report.check(
        n_answered > 0 && n_answered < n_sent,
        format!("of {n_sent} packets from addresses the policies differ about, {n_answered} passed"),
    );
    Ok(())
}

/// Exempts a blocked customer for a few seconds; its end needs nobody.
pub fn exemption_ends(
    report: &mut Report,
    lab: &Lab,
    cordon: &Cordon<'_>,
    world: &World,
) -> anyhow::Result<()> {
    let customer = &world.customer;
    let n_blocked = customer.len() - n_not(Outcome::Blocked, lab, customer)?;
    report.check(
        n_blocked == customer.len(),
        format!("{} are blocked by their country", listed(customer)),
    );

    let until = 'applied: {
        for margin_s in EXEMPTION_MARGINS_S {
            let until = Instant(Instant::now().0 + margin_s);
            let policy = format!(
                "{}\n{}",
                world.policy,
                exemption(customer, "DEMO-CUSTOMER", until)
            );
            cordon.apply(&policy)?;
            let n_blocked = n_not(Outcome::Passed, lab, customer)?;
            // A slow machine may not get here in time: then the exemption is given once more, for longer.
            if Instant::now() < until {
                report.check(n_blocked == 0, format!("exempt until {until}: they pass"));
                break 'applied until;
            }
        }
        bail!("applying a policy takes too long to see an exemption of a minute");
    };
    cordon.signal(Signal::SIGSTOP)?;
    report.note("the daemon is stopped (SIGSTOP): what follows is the kernel's doing");
    wait_until(until)?;
    let n_passed = n_not(Outcome::Blocked, lab, customer)?;
    cordon.signal(Signal::SIGCONT)?;
    report.check(n_passed == 0, "the exemption is over: they are blocked again");
    Ok(())
}

/// Halts the host and resumes.
pub fn halt_and_resume(
    report: &mut Report,
    lab: &Lab,
    cordon: &Cordon<'_>,
    world: &World,
) -> anyhow::Result<()> {
    let others: Vec<IpAddr> = world
        .all_sources()
        .into_iter()
        .filter(|source| !world.failsafe.contains(source))
        .collect();
    cordon.cordon_ok(&["halt", "--reason", "demo"])?;
    let n_passed = n_not(Outcome::Blocked, lab, &others)?;
    report.check(
        n_passed == 0,
        format!(
            "halted: all {} addresses are blocked; passed: {n_passed}",
            others.len()
        ),
    );
    let n_blocked = n_not(Outcome::Passed, lab, &world.failsafe)?;
    report.check(
        n_blocked == 0,
        format!("the failsafe addresses {} still pass", listed(&world.failsafe)),
    );
    cordon.cordon_ok(&["resume"])?;
    as_expected(report, lab, world, "resumed")
}

/// Kills the daemon and starts it again, under traffic.
pub fn kill_and_restart(
    report: &mut Report,
    lab: &Lab,
    cordon: &mut Cordon<'_>,
    world: &World,
) -> anyhow::Result<()> {
    // Without the exemption that is over: the next daemon would leave it out, and so publish another image.
    cordon.apply(&world.policy)?;
    let generation = cordon.generation()?;
    let stream = Stream::start(lab, &steady_sources(world))?;
    cordon.kill()?;
    as_expected(report, lab, world, "SIGKILL, no daemon")?;
    cordon.run()?;
    let generation_now = cordon.generation()?;
    report.check(
        generation_now == generation,
        format!("started again: generation {generation_now} is adopted, it was {generation}"),
    );
    as_expected(report, lab, world, "adopted")?;
    check_steady(report, &stream.stop()?);
    Ok(())
}

/// Takes everything away again.
pub fn detach(report: &mut Report, lab: &Lab, cordon: &mut Cordon<'_>, world: &World) -> anyhow::Result<()> {
    cordon.kill()?;
    cordon.cordon_ok(&["detach", "--yes"])?;
    let pins = cordon.pins()?;
    let names: Vec<String> = pins.iter().map(|pin| pin.display().to_string()).collect();
    report.check(
        pins.is_empty(),
        format!("pins left: {} {}", pins.len(), names.join(" ")).trim_end(),
    );
    report.check(!has_xdp(lab)?, format!("no XDP program on {EDGE_IFNAME}"));
    let sources = world.all_sources();
    let n_blocked = n_not(Outcome::Passed, lab, &sources)?;
    report.check(
        n_blocked == 0,
        format!("all {} addresses reach the edge again", sources.len()),
    );
    Ok(())
}

/// Checks a few addresses of each kind and family against the first policy.
fn as_expected(report: &mut Report, lab: &Lab, world: &World, when: &str) -> anyhow::Result<()> {
    for (outcome, text) in [
        (Outcome::Blocked, "blocked stays blocked"),
        (Outcome::Passed, "passed stays passed"),
    ] {
        let sources = world.always(outcome, N_WITNESSES);
        let n_wrong = n_not(outcome, lab, &sources)?;
        report.check(
            n_wrong == 0 && !sources.is_empty(),
            format!("{when}: {text} ({} addresses, {n_wrong} wrong)", sources.len()),
        );
    }
    Ok(())
}

/// A few sources that every policy of the demo treats alike, for a stream.
fn steady_sources(world: &World) -> Vec<(IpAddr, Always)> {
    let of_kind = |outcome, always| {
        let sources = world.always(outcome, N_STREAM_SOURCES);
        sources.into_iter().map(move |source| (source, always))
    };
    of_kind(Outcome::Blocked, Always::Blocked)
        .chain(of_kind(Outcome::Passed, Always::Passed))
        .collect()
}

/// Checks what the packets of [`steady_sources`] met.
fn check_steady(report: &mut Report, reports: &[SourceReport]) {
    for (always, text) in [
        (Always::Blocked, "always blocked"),
        (Always::Passed, "always passed"),
    ] {
        let of_kind: Vec<&SourceReport> = reports.iter().filter(|report| report.always == always).collect();
        let n_sent: u64 = of_kind.iter().map(|report| report.n_sent).sum();
        let n_wrong: u64 = of_kind.iter().map(|report| report.n_wrong()).sum();
        report.check(
            n_sent > 0 && n_wrong == 0,
            format!(
                "meanwhile {n_sent} packets from {} addresses that are {text}: {n_wrong} wrong verdicts",
                of_kind.len()
            ),
        );
    }
}

/// How many of the sources do not meet this by every protocol.
fn n_not(outcome: Outcome, lab: &Lab, sources: &[IpAddr]) -> anyhow::Result<usize> {
    interrupt::check()?;
    let reaches = lab.reach(sources)?;
    Ok(reaches
        .iter()
        .filter(|reach| reach.uniform() != Some(outcome))
        .count())
}

fn wait_until(until: Instant) -> anyhow::Result<()> {
    // The kernel's clock is set by the daemon and may lag by a little.
    let over = Timestamp::from_second(i64::from(until.0)).context("the instant is out of range")?
        + Duration::from_millis(200);
    while Timestamp::now() < over {
        interrupt::check()?;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn has_xdp(lab: &Lab) -> anyhow::Result<bool> {
    Ok(xdp_line(lab)?.is_some())
}

/// What `ip` says about the XDP program of the edge's interface: its id and tag.
fn xdp_line(lab: &Lab) -> anyhow::Result<Option<String>> {
    let link = lab.edge_link()?;
    Ok(link
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("prog/xdp"))
        .map(str::to_owned))
}

fn listed(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(" and ")
}
