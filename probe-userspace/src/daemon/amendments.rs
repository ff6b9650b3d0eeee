//! Lifts and halts of services as the state file holds them. Pure.
//!
//! What has ended stays written down until the next publish: what is pinned was compiled with it, and is recognised by
//! compiling it again.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    audit::Actor,
    diagnostic::Place,
    instant::Instant,
    policy::{Amendments, Located, OrderLift, Service, ServiceHalt},
};

/// What is changed in the policy in force, and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAmendments {
    /// The last change, Unix time in seconds: the images in force were not compiled before.
    pub changed_s: Option<u32>,
    /// Orders that do not hold.
    #[serde(default)]
    pub lifts: Vec<StoredLift>,
    /// Services that drop everything.
    #[serde(default)]
    pub halts: Vec<StoredServiceHalt>,
}

/// A lifted order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLift {
    /// Its id.
    pub order: String,
    /// End (exclusive), Unix time in seconds; absent: until it is ended.
    pub until_s: Option<u32>,
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: Actor,
    /// It has ended by itself, and that was recorded.
    #[serde(default)]
    pub is_over: bool,
}

/// A halted service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredServiceHalt {
    /// The service, as the policy described it then.
    pub service: StoredService,
    /// End (exclusive), Unix time in seconds; absent: until resumed.
    pub until_s: Option<u32>,
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: Actor,
    /// It has ended by itself, and that was recorded.
    #[serde(default)]
    pub is_over: bool,
}

/// A service. A policy that does not have it must not open it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredService {
    /// Name.
    pub name: String,
    /// Interfaces it comes in by.
    pub interfaces: Vec<String>,
    /// Outermost VLANs; 0 is untagged.
    pub vlans: Vec<u16>,
    /// Destinations.
    pub destinations: Vec<IpNet>,
    /// Protocols.
    pub protocols: Vec<u8>,
    /// First and last port of each range.
    pub ports: Vec<(u16, u16)>,
}

impl StoredAmendments {
    /// For the compiler.
    pub fn to_amendments(&self) -> Amendments {
        let lift = |lift: &StoredLift| OrderLift {
            order: lift.order.clone(),
            until: lift.until_s.map(Instant),
        };
        let halt = |halt: &StoredServiceHalt| ServiceHalt {
            service: halt.service.to_service(),
            until: halt.until_s.map(Instant),
            reason: halt.reason.clone(),
        };
        Amendments {
            lifts: self.lifts.iter().map(lift).collect(),
            halts: self.halts.iter().map(halt).collect(),
        }
    }

    /// The instant as of which a policy that was accepted then is compiled: whatever has begun or ended since, the image
    /// is the one that was published.
    pub fn as_of(&self, accepted: Instant, now: Instant) -> Instant {
        let changed = self.changed_s.map_or(accepted, Instant);
        // A later one: the clock was wrong then, or is now. What has not ended by now must be kept.
        accepted.max(changed).min(now)
    }

    /// Lifts in force.
    pub fn live_lifts(&self, now: Instant) -> impl Iterator<Item = &StoredLift> {
        self.lifts
            .iter()
            .filter(move |lift| !lift.is_over && is_live(lift.until_s, now))
    }

    /// Halts of services in force.
    pub fn live_halts(&self, now: Instant) -> impl Iterator<Item = &StoredServiceHalt> {
        self.halts
            .iter()
            .filter(move |halt| !halt.is_over && is_live(halt.until_s, now))
    }

    /// Whether the same is lifted and halted now.
    pub fn are_as_live_as(&self, other: &Self, now: Instant) -> bool {
        self.live_lifts(now).eq(other.live_lifts(now)) && self.live_halts(now).eq(other.live_halts(now))
    }

    /// Forgets what had ended when the images in force were compiled.
    pub fn forget_ended(&mut self, as_of: Instant) {
        self.lifts.retain(|lift| is_live(lift.until_s, as_of));
        self.halts.retain(|halt| is_live(halt.until_s, as_of));
    }

    /// Forgets the lifts of orders that the policy does not have; gives those that had not ended.
    pub fn forget_unknown(&mut self, orders: &[String], now: Instant) -> Vec<StoredLift> {
        let (known, unknown) = std::mem::take(&mut self.lifts)
            .into_iter()
            .partition(|lift| orders.contains(&lift.order));
        self.lifts = known;
        let unknown: Vec<StoredLift> = unknown;
        unknown
            .into_iter()
            .filter(|lift| !lift.is_over && is_live(lift.until_s, now))
            .collect()
    }

    /// Lifts an order, in place of an earlier lift.
    pub fn lift(&mut self, lift: StoredLift) {
        self.lifts.retain(|other| other.order != lift.order);
        self.lifts.push(lift);
    }

    /// Halts a service, in place of an earlier halt.
    pub fn halt(&mut self, halt: StoredServiceHalt) {
        self.halts.retain(|other| other.service.name != halt.service.name);
        self.halts.push(halt);
    }
}

fn is_live(until_s: Option<u32>, now: Instant) -> bool {
    until_s.is_none_or(|until_s| until_s > now.0)
}

impl StoredService {
    /// As the policy describes it.
    pub fn of(service: &Service) -> Self {
        Self {
            name: service.name.value.clone(),
            interfaces: service.interfaces.iter().map(|name| name.value.clone()).collect(),
            vlans: service.vlans.clone(),
            destinations: service.destinations.clone(),
            protocols: service.protocols.clone(),
            ports: service
                .ports
                .iter()
                .map(|range| (*range.start(), *range.end()))
                .collect(),
        }
    }

    fn to_service(&self) -> Service {
        let located = |value: &String| Located {
            value: value.clone(),
            place: Place::file("the state file"),
        };
        Service {
            name: located(&self.name),
            interfaces: self.interfaces.iter().map(located).collect(),
            vlans: self.vlans.clone(),
            destinations: self.destinations.clone(),
            protocols: self.protocols.clone(),
            ports: self.ports.iter().map(|(first, last)| *first..=*last).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lift(order: &str, until_s: Option<u32>) -> StoredLift {
        StoredLift {
            order: order.to_owned(),
            until_s,
            reason: "appeal".to_owned(),
            actor: Actor::Daemon,
            is_over: false,
        }
    }

    fn halt(name: &str, until_s: Option<u32>) -> StoredServiceHalt {
        StoredServiceHalt {
            service: StoredService {
                name: name.to_owned(),
                interfaces: vec!["eth0".to_owned()],
                vlans: vec![0, 7],
                destinations: vec!["192.0.2.0/24".parse().unwrap()],
                protocols: vec![6],
                ports: vec![(80, 81), (443, 443)],
            },
            until_s,
            reason: "drill".to_owned(),
            actor: Actor::Local { uid: 0 },
            is_over: false,
        }
    }

    #[test]
    fn what_is_stored_comes_back_and_a_service_keeps_its_description() {
        let mut stored = StoredAmendments {
            changed_s: Some(7),
            ..StoredAmendments::default()
        };
        stored.lift(lift("EU-1", Some(100)));
        stored.lift(lift("EU-1", None));
        stored.halt(halt("web", Some(100)));
        let text = serde_json::to_string(&stored).unwrap();
        assert_eq!(serde_json::from_str::<StoredAmendments>(&text).unwrap(), stored);
        let amendments = stored.to_amendments();
        assert_eq!(
            amendments.lifts.len(),
            1,
            "the later lift is in the earlier one's place"
        );
        assert_eq!(amendments.lifts[0].until, None);
        let service = &amendments.halts[0].service;
        assert_eq!(StoredService::of(service), stored.halts[0].service);
    }

    #[test]
    fn what_is_over_makes_no_difference_and_what_is_not_does() {
        let mut then = StoredAmendments::default();
        then.lift(lift("A", Some(50)));
        let now = StoredAmendments::default();
        assert!(!then.are_as_live_as(&now, Instant(49)));
        assert!(then.are_as_live_as(&now, Instant(50)));
        let mut longer = StoredAmendments::default();
        longer.lift(lift("A", Some(60)));
        assert!(!then.are_as_live_as(&longer, Instant(49)));
        let mut halted = StoredAmendments::default();
        halted.halt(halt("web", None));
        assert!(!now.are_as_live_as(&halted, Instant(50)));
        assert!(halted.are_as_live_as(&halted.clone(), Instant(50)));
    }

    #[test]
    fn images_are_compiled_as_of_the_last_change() {
        let as_of = |changed_s, accepted, now| {
            let stored = StoredAmendments {
                changed_s,
                ..StoredAmendments::default()
            };
            stored.as_of(Instant(accepted), Instant(now)).0
        };
        assert_eq!(as_of(None, 10, 100), 10);
        assert_eq!(as_of(Some(20), 10, 100), 20);
        assert_eq!(as_of(Some(5), 10, 100), 10, "a policy applied later");
        assert_eq!(as_of(Some(20), 10, 15), 15, "a clock that is wrong");
    }

    #[test]
    fn what_ended_is_forgotten_and_so_is_what_the_policy_does_not_have() {
        let mut stored = StoredAmendments::default();
        for (order, until_s) in [("A", None), ("B", Some(50)), ("C", Some(100))] {
            stored.lift(lift(order, until_s));
        }
        stored.halt(halt("web", Some(50)));
        assert_eq!(stored.live_lifts(Instant(50)).count(), 2);
        assert_eq!(stored.live_halts(Instant(49)).count(), 1);
        stored.forget_ended(Instant(49));
        assert_eq!((stored.lifts.len(), stored.halts.len()), (3, 1));
        stored.forget_ended(Instant(50));
        assert_eq!((stored.lifts.len(), stored.halts.len()), (2, 0));
        stored.lifts[0].is_over = true;
        assert_eq!(
            stored.live_lifts(Instant(0)).count(),
            1,
            "what is over stays over"
        );
        stored.lifts[0].is_over = false;
        let dropped = stored.forget_unknown(&["A".to_owned()], Instant(60));
        assert_eq!(dropped, [lift("C", Some(100))]);
        assert_eq!(stored.lifts, [lift("A", None)]);
    }
}
