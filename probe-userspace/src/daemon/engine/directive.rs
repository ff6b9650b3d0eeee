//! Signed directives: the same verbs as on the command line, with those who signed as their author.

use ipnet::IpNet;

use super::{Engine, push::Genuine};
use crate::{
    audit::Actor,
    bundle::{
        Kind, Reason,
        directive::{Directive, Exempt, ExemptChange, Orders},
        freshness::Freshness,
    },
    daemon::{
        Refusal,
        api::{AddRequest, HaltRequest, LiftRequest, PushOutcome, Pushed, ResumeRequest, UnliftRequest},
    },
    exemption::Written,
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
        let opens = opens(directive);
        let before = self.marks.reached().mark(Kind::Directive).cloned();
        if opens {
            // Else one that opened could come again, when somebody has closed since.
            self.raise_mark_first(genuine)?;
        }
        match self.follow(directive, genuine) {
            Ok(()) => self.raise_mark(genuine),
            Err(refusal) if refusal.has_acted => {
                // As far as it could; it says what is missing.
                self.raise_mark(genuine);
                return Err(refusal);
            }
            Err(refusal) => {
                // The host is as it was: the same directive may come again, so it is not marked as taken.
                if opens {
                    self.take_back_mark(Kind::Directive, before);
                }
                return Err(match (&refusal.reason, refusal.status) {
                    // The host's fault, not that of the directive.
                    (None, 500..) | (Some(_), _) => refusal,
                    (None, _) => refusal.because(Reason::CannotFollow),
                });
            }
        }
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
            Directive::Exempt(exempt) => self.follow_exempt(exempt, signers),
        }
    }

    /// All of its prefixes, or none.
    fn follow_exempt(&mut self, exempt: &Exempt, signers: &Actor) -> Result<(), Refusal> {
        let Exempt {
            reference, prefixes, ..
        } = exempt;
        let endless = || Refusal::failed("a directive that exempts without an end");
        match exempt.change {
            ExemptChange::Add => {
                let until = exempt.until.ok_or_else(endless)?;
                let written = |prefix: &IpNet| Written {
                    prefix: prefix.to_string(),
                    reference: reference.clone(),
                    reason: exempt.reason.clone(),
                    approver: exempt.approver.clone(),
                    until: Some(until.to_string()),
                    orders: exempt.orders.clone(),
                    services: exempt.services.clone(),
                    wide: exempt.wide,
                    ..Written::default()
                };
                let request = AddRequest {
                    exemptions: prefixes.iter().map(written).collect(),
                };
                self.add_exemptions(&request, signers).map(drop)
            }
            ExemptChange::Renew => {
                let until = exempt.until.ok_or_else(endless)?;
                self.renew_all(reference, prefixes, until, signers).map(drop)
            }
            ExemptChange::Remove => self.remove_all(Some(reference), prefixes, signers).map(drop),
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

/// Whether following it lets packets pass that were dropped.
fn opens(directive: &Directive) -> bool {
    match directive {
        Directive::Resume { .. } | Directive::Lift { .. } => true,
        Directive::Halt { .. } | Directive::Unlift { .. } => false,
        Directive::Exempt(exempt) => exempt.change != ExemptChange::Remove,
    }
}

/// The one order; `None`: all of them.
fn one_of(orders: &Orders) -> Option<String> {
    match orders {
        Orders::All => None,
        Orders::One(id) => Some(id.clone()),
    }
}
