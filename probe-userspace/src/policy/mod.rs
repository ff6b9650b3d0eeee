//! The policy language: what a policy file may say, and what it means. Pure: text in, [`Policy`] and
//! [`Diagnostic`](crate::diagnostic::Diagnostic)s out. No IO.
//!
//! `parse` is the top; `order`, `group`, `lists`, `tier`, `service`, `events`, `expectation` read its parts; `table`, `value`, `prefix` and `document` are the
//! layer below, shared with the host file.

mod action;
mod amend;
mod countries;
mod dead_rule;
pub(crate) mod document;
mod events;
mod expectation;
mod group;
mod groups;
pub mod limits;
mod listed;
mod lists;
mod model;
mod order;
mod parse;
mod phase;
pub(crate) mod prefix;
pub(crate) mod recovery;
pub(crate) mod service;
mod similar;
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod text;
mod tier;
pub(crate) mod value;

pub use amend::{Amendments, OrderLift, ServiceHalt, amend, halted_service};
pub(crate) use countries::similar_countries;
pub use countries::{Country, countries, find_country};
pub use groups::{BUILT_IN_GROUPS, BuiltInGroup};
pub use model::{
    Beside, Deny, Events, Exemption, Expectation, Located, NamedLists, Order, Phase, Policy, PrefixList,
    Rule, Selector, SelectorItem, Service, Tier, Treatment,
};
pub use parse::{named_lists, parse, parse_with};
pub(crate) use prefix::parse_prefix;
pub(crate) use similar::similar;
pub use text::{decode, utf8};
