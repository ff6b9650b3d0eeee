//! Signed directives: the same verbs as on the command line, with those who signed as their author.

use super::{Engine, push::Genuine};
use crate::{
    bundle::{
        Reason,
        directive::{Directive, Orders},
        freshness::Freshness,
    },
    daemon::{
        Refusal,
        api::{HaltRequest, LiftRequest, PushOutcome, Pushed, ResumeRequest, UnliftRequest},
    },
    instant::Instant,
};

impl Engine {
    pub(super) fn push_directive(&mut self, genuine: &Genuine<'_>) -> Result<Pushed, Refusal> {
        let Some(directive) = &genuine.bundle.directive else {
            return Err(Refusal::failed("a directive without one"));
        };
        if matches!(genuine.freshness, Freshness::Idle { .. }) {
            return Ok(genuine.answer(PushOutcome::Idle));
        }
        let result = self.follow(directive, genuine);
        match result {
            Ok(()) => {}
            // The host is as it was: the same directive may come again, so it is not marked as taken.
            Err(refusal) if refusal.reason.is_some() => return Err(refusal),
            Err(refusal) if refusal.status == 500 => {
                // It acted as far as it could, and says what is missing.
                self.raise_mark(genuine);
                return Err(refusal);
            }
            Err(refusal) => return Err(refusal.because(Reason::CannotFollow)),
        }
        self.raise_mark(genuine);
        tracing::info!(actor = %genuine.signers, %directive, "followed");
        Ok(Pushed {
            followed: Some(directive.to_string()),
            ..genuine.answer(PushOutcome::Accepted)
        })
    }

    /// One directive, one verb.
    fn follow(&mut self, directive: &Directive, genuine: &Genuine<'_>) -> Result<(), Refusal> {
        let signers = &genuine.signers;
        match directive {
            Directive::Halt {
                service,
                until,
                reason,
            } => {
                let request = HaltRequest {
                    service: service.clone(),
                    for_s: until.map(|until| self.span_until(until, genuine)).transpose()?,
                    reason: reason.clone(),
                    override_lockout: genuine.query.override_lockout,
                    ssh_peer: genuine.query.ssh_peer,
                };
                self.halt(&request, signers).map(drop)
            }
            Directive::Resume { service, .. } => {
                let request = ResumeRequest {
                    service: service.clone(),
                };
                self.resume(&request, signers).map(drop)
            }
            Directive::Lift {
                orders,
                until,
                reason,
            } => {
                let request = LiftRequest {
                    order: one_of(orders),
                    all: one_of(orders).is_none(),
                    for_s: until.map(|until| self.span_until(until, genuine)).transpose()?,
                    reason: reason.clone(),
                };
                self.lift(&request, signers).map(drop)
            }
            Directive::Unlift { orders, .. } => {
                let request = UnliftRequest {
                    order: one_of(orders),
                    all: one_of(orders).is_none(),
                };
                self.unlift(&request, signers).map(drop)
            }
            Directive::Exempt(_) => Err(genuine.rejected(
                Reason::CannotFollow,
                format!("this cordon does not follow `{}` directives", directive.name()),
                "install a newer cordon on this host",
            )),
        }
    }

    /// Seconds from now to the end that was signed. One that is over would do nothing.
    fn span_until(&self, until: Instant, genuine: &Genuine<'_>) -> Result<u64, Refusal> {
        match until.0.checked_sub(genuine.now.0) {
            Some(seconds @ 1..) => Ok(u64::from(seconds)),
            _ => Err(genuine.rejected(
                Reason::Expired,
                format!(
                    "the directive would have ended on {until}: now it is {}",
                    genuine.now
                ),
                "sign one with a later `until`",
            )),
        }
    }
}

/// The one order; `None`: all of them.
fn one_of(orders: &Orders) -> Option<String> {
    match orders {
        Orders::All => None,
        Orders::One(id) => Some(id.clone()),
    }
}
