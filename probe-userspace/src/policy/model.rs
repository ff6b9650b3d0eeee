//! The policy as parsed: plain data, every value with the place it was written at.

use std::{collections::BTreeMap, net::IpAddr, ops::RangeInclusive};

use ipnet::IpNet;
use probe_common::{Action, Decision};

use crate::{diagnostic::Place, instant::Instant};

/// Lists of prefixes that entries may name, by name: those of a bundle, or the files in `lists` beside a policy file.
pub type NamedLists = BTreeMap<String, Vec<IpNet>>;

/// What a policy's text refers to and does not hold itself.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// Lists that its entries may name.
    pub lists: NamedLists,
    /// What it is called if it does not say so itself; `None`: as its file.
    pub name: Option<String>,
}

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
    pub default: Decision,
    /// `unknown`, mandatory: for sources without a place in the data that no order mentions.
    pub unknown: Decision,
    /// `lan`, default pass: for private, shared and unique-local sources.
    pub lan: Decision,
    /// `replies`, default true: answers to connections that the host itself opened pass where they would drop.
    pub replies: bool,
    /// `[events]`: which verdicts are reported; `None`: none.
    pub events: Option<Events>,
    /// `[[tier]]`, in the order of the file: a [`Decision`]'s tier is the position here plus one.
    pub tiers: Vec<Tier>,
    /// `[[service]]`, in the order of the file.
    pub services: Vec<Service>,
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
    /// `action`: what holds when the phases are over.
    pub decision: Decision,
    /// `phases`: what holds before, ascending by their ends.
    pub phases: Vec<Phase>,
    /// `services`: positions in [`Policy::services`]; `None`: every port and destination.
    pub services: Option<Vec<usize>>,
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
    /// Every source there is, the LAN class too: no policy says this, only the halt of a service.
    AllSources,
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
    /// `until` (exclusive), mandatory unless there are phases; then the end of the last one.
    pub until: Located<Instant>,
    /// `phases`: what the orders it lifts do with it instead, ascending by their ends. Empty: they pass it.
    pub phases: Vec<Phase>,
    /// `orders`: the ids that it lifts. Absent: all orders, and the defaults too.
    pub orders: Option<Vec<Located<String>>>,
}

/// `[[test]]`.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// `address`.
    pub address: Located<IpAddr>,
    /// `expect`.
    pub expect: Decision,
    /// `to`, `protocol`, `port`, `interface`, `vlan`: where the packet goes; absent: to no service.
    pub heading: crate::compile::Heading,
    /// `at`: the instant to judge at; the moment of the check if absent.
    pub at: Option<Located<Instant>>,
}

/// A stretch of time with a decision of its own.
#[derive(Clone, Debug)]
pub struct Phase {
    /// `until` (exclusive).
    pub until: Located<Instant>,
    /// `action`.
    pub decision: Decision,
}

/// `[[tier]]`: an action with its parameters, under a name that rules use as their action.
#[derive(Clone, Debug)]
pub struct Tier {
    /// `name`, unique, none of the actions' names.
    pub name: Located<String>,
    /// `action` and what belongs to it.
    pub treatment: Treatment,
}

/// What a tier does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// `count`, `drain`, `reject`, `pass` and `drop`: a name for an action without parameters.
    Plain(Action),
    /// `mark`.
    Mark {
        /// `dscp`: 0 to 63, or a name of RFC 2474, 2597, 3246, 8622 (`cs1`, `af11`, `ef`, `le`).
        dscp: u8,
    },
    /// `limit`: at least one of the two rates.
    Limit {
        /// `packets_per_s`.
        packets_per_s: Option<u64>,
        /// `bytes_per_s`, L2 bytes.
        bytes_per_s: Option<u64>,
        /// `burst_packets`: how many may come at once; default: a tenth of a second's worth, at least 1.
        burst_packets: Option<u64>,
        /// `burst_bytes`; default: a tenth of a second's worth, at least 1,514.
        burst_bytes: Option<u64>,
        /// `per = "class"` instead of `"source"`.
        per_class: bool,
    },
    /// `redirect`.
    Redirect {
        /// `interface`.
        interface: Located<String>,
        /// `next_hop`: destination MAC address to write, with the interface's own as source; absent: unchanged.
        next_hop: Option<[u8; 6]>,
    },
}

/// `[[service]]`: what a packet is for. Each list that is given must match; a list matches if one element does.
#[derive(Clone, Debug)]
pub struct Service {
    /// `name`, unique.
    pub name: Located<String>,
    /// `interfaces` it comes in by; empty: any.
    pub interfaces: Vec<Located<String>>,
    /// `vlans`, outermost tag, 1 to 4094; `0` is untagged; empty: any.
    pub vlans: Vec<u16>,
    /// `destinations`; empty: any.
    pub destinations: Vec<IpNet>,
    /// `protocols`, by name or number; empty: any, or TCP and UDP if there are ports.
    pub protocols: Vec<u8>,
    /// `ports`, destination ports; empty: any.
    pub ports: Vec<RangeInclusive<u16>>,
}

/// `[events]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    /// `drops`: one in how many packets that do not plainly pass is reported; default 1.
    pub drops: u32,
    /// `passes`: one in how many packets that plainly pass is reported; default 0: none.
    pub passes: u32,
    /// `per_second`: cap per CPU; default 1,000.
    pub per_second: u32,
    /// `source`: leading bits told of an IPv4 and an IPv6 source. `"prefix"` (default) 24 and 48, `"full"` 32 and
    /// 128, `"none"` 0 and 0.
    pub source_bits: [u8; 2],
}
