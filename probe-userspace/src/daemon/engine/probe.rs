//! `--confirm auto`: probes before and after a publish, and the daemon that confirms if they hold.

use std::{
    path::Path,
    sync::mpsc,
    time::{Duration, Instant as Moment},
};

use super::Engine;
use crate::{
    audit::{Actor, Event},
    daemon::{
        Refusal,
        api::{ProbeRow, Probing},
        probes::{self, Check, Counts, Outcome, Round, Share},
        problems::Topic,
    },
};

/// All probes must hold for so long, or for half of the window if that is shorter.
const SETTLE: Duration = Duration::from_secs(10);
/// Shortest window: a round of probes can take three seconds.
const MIN_WINDOW: Duration = Duration::from_secs(10);
/// Longest time between two rounds of which nothing is known; after a longer one they begin anew.
const MAX_SILENCE: Duration = Duration::from_secs(10);
/// How old the last round may be when a policy is confirmed.
const MAX_AGE: Duration = probes::TIMEOUT.saturating_mul(2).saturating_add(probes::PAUSE);
/// What the probes say of a halt.
const HALTED: &str = "the host was halted, and that says nothing about the policy";
/// The drop share is one of the probes.
const DROP_SHARE: &str = "drop share";

/// What held before a publish.
#[derive(Debug)]
pub(super) struct Before {
    checks: Vec<Check>,
    left_out: Vec<String>,
    share: Option<Share>,
}

/// A policy that is confirmed by the daemon if the probes hold.
#[derive(Debug)]
pub(super) struct AutoConfirm {
    rounds: mpsc::Receiver<Round>,
    settle: Duration,
    left_out: Vec<String>,
    share: Option<Share>,
    rows: Vec<ProbeRow>,
    /// Since when all of them hold, and until when that is known.
    held: Option<(Moment, Moment)>,
    /// The host was halted when it was looked at last.
    is_halted: bool,
    /// What was begun before says nothing: the host was halted.
    not_before: Option<Moment>,
}

impl AutoConfirm {
    /// Takes note of a round. It says that all held when it was over, and still when the next one begins.
    fn note(&mut self, rows: Vec<ProbeRow>, began: Moment, ended: Moment) {
        let all_hold = rows.iter().all(|row| row.holds == Some(true));
        self.rows = rows;
        self.held = all_hold.then(|| match self.held {
            Some((since, until)) if began.duration_since(until) <= MAX_SILENCE => (since, began),
            _ => (ended, ended),
        });
    }

    /// In a halt the probes say nothing: the defaults hold whatever the policy is, and others fail with any. What was
    /// tried until now does not count then.
    fn heed_halt(&mut self, is_halted: bool, now: Moment) {
        if is_halted || self.is_halted {
            self.not_before = Some(now);
            self.held = None;
            for row in &mut self.rows {
                row.holds = None;
                row.message = Some(HALTED.to_owned());
            }
        }
        self.is_halted = is_halted;
    }

    /// Whether a round says anything about the policy.
    fn counts(&self, round: &Round) -> bool {
        !self.is_halted && self.not_before.is_none_or(|not_before| round.began >= not_before)
    }

    /// Whether all have held for long enough, until now.
    fn has_settled(&self, now: Moment) -> bool {
        self.held.is_some_and(|(since, until)| {
            until.duration_since(since) >= self.settle && now.duration_since(until) <= MAX_AGE
        })
    }

    /// For the answer and the status.
    pub(super) fn to_api(&self) -> Probing {
        Probing {
            settle_s: self.settle.as_secs(),
            held_s: self
                .held
                .map(|(since, until)| until.duration_since(since).as_secs()),
            probes: self.rows.clone(),
            left_out: self.left_out.clone(),
        }
    }

    /// What did not hold, in a sentence.
    fn why(&self) -> String {
        let failed: Vec<String> = self
            .rows
            .iter()
            .filter(|row| row.holds == Some(false))
            .map(|row| format!("{}: {}", row.probe, row.message.as_deref().unwrap_or("it failed")))
            .collect();
        match failed.is_empty() {
            true if self.rows.iter().any(|row| row.message.as_deref() == Some(HALTED)) => {
                format!("the probes had no {} s: {HALTED}", self.settle.as_secs())
            }
            true => format!("the probes did not hold for {} s", self.settle.as_secs()),
            false => failed.join("; "),
        }
    }
}

impl Engine {
    /// Tries the probes of the host file. Those that fail already do not count against a policy; if none is left,
    /// nothing could be said about it.
    pub(super) fn probe_before(&self, window: Option<Duration>) -> Result<Before, Refusal> {
        if window.is_none_or(|window| window < MIN_WINDOW) {
            return Err(Refusal::input(
                format!(
                    "probes need a window of {} s at least: `--confirm auto=120s`",
                    MIN_WINDOW.as_secs()
                ),
                Vec::new(),
            ));
        }
        let state = self.dataplane.state().map_err(Refusal::failed)?;
        if state.halted.is_some() {
            return Err(Refusal::conflict(
                "the host is halted, and in a halt the probes say nothing about a policy: run `cordon resume` first, or \
                 confirm by hand (`--confirm 120s`)",
            ));
        }
        let (checks, max_share) = probes::checks(&self.settings.host, Path::new("/"));
        let mut before = Before {
            checks: Vec::new(),
            left_out: Vec::new(),
            share: None,
        };
        for outcome in probes::before(checks) {
            match outcome.result {
                Ok(()) => before.checks.push(outcome.check),
                Err(why) => before.left_out.push(format!("{}: {why}", outcome.check)),
            }
        }
        if let Some(max_rise) = max_share {
            let earlier = self.samples.first().copied().unwrap_or_default();
            before.share = Some(Share::new(max_rise, earlier, self.counts()?));
        }
        if before.checks.is_empty() && before.share.is_none() {
            let why = match before.left_out.is_empty() {
                true => "the host has neither gateway nor resolver, and the host file names no `[[probe]]`"
                    .to_owned(),
                false => before.left_out.join("; "),
            };
            return Err(Refusal::conflict(format!(
                "no probe holds, so none could tell whether the policy is good ({why}): add a `[[probe]]` to the host \
                 file, or confirm by hand"
            )));
        }
        Ok(before)
    }

    /// Begins to watch what was published.
    pub(super) fn probe_after(&mut self, before: Before, window: Option<Duration>) -> Option<Probing> {
        let rows = before.checks.iter().map(|check| ProbeRow {
            probe: check.to_string(),
            holds: None,
            message: None,
        });
        let mut rows: Vec<ProbeRow> = rows.collect();
        if before.share.is_some() {
            rows.push(ProbeRow {
                probe: DROP_SHARE.to_owned(),
                holds: None,
                message: None,
            });
        }
        let rounds = self.problems.note(
            Topic::Probes,
            "the probes cannot be started: confirm by hand",
            probes::rounds(before.checks),
        )?;
        let auto = AutoConfirm {
            rounds,
            settle: window.map_or(SETTLE, |window| SETTLE.min(window / 2)),
            left_out: before.left_out,
            share: before.share,
            rows,
            held: None,
            is_halted: false,
            not_before: None,
        };
        let probing = auto.to_api();
        self.auto_confirm = Some(auto);
        Some(probing)
    }

    /// Looks at the rounds that were finished, and confirms when all have held long enough.
    pub(super) fn look_at_probes(&mut self) {
        let Some(mut auto) = self.auto_confirm.take() else {
            return;
        };
        match self.dataplane.state() {
            // Confirmed by hand.
            Ok(state) if state.confirm_left_s.is_none() && !state.reverted => {
                return self.problems.clear(&Topic::Probes);
            }
            Ok(state) if state.confirm_left_s.is_some() => {
                if auto.is_halted && state.halted.is_none() {
                    self.problems.clear(&Topic::Probes);
                }
                auto.heed_halt(state.halted.is_some(), Moment::now());
            }
            // Too late: what is to be said about it is said when the revert is settled.
            Ok(_) | Err(_) => {
                self.auto_confirm = Some(auto);
                return;
            }
        }
        while let Ok(round) = auto.rounds.try_recv() {
            if !auto.counts(&round) {
                continue;
            }
            let mut rows: Vec<ProbeRow> = round.outcomes.into_iter().map(probe_row).collect();
            if let Some(share) = &auto.share {
                let result = self
                    .counts()
                    .map_err(|refusal| refusal.to_string())
                    .and_then(|counts| share.look(counts));
                rows.push(row(DROP_SHARE.to_owned(), result));
            }
            auto.note(rows, round.began, round.ended);
        }
        if !auto.has_settled(Moment::now()) {
            self.auto_confirm = Some(auto);
            return;
        }
        tracing::info!(held_s = auto.settle.as_secs(), "all probes hold");
        if let Err(refusal) = self.confirm(&Actor::Daemon) {
            self.problems.set(
                Topic::Probes,
                format!("all probes hold, but the policy cannot be confirmed: {refusal}"),
            );
        }
    }

    /// The host is halted, or was until now: what the probes find meanwhile does not count.
    pub(super) fn note_halt_for_probes(&mut self) {
        let Some(auto) = &mut self.auto_confirm else {
            return;
        };
        auto.heed_halt(true, Moment::now());
        self.problems.set(
            Topic::Probes,
            "the host was halted while the probes ran, and in a halt they say nothing: run `cordon confirm` by hand, or \
             `cordon resume`, and they begin anew",
        );
    }

    /// Nothing is to be confirmed by probes any more.
    pub(super) fn stop_probing(&mut self) {
        if self.auto_confirm.take().is_some() {
            self.problems.clear(&Topic::Probes);
        }
    }

    /// The kernel reverted what the probes should have confirmed: says why.
    pub(super) fn probes_failed(&mut self) -> Option<String> {
        let auto = self.auto_confirm.take()?;
        self.problems.clear(&Topic::Probes);
        for row in auto.rows.iter().filter(|row| row.holds != Some(true)) {
            let target = row
                .probe
                .split_whitespace()
                .last()
                .and_then(|word| word.parse().ok());
            let event = Event::ProbeFailed {
                probe: row.probe.clone(),
                target,
                message: row.message.clone().unwrap_or_else(|| "not finished".to_owned()),
            };
            self.record(&Actor::Daemon, &event);
        }
        Some(auto.why())
    }

    /// Keeps counters of half a minute ago, for the share of dropped packets before a publish.
    pub(super) fn sample_counters(&mut self) {
        let is_wanted = self
            .settings
            .host
            .probes
            .iter()
            .any(|probe| matches!(probe, crate::host::Probe::DropShare(_)));
        if is_wanted && let Ok(counts) = self.counts() {
            self.samples = [self.samples.last().copied().unwrap_or(counts), counts].to_vec();
        }
    }

    fn counts(&self) -> Result<Counts, Refusal> {
        let rows = self.dataplane.counters().map_err(Refusal::failed)?;
        Ok(Counts::of(&rows))
    }
}

fn probe_row(outcome: Outcome) -> ProbeRow {
    row(outcome.check.to_string(), outcome.result)
}

fn row(probe: String, result: Result<(), String>) -> ProbeRow {
    ProbeRow {
        probe,
        holds: Some(result.is_ok()),
        message: result.err(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto() -> AutoConfirm {
        AutoConfirm {
            rounds: mpsc::channel().1,
            settle: Duration::from_secs(10),
            left_out: Vec::new(),
            share: None,
            rows: Vec::new(),
            held: None,
            is_halted: false,
            not_before: None,
        }
    }

    /// A round that takes no time.
    fn note(auto: &mut AutoConfirm, failed: Option<&str>, at: Moment) {
        auto.note(round(failed), at, at);
    }

    fn round(failed: Option<&str>) -> Vec<ProbeRow> {
        let failure = failed.map_or(Ok(()), |why| Err(why.to_owned()));
        vec![
            row("gateway 192.0.2.1".to_owned(), Ok(())),
            row("tcp".to_owned(), failure),
        ]
    }

    #[test]
    fn all_must_hold_for_the_whole_time_and_one_failure_begins_it_anew() {
        let start = Moment::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut auto = auto();
        assert!(!auto.has_settled(start), "nothing is known");
        for seconds in 0..10 {
            note(&mut auto, None, at(seconds));
            assert!(!auto.has_settled(at(seconds)), "{seconds}");
        }
        note(&mut auto, Some("refused"), at(10));
        assert!(!auto.has_settled(at(10)) && auto.why() == "tcp: refused");
        for seconds in 11..21 {
            note(&mut auto, None, at(seconds));
            assert!(!auto.has_settled(at(seconds)), "{seconds}");
        }
        assert_eq!(auto.why(), "the probes did not hold for 10 s");
        note(&mut auto, None, at(21));
        assert!(auto.has_settled(at(21)));
    }

    /// Rounds that nobody looked at in time prove what they prove, however late.
    #[test]
    fn what_counts_is_when_a_round_was_made() {
        let start = Moment::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut auto = auto();
        note(&mut auto, None, at(1));
        note(&mut auto, None, at(2));
        assert_eq!(auto.to_api().held_s, Some(1), "though it is looked at much later");
        assert!(!auto.has_settled(at(13)));
        for seconds in 3..=11 {
            note(&mut auto, None, at(seconds));
        }
        assert!(auto.has_settled(at(12)));
        assert!(
            !auto.has_settled(at(30)),
            "what was long ago says nothing about now"
        );
        note(&mut auto, None, at(30));
        assert_eq!(
            auto.to_api().held_s,
            Some(0),
            "nothing is known of the time between"
        );
        let began = at(31);
        auto.note(round(None), began, began + Duration::from_secs(3));
        assert_eq!(auto.to_api().held_s, Some(1), "known until it began");
    }

    #[test]
    fn what_was_tried_in_a_halt_does_not_count() {
        let start = Moment::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let made = |began| Round {
            began,
            ended: began,
            outcomes: Vec::new(),
        };
        let mut auto = auto();
        for seconds in 0..=10 {
            note(&mut auto, None, at(seconds));
        }
        assert!(auto.has_settled(at(10)));
        auto.heed_halt(true, at(11));
        assert!(!auto.has_settled(at(11)));
        assert!(!auto.counts(&made(at(12))), "in the halt");
        assert!(auto.why().contains("halted"), "{}", auto.why());
        auto.heed_halt(false, at(14));
        assert!(!auto.counts(&made(at(13))), "before anybody saw that it is over");
        assert!(auto.counts(&made(at(14))));
        auto.heed_halt(false, at(15));
        assert!(auto.counts(&made(at(14))), "that is over");
    }

    #[test]
    fn silence_is_no_proof() {
        let mut auto = auto();
        let now = Moment::now();
        note(&mut auto, None, now);
        assert!(
            !auto.has_settled(now + Duration::from_secs(60)),
            "one round, however long ago"
        );
        assert_eq!(auto.to_api().held_s, Some(0));
    }
}
