//! The policy language: what a policy file may say, and what it means. Pure: text in, [`Policy`] and
//! [`Diagnostic`](crate::diagnostic::Diagnostic)s out. No IO.

mod countries;
mod groups;
mod model;
mod parse;

pub use countries::{Country, countries, find_country};
pub use groups::{BUILT_IN_GROUPS, BuiltInGroup};
pub use model::{
    Deny, Exemption, Expectation, Located, Order, Policy, PrefixList, Rule, Selector, SelectorItem,
};
pub use parse::parse;
