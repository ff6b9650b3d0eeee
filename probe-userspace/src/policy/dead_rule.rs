//! Rules that can never decide anything.

use std::collections::{BTreeSet, HashMap};

use super::{Rule, Selector, document::Document};
use crate::diagnostic::Diagnostic;

/// Which line matches a place first, for one kind of source and one service; or for packets of no service.
#[derive(Default)]
struct Matched<'a> {
    everywhere: Option<u32>,
    places: HashMap<&'a str, u32>,
}

impl<'a> Matched<'a> {
    fn add(&mut self, rule: &'a Rule) {
        let line = rule.place.line;
        match &rule.selector {
            Selector::Everywhere | Selector::AllSources => {
                self.everywhere.get_or_insert(line);
            }
            Selector::Places(items) => {
                for item in items {
                    self.places.entry(&item.code).or_insert(line);
                }
            }
        }
    }

    fn line_of(&self, code: &str) -> Option<u32> {
        self.places.get(code).copied().or(self.everywhere)
    }
}

/// What the rules of an order match, service by service; `None` stands for rules without services, which match
/// whatever a packet is for.
#[derive(Default)]
struct Covered<'a>(HashMap<Option<usize>, Matched<'a>>);

impl<'a> Covered<'a> {
    fn add(&mut self, rule: &'a Rule) {
        for service in targets(rule) {
            self.0.entry(service).or_default().add(rule);
        }
    }

    /// The lines that match everything the rule matches; `None` if something is left to it.
    fn lines_before(&self, rule: &Rule) -> Option<BTreeSet<u32>> {
        let mut lines = BTreeSet::new();
        for service in targets(rule) {
            let tables = [Some(service), service.map(|_| None)];
            let tables: Vec<&Matched<'a>> = tables
                .into_iter()
                .flatten()
                .filter_map(|service| self.0.get(&service))
                .collect();
            match &rule.selector {
                // All countries together still leave the sources of unknown place to `everywhere`.
                Selector::Everywhere | Selector::AllSources => {
                    lines.insert(tables.iter().find_map(|table| table.everywhere)?);
                }
                Selector::Places(items) => {
                    for item in items {
                        lines.insert(tables.iter().find_map(|table| table.line_of(&item.code))?);
                    }
                }
            }
        }
        Some(lines)
    }
}

fn targets(rule: &Rule) -> Vec<Option<usize>> {
    match &rule.services {
        Some(services) => services.iter().copied().map(Some).collect(),
        None => vec![None],
    }
}

/// Remarks on the rules of one order whose every place is matched by rules before them.
///
/// For exempt sources an order consists of its `no_exemptions` rules alone, so such a rule is dead only behind
/// rules of its own kind.
pub(super) fn remark_dead_rules(document: &mut Document<'_>, rules: &[Rule]) {
    let mut for_all = Covered::default();
    let mut for_exempt = Covered::default();
    for rule in rules {
        let before = if rule.no_exemptions { &for_exempt } else { &for_all };
        // A selector that is empty was reported already.
        if let Some(lines) = before.lines_before(rule).filter(|lines| !lines.is_empty()) {
            let lines: Vec<String> = lines.iter().take(MAX_LINES).map(u32::to_string).collect();
            let (rules, matches) = if lines.len() == 1 {
                ("the rule in line", "matches")
            } else {
                ("the rules in lines", "match")
            };
            document.remark(Diagnostic::warning(
                rule.place.clone(),
                "",
                format!(
                    "dead rule: {rules} {} already {matches} every place it names",
                    lines.join(", ")
                ),
                "remove it, or move it up: within an order the first matching rule decides",
            ));
        }
        for_all.add(rule);
        if rule.no_exemptions {
            for_exempt.add(rule);
        }
    }
}

/// Lines named in a remark.
const MAX_LINES: usize = 5;
