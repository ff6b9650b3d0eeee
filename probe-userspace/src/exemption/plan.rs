//! What the kernel is told: for each prefix the union of all exemptions that cover it, until the last of them ends.
//!
//! The kernel takes the longest match and looks no further. So the steps of a prefix hold what shorter prefixes lift too,
//! each for as long as it lasts, and with nobody there to renew them they end exactly as they should.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipnet::IpNet;
use probe_common::{RUNTIME_STAGES, RuntimeValue};

use super::{Exemption, Lift, List};
use crate::instant::Instant;

/// What is lifted up to an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<L = usize> {
    /// End (exclusive).
    pub until: Instant,
    /// Index into [`Plan::lifts`].
    pub lift: L,
}

/// What every prefix lifts, step by step.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Every lift that occurs.
    pub lifts: Vec<Lift>,
    /// By prefix, ascending: steps with ascending ends, no two neighbours alike.
    pub prefixes: Vec<(IpNet, Vec<Step>)>,
}

impl Plan {
    /// The plan of a list from an instant on.
    pub fn new(list: &List, now: Instant) -> Self {
        let mut pool = Pool::default();
        let mut prefixes: Vec<(IpNet, Vec<Step>)> = Vec::new();
        // Sorted by address and then by length: what is around a prefix comes before it.
        let mut around: Vec<(IpNet, usize)> = Vec::new();
        let live = list.iter().filter(|exemption| now < exemption.until);
        let mut live = live.peekable();
        while let Some(first) = live.next() {
            let prefix = first.prefix;
            let mut own = vec![pool.step(first)];
            while let Some(next) = live.next_if(|next| next.prefix == prefix) {
                own.push(pool.step(next));
            }
            while around.pop_if(|(outer, _)| !outer.contains(&prefix)).is_some() {}
            let inherited: &[Step] = around.last().map_or(&[], |(_, idx)| &prefixes[*idx].1);
            let steps = pool.joined(own, inherited);
            around.push((prefix, prefixes.len()));
            prefixes.push((prefix, steps));
        }
        Self {
            lifts: pool.lifts,
            prefixes,
        }
    }

    /// The lifts that the kernel must know for [`Plan::values`].
    pub fn needed(&self) -> impl Iterator<Item = &Lift> {
        let told = self
            .prefixes
            .iter()
            .flat_map(|(_, steps)| steps.iter().take(RUNTIME_STAGES));
        let indexes: BTreeSet<usize> = told.map(|step| step.lift).collect();
        indexes.into_iter().map(|idx| &self.lifts[idx])
    }

    /// What the kernel is told, with the keys that a function knows: the first [`RUNTIME_STAGES`] steps of each prefix.
    /// Later steps must be told when the first ones are over.
    pub fn values(&self, mut key: impl FnMut(&Lift) -> u8) -> BTreeMap<IpNet, RuntimeValue> {
        let mut keys: Vec<Option<u8>> = vec![None; self.lifts.len()];
        let mut value = |steps: &[Step]| {
            let mut value = RuntimeValue::default();
            for (idx, step) in steps.iter().take(RUNTIME_STAGES).enumerate() {
                value.until_s[idx] = step.until.0;
                value.key[idx] = *keys[step.lift].get_or_insert_with(|| key(&self.lifts[step.lift]));
            }
            value
        };
        self.prefixes
            .iter()
            .map(|(prefix, steps)| (*prefix, value(steps)))
            .collect()
    }

    /// When something must be told again: the first end behind which a prefix has steps that the kernel does not know.
    pub fn renew_at(&self) -> Option<Instant> {
        let more = self
            .prefixes
            .iter()
            .filter(|(_, steps)| steps.len() > RUNTIME_STAGES);
        more.map(|(_, steps)| steps[0].until).min()
    }
}

/// The steps of an address from the exemptions that cover it, without a plan: what an explanation goes by.
pub fn steps_at<'a>(covering: impl IntoIterator<Item = &'a Exemption>, now: Instant) -> Vec<Step<Lift>> {
    let live: Vec<&Exemption> = covering
        .into_iter()
        .filter(|exemption| now < exemption.until)
        .collect();
    let ends: BTreeSet<Instant> = live.iter().map(|exemption| exemption.until).collect();
    let union_at = |until: &Instant| {
        live.iter()
            .filter(|exemption| exemption.until >= *until)
            .fold(Lift::NOTHING, |union, exemption| union.union(&exemption.lift()))
    };
    ends.iter()
        .map(|until| Step {
            until: *until,
            lift: union_at(until),
        })
        .collect()
}

/// Lifts, each once, and the unions that were made of them.
#[derive(Default)]
struct Pool {
    lifts: Vec<Lift>,
    idx_of: HashMap<Lift, usize>,
    unions: HashMap<(usize, usize), usize>,
}

impl Pool {
    fn step(&mut self, exemption: &Exemption) -> Step {
        Step {
            until: exemption.until,
            lift: self.idx(exemption.lift()),
        }
    }

    fn idx(&mut self, lift: Lift) -> usize {
        let lifts = &mut self.lifts;
        *self.idx_of.entry(lift).or_insert_with_key(|lift| {
            lifts.push(lift.clone());
            lifts.len() - 1
        })
    }

    fn union(&mut self, a: usize, b: usize) -> usize {
        if a == b {
            return a;
        }
        let pair = (a.min(b), a.max(b));
        if let Some(known) = self.unions.get(&pair) {
            return *known;
        }
        let union = self.lifts[a].union(&self.lifts[b]);
        let idx = self.idx(union);
        self.unions.insert(pair, idx);
        idx
    }

    /// The steps of a prefix: from the last end backwards, more and more is lifted.
    fn joined(&mut self, mut own: Vec<Step>, inherited: &[Step]) -> Vec<Step> {
        own.extend(inherited);
        own.sort_by_key(|step| step.until);
        let mut steps: Vec<Step> = Vec::new();
        for step in own.into_iter().rev() {
            let lift = match steps.last() {
                Some(later) => self.union(later.lift, step.lift),
                None => step.lift,
            };
            match steps.last() {
                // What ends earlier adds nothing.
                Some(later) if later.lift == lift => {}
                Some(later) if later.until == step.until => {
                    let last = steps.len() - 1;
                    steps[last].lift = lift;
                }
                _ => steps.push(Step {
                    until: step.until,
                    lift,
                }),
            }
        }
        steps.reverse();
        steps
    }
}
