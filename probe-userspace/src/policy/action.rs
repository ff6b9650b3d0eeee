//! `action` and whatever else takes one: the name of an action, or of a `[[tier]]`.

use std::{cell::Cell, collections::BTreeMap};

use probe_common::{Action, Decision};
use toml::de::DeValue;

use super::{
    document::Document,
    similar::similar,
    table::{Item, wrong_type},
};
use crate::diagnostic::{Diagnostic, Place};

/// Actions that need no parameters.
const PLAIN: &[Action] = &[
    Action::Pass,
    Action::Count,
    Action::Drain,
    Action::Reject,
    Action::Drop,
];

/// Words of other firewalls.
const SYNONYMS: &[(&str, Action)] = &[
    ("allow", Action::Pass),
    ("accept", Action::Pass),
    ("permit", Action::Pass),
    ("deny", Action::Drop),
    ("block", Action::Drop),
    ("discard", Action::Drop),
    ("ban", Action::Drop),
    ("log", Action::Count),
    ("monitor", Action::Count),
    ("refuse", Action::Reject),
    ("reset", Action::Reject),
    ("tag", Action::Mark),
    ("dscp", Action::Mark),
    ("throttle", Action::Limit),
    ("ratelimit", Action::Limit),
    ("rate-limit", Action::Limit),
    ("police", Action::Limit),
    ("forward", Action::Redirect),
];

/// What a rule may name as its action: the actions themselves, and the policy's tiers.
#[derive(Default)]
pub(super) struct Actions {
    tiers: BTreeMap<String, Named>,
}

/// A tier as rules see it.
pub(super) struct Named {
    /// What it stands for; `None` if the tier has errors.
    pub decision: Option<Decision>,
    /// Its action, as far as that could be read.
    pub action: Option<Action>,
    /// Where its name stands.
    pub place: Place,
    /// Whether something named it.
    pub is_used: Cell<bool>,
}

impl Actions {
    /// Adds a tier.
    pub fn add(&mut self, name: String, named: Named) {
        self.tiers.insert(name, named);
    }

    /// The tier of a name.
    pub fn tier(&self, name: &str) -> Option<&Named> {
        self.tiers.get(name)
    }

    /// Reads an action.
    pub fn read(&self, document: &mut Document<'_>, item: Item<'_>) -> Option<Decision> {
        let DeValue::String(word) = item.node.get_ref() else {
            wrong_type(
                document,
                item,
                "the name of an action or of a tier",
                &item.quoted("pass"),
            );
            return None;
        };
        if let Some(named) = self.tiers.get(word.as_ref()) {
            named.is_used.set(true);
            return named.decision;
        }
        let action = Action::ALL.iter().find(|action| action.name() == word);
        match action {
            Some(action) if PLAIN.contains(action) => return Some(Decision::new(*action)),
            Some(action) => self.needs_a_tier(document, item, *action),
            None => self.unknown(document, item, word),
        }
        None
    }

    /// Remarks on tiers that nothing names.
    pub fn remark_unused(&self, document: &mut Document<'_>) {
        for (name, named) in &self.tiers {
            if !named.is_used.get() && named.decision.is_some() {
                document.remark(Diagnostic::warning(
                    named.place.clone(),
                    name,
                    "nothing uses this tier",
                    format!("remove it, or name it in a rule: `action = \"{name}\"`"),
                ));
            }
        }
    }

    fn needs_a_tier(&self, document: &mut Document<'_>, item: Item<'_>, action: Action) {
        let fitting = self.tiers.iter().find(|(_, named)| named.action == Some(action));
        let fix = match fitting {
            Some((name, _)) => format!("name a tier that does it: {}", quoted_pair(item, name)),
            None => format!("define one, {}, and name it here", example(action)),
        };
        document.error(
            item.node,
            format!(
                "`{}` has parameters, so it is named through a `[[tier]]`",
                action.name()
            ),
            fix,
        );
    }

    fn unknown(&self, document: &mut Document<'_>, item: Item<'_>, word: &str) {
        let plain: Vec<&str> = PLAIN.iter().map(|action| action.name()).collect();
        let message = format!(
            "`{}` must be {} or the name of a `[[tier]]`",
            item.key,
            plain
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        );
        let synonym = SYNONYMS
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(word));
        let fix = match synonym {
            Some((_, action)) if PLAIN.contains(action) => item.quoted(action.name()),
            Some((_, action)) => format!(
                "the action is called `{}`; define a tier for it, {}",
                action.name(),
                example(*action)
            ),
            None => {
                let names = self.tiers.keys().map(String::as_str).chain(plain.iter().copied());
                match similar(word, names) {
                    Some(close) => item.quoted(close),
                    None => format!("choose one of them, as in {}", quoted_pair(item, "pass")),
                }
            }
        };
        document.error(item.node, message, fix);
    }
}

fn quoted_pair(item: Item<'_>, value: &str) -> String {
    format!("`{} = \"{value}\"`", item.key)
}

/// A tier of an action, as a policy would write it.
fn example(action: Action) -> String {
    let parameters = match action {
        Action::Mark => "dscp = \"le\"",
        Action::Limit => "packets_per_s = 100",
        Action::Redirect => "interface = \"eth1\"",
        Action::Pass | Action::Count | Action::Drain | Action::Reject | Action::Drop => "",
    };
    format!(
        "`[[tier]]` with `name = \"reduced\"`, `action = \"{}\"`, `{parameters}`",
        action.name()
    )
}
