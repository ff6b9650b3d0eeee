//! `phases`: stretches of time with an action of their own.

use probe_common::limits::MAX_STAGES;
use toml::de::DeValue;

use super::{
    Phase,
    action::Actions,
    document::Document,
    table::{Item, Key, Shape, Table, wrong_type},
    value::{instant, list},
};

const PHASE: Shape = Shape {
    label: "a phase",
    keys: &[
        Key::mandatory(
            "until",
            "a phase has an end, the first instant at which it no longer holds",
            "add `until = 2026-12-01T00:00:00Z`",
        ),
        Key::mandatory("action", "a phase says what happens", "add `action = \"pass\"`"),
    ],
    elsewhere: &[
        (
            "effective",
            "a phase begins where the one before it ends; write `until`",
        ),
        (
            "from",
            "a phase begins where the one before it ends; write `until`",
        ),
        ("services", "this belongs to the rule, not to one of its phases"),
        ("direction", "this belongs to the rule, not to one of its phases"),
    ],
};

const EXAMPLE: &str = "{ until = 2026-12-01T00:00:00Z, action = \"pass\" }";

/// Reads the phases of a rule or an exemption.
pub(super) fn read_phases<'a>(
    document: &mut Document<'a>,
    item: Item<'a>,
    actions: &Actions,
) -> Option<Vec<Phase>> {
    let elements = list(document, item, EXAMPLE)?;
    if let Some(element) = elements.get(MAX_STAGES) {
        document.error(
            element.node,
            format!("more than {MAX_STAGES} phases: the kernel can be told of {MAX_STAGES} changes ahead"),
            "move the later ones to a policy that is applied later",
        );
        return None;
    }
    let n_elements = elements.len();
    let mut phases: Vec<Phase> = Vec::new();
    for element in elements {
        if !matches!(element.node.get_ref(), DeValue::Table(_)) {
            wrong_type(document, element, "a table", &format!("write `{EXAMPLE}`"));
            continue;
        }
        let Some(table) = Table::open(document, element, &PHASE) else {
            continue;
        };
        let until = table.read(document, "until", |document, item| {
            let until = instant(document, item)?;
            if let Some(before) = phases.last()
                && until.value <= before.until.value
            {
                document.error(
                    item.node,
                    format!(
                        "the phase ends before it begins: the one before it holds until {}",
                        before.until.value
                    ),
                    "put the phases in the order of their ends, each later than the one before",
                );
                return None;
            }
            Some(until)
        });
        let decision = table.read(document, "action", |document, item| actions.read(document, item));
        if let (Some(until), Some(decision)) = (until, decision) {
            phases.push(Phase { until, decision });
        }
    }
    (phases.len() == n_elements).then_some(phases)
}
