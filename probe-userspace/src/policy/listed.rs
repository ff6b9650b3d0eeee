//! Prefixes that stand in more than one place.

use std::collections::HashMap;

use ipnet::IpNet;
use probe_common::Decision;

use super::{
    Located,
    document::{Document, Node},
    limits::MAX_LISTED_PREFIXES,
    prefix::is_whole_family,
};
use crate::instant::Instant;

/// The list that a prefix stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListKind {
    /// `[[allow]]`.
    Allow,
    /// `[[deny]]`.
    Deny,
    /// `[[exemption]]`.
    Exemption,
}

impl ListKind {
    fn label(self) -> &'static str {
        match self {
            Self::Allow => "[[allow]]",
            Self::Deny => "[[deny]]",
            Self::Exemption => "[[exemption]]",
        }
    }
}

/// What an entry does with its prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    /// Its list.
    pub kind: ListKind,
    /// Its end.
    pub until: Option<Instant>,
    /// The orders it lifts, sorted.
    pub orders: Option<Vec<String>>,
    /// Ends and decisions of its phases.
    pub phases: Vec<(Instant, Decision)>,
}

/// All prefixes seen so far. The kernel's table holds one value per prefix, so each may stand in one place only.
#[derive(Default)]
pub(super) struct Listed<'a> {
    meanings: Vec<Meaning>,
    /// The index of its meaning, and its node.
    prefixes: HashMap<IpNet, (usize, Node<'a>)>,
}

impl<'a> Listed<'a> {
    /// Notes the meaning of an entry; prefixes refer to it by the index returned.
    pub fn add_meaning(&mut self, meaning: Meaning) -> usize {
        self.meanings.push(meaning);
        self.meanings.len() - 1
    }

    /// Notes a prefix. `false` if it is not to be used, which is then reported.
    pub fn add(
        &mut self,
        document: &mut Document<'a>,
        node: Node<'a>,
        prefix: &Located<IpNet>,
        meaning_idx: usize,
    ) -> bool {
        if self.prefixes.len() == MAX_LISTED_PREFIXES {
            document.error(
                node,
                format!("more than {MAX_LISTED_PREFIXES} prefixes in all lists together"),
                "aggregate adjacent prefixes",
            );
            return false;
        }
        let kind = self.meanings[meaning_idx].kind;
        if is_whole_family(&prefix.value) && !check_whole_family(document, node, kind) {
            return false;
        }
        let Some((first_idx, first_node)) = self.prefixes.get(&prefix.value).copied() else {
            self.prefixes.insert(prefix.value, (meaning_idx, node));
            return true;
        };
        let first = &self.meanings[first_idx];
        let line = document.place(first_node).line;
        let label = first.kind.label();
        if *first == self.meanings[meaning_idx] {
            document.warning(
                node,
                format!("the prefix is already in {label}, in line {line}"),
                "remove one of the two",
            );
        } else if first.kind == kind {
            document.error(
                node,
                format!("the prefix is already in {label} with another end, other orders or other phases, in line {line}"),
                "keep one of the two: a prefix has one meaning",
            );
        } else {
            document.error(
                node,
                format!("the prefix is already in {label}, in line {line}, with another meaning"),
                "keep one of the two: a prefix has one meaning",
            );
        }
        false
    }
}

/// A prefix of length 0 in a list: an error where another way says it better, else a warning.
fn check_whole_family(document: &mut Document<'_>, node: Node<'_>, kind: ListKind) -> bool {
    match kind {
        ListKind::Deny => {
            document.error(
                node,
                "a deny of all addresses would turn every other entry of the policy off",
                "to drop everything for a while use `cordon halt`; to drop what no order mentions write \
                 `default = \"drop\"`",
            );
            false
        }
        ListKind::Allow | ListKind::Exemption => {
            document.warning(
                node,
                "this lifts orders and defaults for all addresses of the family",
                "name the prefixes that are meant",
            );
            true
        }
    }
}
