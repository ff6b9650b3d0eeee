//! Times in which packets came by an interface unjudged, and what somebody else changed in the kernel.

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, status::instant_text};
use crate::{
    audit::{Actor, Event},
    daemon::{
        api::{Gap, Gaps},
        problems::Topic,
    },
    dataplane::{Attached, Change},
    host::Tampering,
    instant::Instant,
    link::{self, Place},
};

/// How many gaps the status lists.
const MAX_GAPS: usize = 20;
/// How long somebody else's change is shown after it was put right.
const SHOWN_S: u64 = 600;

/// An interface that should be judged and is not.
#[derive(Clone, Debug)]
struct Open {
    ifname: String,
    from: Instant,
    /// What it had received when it was judged last, or before it was first seen.
    base: u64,
    /// What it had received at the last look.
    seen: u64,
}

/// What is known of the coverage of interfaces. By index.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    /// When it was last looked at; `None`: nothing was to be enforced then.
    looked: Option<Instant>,
    /// What each interface had received by then.
    received: BTreeMap<u32, u64>,
    open: BTreeMap<u32, Open>,
    /// What somebody changed: text and the tick until which it is shown.
    changes: BTreeMap<String, u64>,
    /// What is changed still.
    standing: BTreeSet<Change>,
}

impl Engine {
    /// Puts right what somebody else changed in the kernel, or only says so, as the host file has it.
    pub(super) fn inspect(&mut self) {
        let repair = self.settings.host.tampering == Tampering::Repair;
        let found: BTreeSet<Change> = self.dataplane.inspect(repair).into_iter().collect();
        let known = std::mem::replace(&mut self.coverage.standing, found.clone());
        for change in found.difference(&known) {
            self.note_change(change);
        }
        for change in found.into_iter().filter(|change| !change.is_repaired) {
            let until = self.n_ticks + 1;
            self.coverage.changes.insert(change.what, until);
        }
        let n_ticks = self.n_ticks;
        self.coverage.changes.retain(|_, until| *until >= n_ticks);
        if self.coverage.changes.is_empty() {
            return self.problems.clear(&Topic::Tampering);
        }
        let texts: Vec<&str> = self.coverage.changes.keys().map(String::as_str).collect();
        let text = format!(
            "somebody changed what cordon has in the kernel: {}",
            texts.join("; ")
        );
        self.problems.set(Topic::Tampering, text);
    }

    /// Records a change, and shows it for a while.
    pub(super) fn note_change(&mut self, change: &Change) {
        let event = Event::Tampered {
            what: change.what.clone(),
            repaired: change.is_repaired,
        };
        self.record(&Actor::Daemon, &event);
        if change.is_repaired {
            let text = format!("{} (put back at {})", change.what, instant_text(Instant::now()));
            self.coverage.changes.insert(text, self.n_ticks + SHOWN_S);
        }
    }

    /// Before attaching: an interface that should be judged and is not has a gap from the last look on.
    pub(super) fn open_gaps(&mut self, places: &[Place], attached: &[Attached]) {
        let Some(looked) = self.coverage.looked else {
            return;
        };
        for place in places {
            let is_judged = attached.iter().any(|it| it.ifindex == place.ifindex);
            if is_judged || self.coverage.open.contains_key(&place.ifindex) {
                continue;
            }
            // One that was not there at the last look has received all that it has since then.
            let base = self.coverage.received.get(&place.ifindex).copied().unwrap_or(0);
            let open = Open {
                ifname: place.ifname.clone(),
                from: looked,
                base,
                seen: base,
            };
            self.coverage.open.insert(place.ifindex, open);
        }
    }

    /// After attaching: gaps of what is judged now, or gone, have ended. One in which nothing came by is none.
    pub(super) fn close_gaps(&mut self, places: &[Place]) {
        let judged: BTreeSet<u32> = match self.dataplane.interfaces() {
            Ok(attached) => attached.iter().map(|it| it.ifindex).collect(),
            Err(_) => return,
        };
        let now = Instant::now();
        let mut received = BTreeMap::new();
        for place in places {
            if let Ok(n) = link::received(place.ifindex) {
                received.insert(place.ifindex, n);
            }
        }
        let mut closed = Vec::new();
        self.coverage.open.retain(|ifindex, open| {
            let found = received.get(ifindex);
            open.seen = found.copied().unwrap_or(open.seen);
            let is_over = found.is_none() || judged.contains(ifindex);
            if is_over {
                closed.push(open.clone());
            }
            !is_over
        });
        self.coverage.received = received;
        self.coverage.looked = Some(now);
        for open in closed {
            self.note_gap(&open, now);
        }
    }

    /// Nothing is to be enforced any more.
    pub(super) fn end_gaps(&mut self) {
        self.coverage.looked = None;
        let now = Instant::now();
        for open in std::mem::take(&mut self.coverage.open).into_values() {
            self.note_gap(&open, now);
        }
    }

    fn note_gap(&mut self, open: &Open, to: Instant) {
        let packets = open.seen.saturating_sub(open.base);
        if packets == 0 {
            return;
        }
        let (from, to) = (instant_text(open.from), instant_text(to));
        self.record_gap(&open.ifname, from, to, packets);
    }

    /// Records that packets came by unjudged: at most so many.
    pub(super) fn record_gap(&mut self, ifname: &str, from: String, to: String, packets: u64) {
        let event = Event::Gap {
            what: format!("interface {ifname} was not judged"),
            from: from.clone(),
            to: to.clone(),
            interface: Some(ifname.to_owned()),
            packets: Some(packets),
        };
        self.record(&Actor::Daemon, &event);
        let gaps = &mut self.host_state.gaps;
        gaps.n += 1;
        gaps.packets += packets;
        gaps.last.push(Gap {
            interface: ifname.to_owned(),
            from,
            to: Some(to),
            packets,
        });
        let n_surplus = gaps.last.len().saturating_sub(MAX_GAPS);
        gaps.last.drain(..n_surplus);
        self.save_host_state();
    }

    /// For the status: those that are over, then those that are not.
    pub(super) fn gaps(&self) -> Gaps {
        let mut gaps = self.host_state.gaps.clone();
        gaps.last.extend(self.coverage.open.values().map(|open| Gap {
            interface: open.ifname.clone(),
            from: instant_text(open.from),
            to: None,
            packets: open.seen.saturating_sub(open.base),
        }));
        gaps
    }
}
