//! Lift and unlift: an order's rules do not hold for a time, and nothing else changes.

use std::collections::BTreeSet;

use probe_common::{profile, scope::MAY};

use super::{
    Engine,
    amend::{Change, lifted, own_orders, unknown_policy},
    halt::end_of,
    status::instant_text,
};
use crate::{
    audit::{Actor, Event},
    bundle::trust::{TrustDirectory, Verb},
    compile::Image,
    daemon::{
        Refusal,
        amendments::{StoredAmendments, StoredLift},
        api::{LiftReply, LiftRequest, Lifted, UnliftReply, UnliftRequest},
    },
    instant::Instant,
};

/// Most instants that are compared.
const MAX_INSTANTS: usize = 64;

/// Most places named that a lift would close.
const MAX_NAMED: usize = 5;

impl Engine {
    pub(super) fn lift(&mut self, request: &LiftRequest, actor: &Actor) -> Result<LiftReply, Refusal> {
        if request.reason.trim().is_empty() {
            return Err(Refusal::input("a lift needs a reason: --reason TEXT", Vec::new()));
        }
        let until = request.for_s.map(|for_s| end_of("a lift", for_s)).transpose()?;
        if request.all {
            // The first key may have been trusted since the last look.
            self.look_at_trust();
        }
        let orders = self.orders_to_lift(request, actor)?;
        self.check_lift(&orders)?;

        let mut next = self.host_state.amendments.clone();
        for order in &orders {
            next.lift(StoredLift {
                order: order.clone(),
                until_s: until.map(|until| until.0),
                reason: request.reason.clone(),
                actor: actor.clone(),
                is_over: false,
            });
        }
        let amended = self.amended(next)?;
        let unchanged = self.amended(self.host_state.amendments.clone())?;
        refuse_to_close(unchanged.image(), amended.image())?;
        for order in &orders {
            let event = Event::Lift {
                order: Some(order.clone()),
                until: until.map(instant_text),
                reason: request.reason.clone(),
            };
            self.record_first(actor, &event)?;
        }
        self.exchange_for(amended, Change::Opens)?;
        tracing::info!(
            %actor,
            orders = orders.join(", "),
            reason = request.reason,
            until = until.map(tracing::field::display),
            "lifted"
        );
        let stored = &self.host_state.amendments;
        let is_new = |lift: &&StoredLift| orders.contains(&lift.order);
        Ok(LiftReply {
            lifted: stored.lifts.iter().filter(is_new).map(lifted).collect(),
            problems: self.problems.texts(),
        })
    }

    pub(super) fn unlift(&mut self, request: &UnliftRequest, actor: &Actor) -> Result<UnliftReply, Refusal> {
        let lifts = self.lifts();
        let ended: Vec<Lifted> = match (&request.order, request.all) {
            (None, true) => lifts,
            (Some(order), false) => {
                let ids: Vec<String> = lifts.iter().map(|lift| lift.order.clone()).collect();
                match lifts.into_iter().find(|lift| lift.order == *order) {
                    Some(lift) => vec![lift],
                    None => {
                        return Err(Refusal::conflict(format!(
                            "order \"{order}\" is not lifted; {}",
                            named("lifted are", &ids)
                        )));
                    }
                }
            }
            _ => return Err(one_of_both()),
        };
        if !ended.is_empty() {
            let mut next: StoredAmendments = self.host_state.amendments.clone();
            next.lifts
                .retain(|lift| !ended.iter().any(|ended| ended.order == lift.order));
            let amended = self.amended(next)?;
            self.exchange_for(amended, Change::Closes)?;
        }
        for lift in &ended {
            let event = Event::Unlift {
                order: Some(lift.order.clone()),
                ended: false,
            };
            self.record(actor, &event);
        }
        Ok(UnliftReply {
            ended,
            problems: self.problems.texts(),
        })
    }

    fn orders_to_lift(&self, request: &LiftRequest, actor: &Actor) -> Result<Vec<String>, Refusal> {
        let in_force = self.in_force.as_ref().ok_or_else(unknown_policy)?;
        let known = own_orders(&in_force.image);
        match (&request.order, request.all) {
            (Some(order), false) if known.contains(order) => Ok(vec![order.clone()]),
            (Some(order), false) => Err(Refusal::input(
                format!(
                    "the policy in force has no order \"{order}\"; {}",
                    named("it has", &known)
                ),
                Vec::new(),
            )),
            (None, true) => {
                self.may_lift_all(actor)?;
                match known.is_empty() {
                    true => Err(Refusal::conflict(
                        "there is nothing to lift: the policy in force has no orders",
                    )),
                    false => Ok(known),
                }
            }
            _ => Err(one_of_both()),
        }
    }

    /// Every order at once takes more than one hand: enough signatures, or root where nothing has to be signed.
    fn may_lift_all(&self, actor: &Actor) -> Result<(), Refusal> {
        let trust = TrustDirectory::new(&self.settings.state_dir.join("keys")).read()?;
        let needed = trust.rules().threshold(Verb::LiftAll);
        check_votes(actor, needed, self.is_managed())
            .map_err(|why| Refusal::with_status(403, format!("lifting every order {why}")))
    }

    /// While something is halted, or a policy may be reverted, nothing is opened.
    fn check_lift(&self, orders: &[String]) -> Result<(), Refusal> {
        let state = self.dataplane.state().map_err(Refusal::failed)?;
        if state.halted.is_some() {
            return Err(Refusal::conflict(
                "the host is halted, and nothing is lifted meanwhile: run `cordon resume` first",
            ));
        }
        if state.confirm_left_s.is_some() {
            return Err(Refusal::conflict(
                "a policy waits for confirmation, and nothing is lifted meanwhile: run `cordon confirm` first, or wait \
                 until it is reverted",
            ));
        }
        let Some(in_force) = &self.in_force else {
            return Ok(());
        };
        for halt in self.host_state.amendments.live_halts(Instant::now()) {
            let name = &halt.service.name;
            if let Some(order) = orders.iter().find(|order| covers(&in_force.image, order, name)) {
                return Err(Refusal::conflict(format!(
                    "order {order} is about service {name} too, which is halted, and nothing is lifted meanwhile: run \
                     `cordon resume --service {name}` first"
                )));
            }
        }
        Ok(())
    }
}

/// An order that passes what the policy drops by default: without it, somebody would be cut off by a verb that opens.
fn refuse_to_close(before: &Image, after: &Image) -> Result<(), Refusal> {
    let closed = closed_by(before, after, Instant::now());
    if closed.is_empty() {
        return Ok(());
    }
    let (first, rest) = closed.split_at(closed.len().min(MAX_NAMED));
    let more = match rest.len() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    Err(Refusal::conflict(format!(
        "nothing was lifted: without it, the policy is stricter with {}{more}, and a lift closes nothing. Apply a policy \
         without the order, if that is what you want",
        first.join(", ")
    )))
}

fn check_votes(actor: &Actor, needed: usize, is_managed: bool) -> Result<(), String> {
    match actor {
        Actor::Signed { keys, .. } => {
            let n = keys.iter().collect::<BTreeSet<_>>().len();
            match n >= needed {
                true => Ok(()),
                false => Err(format!("takes {needed} signatures: this bundle has {n}")),
            }
        }
        Actor::Local { uid: 0 } if !is_managed => Ok(()),
        Actor::Local { .. } if !is_managed => Err("takes root: lift one order after the other".to_owned()),
        Actor::Local { .. } | Actor::Daemon => Err(format!(
            "takes {needed} signatures, because this host takes signed bundles only: lift one order after the other, or \
             have it signed"
        )),
    }
}

fn one_of_both() -> Refusal {
    Refusal::input(
        "name one order, or say that all are meant (--order ID, --all)",
        Vec::new(),
    )
}

/// `it has a, b`.
pub(super) fn named(what: &str, names: &[String]) -> String {
    match names.is_empty() {
        true => format!("{what} none"),
        false => format!("{what} {}", names.join(", ")),
    }
}

/// Whether an order says anything about packets for a service.
fn covers(image: &Image, order: &str, service: &str) -> bool {
    let Some(order) = image.orders.iter().find(|known| known.id == order) else {
        return false;
    };
    let Some(bit) = image.scopes.services.iter().position(|name| name == service) else {
        return false;
    };
    // Not those of packets that only may be for it: they may be for anything.
    let mut rows = image
        .scopes
        .rows
        .iter()
        .filter(|(set, _)| set & MAY == 0 && set >> bit & 1 == 1);
    let classes = 0..image.location.classes.len() as u16;
    rows.any(|(_, row)| {
        let mut classes = classes.clone();
        classes.any(|class| order.decision(*row, class, Instant::now()).is_some())
    })
}

/// The classes with which the second image is stricter than the first, now or at any instant at which one of them
/// changes.
fn closed_by(before: &Image, after: &Image, now: Instant) -> Vec<String> {
    let stages = before.stages.iter().chain(&after.stages);
    let mut instants: Vec<Instant> = stages
        .flat_map(|stages| stages.until_s)
        .filter(|until_s| *until_s > now.0)
        .map(Instant)
        .collect();
    instants.push(now);
    instants.sort_unstable();
    instants.dedup();
    instants.truncate(MAX_INSTANTS);
    let n_rows = before.matrix.cells.len() / (before.matrix.n_classes * before.matrix.n_profiles).max(1);
    let is_closed = |class: u16| {
        (0..n_rows as u32).any(|row| {
            let action = |image: &Image, at| image.decision(row, profile::ALL_ORDERS, class, at).action();
            instants.iter().any(|at| action(after, *at) > action(before, *at))
        })
    };
    (0..before.location.classes.len() as u16)
        .filter(|class| is_closed(*class))
        .map(|class| before.location.classes.name(class).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_takes_distinct_keys_or_root_where_nothing_is_signed() {
        let signed = |keys: &[&str]| Actor::Signed {
            keys: keys.iter().map(ToString::to_string).collect(),
            bundle: String::new(),
        };
        let root = Actor::Local { uid: 0 };
        assert!(check_votes(&root, 2, false).is_ok());
        assert!(check_votes(&root, 2, true).is_err());
        let refused = check_votes(&Actor::Local { uid: 1000 }, 2, false);
        assert!(refused.unwrap_err().contains("takes root"));
        for (n_signed, is_enough) in [(1, false), (2, false), (3, true)] {
            let keys = &["A", "B", "C"][..n_signed];
            assert_eq!(
                check_votes(&signed(keys), 3, true).is_ok(),
                is_enough,
                "{n_signed}"
            );
        }
        assert!(check_votes(&signed(&["A", "B"]), 2, true).is_ok());
        assert!(check_votes(&signed(&["A", "B"]), 3, true).is_err());
        let refused = check_votes(&signed(&["A", "A"]), 2, true);
        assert_eq!(refused, Err("takes 2 signatures: this bundle has 1".to_owned()));
        assert!(check_votes(&Actor::Daemon, 2, true).is_err());
    }
}
