//! Numbers of lifts: what the kernel's run-time entries and the generations agree on.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use probe_common::lift_key;
use serde::{Deserialize, Serialize};

use super::Lift;

const VERSION: u32 = 1;
/// Numbers that are not given to the lift of a single order ahead of time: kept for lifts that somebody asks for.
const N_KEPT: usize = 64;

/// The number of every lift that this host has met. A number keeps its meaning for as long as any generation that was
/// compiled with it may judge packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    by_number: BTreeMap<u8, Lift>,
    by_lift: BTreeMap<Lift, u8>,
}

/// All numbers are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this host has met {N_OWN} combinations of orders and services since its last boot, and there are numbers for no \
     more"
)]
pub struct KeysFull;

const N_OWN: usize = lift_key::N - lift_key::FIRST_MET as usize;

/// Lifts that a generation is to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownLifts {
    /// All that this host has met.
    pub keys: Keys,
    /// Numbers that some exemption needs now: if the generation has no room for one of these, the compile fails. Others
    /// are left out where there is no room.
    pub needed: BTreeSet<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    keys: BTreeMap<u8, Lift>,
}

impl Keys {
    /// The number of a lift.
    pub fn number(&self, lift: &Lift) -> Option<u8> {
        if *lift == Lift::ALL {
            Some(lift_key::ALL)
        } else if *lift == Lift::NOTHING {
            Some(lift_key::NONE)
        } else {
            self.by_lift.get(lift).copied()
        }
    }

    /// The number of a lift, a new one if it was never met.
    pub fn meet(&mut self, lift: &Lift) -> Result<u8, KeysFull> {
        if let Some(number) = self.number(lift) {
            return Ok(number);
        }
        let number = (lift_key::FIRST_MET..=u8::MAX).find(|number| !self.by_number.contains_key(number));
        let number = number.ok_or(KeysFull)?;
        self.by_number.insert(number, lift.clone());
        self.by_lift.insert(lift.clone(), number);
        Ok(number)
    }

    /// Gives numbers to the single orders of a policy ahead of time, as long as there are plenty.
    pub fn offer<'a>(&mut self, orders: impl IntoIterator<Item = &'a str>) {
        for id in orders {
            if self.by_number.len() + N_KEPT >= N_OWN || self.meet(&Lift::order(id)).is_err() {
                return;
            }
        }
    }

    /// The lifts with numbers of their own, by number.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &Lift)> {
        self.by_number.iter().map(|(number, lift)| (*number, lift))
    }

    /// Forgets all numbers but these. Only while no generation is loaded.
    pub fn retain(&mut self, is_kept: impl Fn(u8) -> bool) {
        self.by_number.retain(|number, _| is_kept(*number));
        self.by_lift.retain(|_, number| is_kept(*number));
    }

    /// Of the numbers that are usable, the one that lifts most of a lift and nothing else.
    pub fn best_within(&self, lift: &Lift, is_usable: impl Fn(u8) -> bool) -> u8 {
        let within = self
            .iter()
            .filter(|(number, known)| is_usable(*number) && known.is_within(lift));
        let best = within.max_by_key(|(number, known)| (known.weight(), std::cmp::Reverse(*number)));
        best.map_or(lift_key::NONE, |(number, _)| number)
    }

    /// The stored form.
    pub fn to_json(&self) -> anyhow::Result<Vec<u8>> {
        let stored = Stored {
            version: VERSION,
            keys: self.by_number.clone(),
        };
        serde_json::to_vec_pretty(&stored).context("cannot write the lift keys as JSON")
    }

    /// From the stored form.
    pub fn from_json(text: &str) -> anyhow::Result<Self> {
        let stored: Stored = serde_json::from_str(text).context("not a file of lift keys")?;
        ensure!(
            stored.version == VERSION,
            "version {} of lift keys: this cordon reads version {VERSION}",
            stored.version
        );
        let mut keys = Self::default();
        for (number, lift) in stored.keys {
            ensure!(
                number >= lift_key::FIRST_MET && keys.number(&lift).is_none(),
                "key {number} has a lift that has another number"
            );
            keys.by_lift.insert(lift.clone(), number);
            keys.by_number.insert(number, lift);
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_and_come_back_from_the_file() {
        let mut keys = Keys::default();
        assert_eq!(keys.meet(&Lift::ALL), Ok(lift_key::ALL));
        assert_eq!(keys.meet(&Lift::NOTHING), Ok(lift_key::NONE));
        let (a, b) = (Lift::order("a"), Lift::order("b"));
        keys.offer(["a", "b"]);
        assert_eq!((keys.number(&a), keys.number(&b)), (Some(3), Some(4)));
        assert_eq!(keys.meet(&a.union(&b)), Ok(5));
        keys.retain(|number| number != 3);
        assert_eq!(keys.number(&a), None);
        assert_eq!(
            keys.meet(&Lift::order("c")),
            Ok(3),
            "a number that nobody knows any more"
        );
        let text = String::from_utf8(keys.to_json().unwrap()).unwrap();
        assert_eq!(Keys::from_json(&text).unwrap(), keys);
        assert!(Keys::from_json("{}").is_err());
        assert!(Keys::from_json(&text.replace("\"version\": 1", "\"version\": 2")).is_err());
    }

    #[test]
    fn numbers_run_out_and_single_orders_leave_some() {
        let mut keys = Keys::default();
        let ids: Vec<String> = (0..400).map(|n| format!("order-{n}")).collect();
        keys.offer(ids.iter().map(String::as_str));
        let left = lift_key::N - usize::from(lift_key::FIRST_MET) - keys.iter().count();
        assert_eq!(left, N_KEPT);
        for id in ids.iter().rev().take(left) {
            assert!(keys.meet(&Lift::order(id)).is_ok());
        }
        assert_eq!(keys.meet(&Lift::order("one too many")), Err(KeysFull));
        assert!(keys.meet(&Lift::order("order-0")).is_ok(), "known");
    }

    #[test]
    fn the_best_known_lift_never_lifts_more_than_was_granted() {
        let mut keys = Keys::default();
        let [a, b, c] = ["a", "b", "c"].map(Lift::order);
        for lift in [&a, &b, &a.union(&b), &a.union(&c)] {
            keys.meet(lift).unwrap();
        }
        let granted = a.union(&b).union(&c);
        assert_eq!(keys.best_within(&granted, |_| true), 5);
        assert_eq!(keys.best_within(&granted, |number| number < 5), 3);
        assert_eq!(keys.best_within(&c, |_| true), lift_key::NONE);
    }
}
