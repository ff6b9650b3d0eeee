//! Amendments: what is changed in a policy from outside, for a time. The amended policy is compiled and published like any
//! other, so the kernel itself ends an amendment at its instant.

use probe_common::Decision;

use super::{Located, Order, Policy, Rule, Selector, Service};
use crate::{diagnostic::Place, instant::Instant};

/// The order that halts a service is called so, and then by the service. No policy has such an id: it holds blanks.
const HALT_OF: &str = "halt of ";

/// What is changed.
#[derive(Clone, Debug, Default)]
pub struct Amendments {
    /// Orders that do not hold.
    pub lifts: Vec<OrderLift>,
    /// Services that drop everything.
    pub halts: Vec<ServiceHalt>,
}

/// An order that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderLift {
    /// Its id.
    pub order: String,
    /// From this instant on it holds again; `None`: not by itself.
    pub until: Option<Instant>,
}

/// A service that drops everything.
#[derive(Clone, Debug)]
pub struct ServiceHalt {
    /// The service. A policy that has one of this name halts its own; for another one this is what is halted.
    pub service: Service,
    /// From this instant on the orders decide again; `None`: not by itself.
    pub until: Option<Instant>,
    /// Why.
    pub reason: String,
}

impl Amendments {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.lifts.is_empty() && self.halts.is_empty()
    }
}

/// The policy as amended. What is over at `as_of` changes nothing; orders that the policy does not have are not lifted.
pub fn amend(mut policy: Policy, amendments: &Amendments, as_of: Instant) -> Policy {
    let is_live = |until: Option<Instant>| until.is_none_or(|until| until > as_of);
    for lift in amendments.lifts.iter().filter(|lift| is_live(lift.until)) {
        let lifted = policy.orders.iter_mut();
        for order in lifted.filter(|order| order.id.value == lift.order) {
            lift_until(order, lift.until);
        }
    }
    for halt in amendments.halts.iter().filter(|halt| is_live(halt.until)) {
        add_halt(&mut policy, halt);
    }
    policy
}

/// The service that an order of an amended policy halts; `None`: it is an order of the policy's own.
pub fn halted_service(order: &str) -> Option<&str> {
    order.strip_prefix(HALT_OF)
}

/// An order that is lifted takes effect only when the lift ends. One that is lifted for good is over.
fn lift_until(order: &mut Order, until: Option<Instant>) {
    let place = order.id.place.clone();
    match until {
        Some(until) => {
            let effective = order.effective.take();
            let later = effective.map_or(until, |effective| effective.value.max(until));
            order.effective = Some(Located { value: later, place });
        }
        None => {
            order.until = Some(Located {
                value: Instant(0),
                place,
            });
        }
    }
}

fn add_halt(policy: &mut Policy, halt: &ServiceHalt) {
    let name = &halt.service.name.value;
    let known = policy
        .services
        .iter()
        .position(|service| service.name.value == *name);
    let service = known.unwrap_or_else(|| {
        policy.services.push(halt.service.clone());
        policy.services.len() - 1
    });
    let place = Place::file(&policy.file);
    policy.orders.push(Order {
        id: Located {
            value: format!("{HALT_OF}{name}"),
            place: place.clone(),
        },
        authority: halt.reason.clone(),
        effective: None,
        until: halt.until.map(|value| Located {
            value,
            place: place.clone(),
        }),
        rules: vec![Rule {
            place,
            decision: Decision::DROP,
            phases: Vec::new(),
            services: Some(vec![service]),
            selector: Selector::AllSources,
            no_exemptions: true,
        }],
    });
}
