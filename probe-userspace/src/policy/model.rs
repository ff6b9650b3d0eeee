//! The policy as parsed: plain data, every value with the place it was written at.

use std::net::IpAddr;

use ipnet::IpNet;
use probe_common::Action;

use crate::{diagnostic::Place, instant::Instant};

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

/// A whole policy file (language version 1).
#[derive(Clone, Debug)]
pub struct Policy {
    /// The file as the user named it.
    pub file: String,
    /// `name`; the file's stem if absent.
    pub name: String,
    /// `default`: for sources that no order mentions.
    pub default: Action,
    /// `unknown`, mandatory: for sources without a place in the data that no order mentions.
    pub unknown: Action,
    /// `lan`, default pass: for private, shared and unique-local sources.
    pub lan: Action,
    /// `[[order]]`, in the order of the file.
    pub orders: Vec<Order>,
    /// `[[allow]]`: prefixes that no order and no default stops.
    pub allows: Vec<PrefixList>,
    /// `[[deny]]`: prefixes that are always dropped.
    pub denies: Vec<Deny>,
    /// `[[exemption]]`: customers for whom some orders do not hold.
    pub exemptions: Vec<Exemption>,
    /// `[[test]]`: what must hold before anything is published.
    pub tests: Vec<Expectation>,
}

/// An authority's directive, with its own dates. The first rule that matches a class decides for the order;
/// across orders the strictest action wins.
#[derive(Clone, Debug)]
pub struct Order {
    /// `id`, unique in the file.
    pub id: Located<String>,
    /// `authority`: who gave it.
    pub authority: String,
    /// `effective`: holds from this instant on; from always if absent.
    pub effective: Option<Located<Instant>>,
    /// `until`: holds up to this instant (exclusive); for ever if absent.
    pub until: Option<Located<Instant>>,
    /// `[[order.rule]]`, first match wins.
    pub rules: Vec<Rule>,
}

/// Places and what to do with packets from there.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Where the rule starts.
    pub place: Place,
    /// `action`.
    pub action: Action,
    /// `countries`, `groups` or `everywhere`.
    pub selector: Selector,
    /// `no_exemptions`: holds for exempt sources and allowed prefixes too.
    pub no_exemptions: bool,
}

/// What a rule matches.
#[derive(Clone, Debug)]
pub enum Selector {
    /// `everywhere = true`: every place and unknown sources; not the LAN class.
    Everywhere,
    /// Countries, named or by group; groups are expanded.
    Places(Vec<SelectorItem>),
}

/// One country code of a selector, upper case, aliases resolved (UK is GB).
#[derive(Clone, Debug)]
pub struct SelectorItem {
    /// The code, as databases write it.
    pub code: String,
    /// Where it, or the group that brought it in, was written.
    pub place: Place,
    /// The group that brought it in.
    pub group: Option<String>,
}

/// `[[allow]]`.
#[derive(Clone, Debug)]
pub struct PrefixList {
    /// `prefixes`.
    pub prefixes: Vec<Located<IpNet>>,
    /// `reason`.
    pub reason: String,
    /// `until` (exclusive).
    pub until: Option<Located<Instant>>,
}

/// `[[deny]]`: the same fields as an allow list, the opposite meaning.
pub type Deny = PrefixList;

/// `[[exemption]]`.
#[derive(Clone, Debug)]
pub struct Exemption {
    /// `prefixes`.
    pub prefixes: Vec<Located<IpNet>>,
    /// `reference`: the customer's or case's number.
    pub reference: String,
    /// `reason`.
    pub reason: String,
    /// `until` (exclusive), mandatory.
    pub until: Located<Instant>,
    /// `orders`: the ids that it lifts. Absent: all orders, and the defaults too.
    pub orders: Option<Vec<Located<String>>>,
}

/// `[[test]]`.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// `address`.
    pub address: Located<IpAddr>,
    /// `expect`.
    pub expect: Action,
    /// `at`: the instant to judge at; the moment of the check if absent.
    pub at: Option<Located<Instant>>,
}
