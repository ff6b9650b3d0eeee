//! Prefixes that stand in more than one place.

use std::collections::HashMap;

use ipnet::IpNet;
use probe_common::Decision;

use super::{
    Located, NamedLists,
    document::{Document, Node},
    limits::MAX_LISTED_PREFIXES,
    prefix::is_whole_family,
    similar::similar,
    table::Item,
    value::string,
};
use crate::{diagnostic::Diagnostic, instant::Instant};

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
pub(super) struct Listed<'a, 'n> {
    /// Lists that entries name.
    named: &'n NamedLists,
    meanings: Vec<Meaning>,
    /// The index of its meaning, and the node that brought it.
    prefixes: HashMap<IpNet, (usize, Node<'a>)>,
    n_v4: usize,
}

impl<'a, 'n> Listed<'a, 'n> {
    /// Nothing yet; entries may name these lists.
    pub fn new(named: &'n NamedLists) -> Self {
        Self {
            named,
            meanings: Vec::new(),
            prefixes: HashMap::new(),
            n_v4: 0,
        }
    }

    /// Whether one more of this family is too many.
    fn is_full(&self, prefix: IpNet) -> bool {
        let n_prefixes = match prefix {
            IpNet::V4(_) => self.n_v4,
            IpNet::V6(_) => self.prefixes.len() - self.n_v4,
        };
        n_prefixes == MAX_LISTED_PREFIXES
    }

    /// The prefixes of the list that an entry names, without those that are not to be used, which are reported.
    pub fn add_list(
        &mut self,
        document: &mut Document<'a>,
        item: Item<'a>,
        meaning_idx: usize,
    ) -> Option<Vec<Located<IpNet>>> {
        let name = string(document, item)?;
        let Some(list) = self.named.get(name) else {
            let (message, fix) = self.no_such_list(name);
            document.error(item.node, message, fix);
            return None;
        };
        if list.is_empty() {
            let fix = "the entry does nothing until the list has prefixes";
            document.warning(item.node, "the list is empty", fix);
        }
        let place = document.place(item.node);
        let mut prefixes = Vec::with_capacity(list.len());
        for prefix in list {
            if self.is_full(*prefix) {
                let message = format!(
                    "with this list there are more than {MAX_LISTED_PREFIXES} prefixes of one family in all lists together"
                );
                document.error(item.node, message, "aggregate adjacent prefixes");
                return None;
            }
            let prefix = Located {
                value: *prefix,
                place: place.clone(),
            };
            if self.add(document, item.node, &prefix, meaning_idx) {
                prefixes.push(prefix);
            }
        }
        Some(prefixes)
    }

    fn no_such_list(&self, name: &str) -> (&'static str, String) {
        const MAX_SHOWN: usize = 10;
        let names = || self.named.keys().map(String::as_str);
        let fix = if let Some(close) = similar(name, names()) {
            format!("did you mean `{close}`?")
        } else if self.named.is_empty() {
            format!(
                "there are no lists: put its prefixes into `lists/{name}.txt` beside the policy, one in each line"
            )
        } else {
            let shown: Vec<&str> = names().take(MAX_SHOWN).collect();
            let more = if names().count() > MAX_SHOWN { ", ..." } else { "" };
            format!("lists that there are: {}{more}", shown.join(", "))
        };
        ("there is no such list", fix)
    }

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
        if self.is_full(prefix.value) {
            document.error(
                node,
                format!("more than {MAX_LISTED_PREFIXES} prefixes of one family in all lists together"),
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
            self.n_v4 += usize::from(matches!(prefix.value, IpNet::V4(_)));
            return true;
        };
        let first = &self.meanings[first_idx];
        let line = document.place(first_node).line;
        let label = first.kind.label();
        // Of a list, the prefix tells more than its name.
        let written = node.get_ref().as_str().filter(|text| text.contains('/'));
        let value = written.map_or_else(|| prefix.value.to_string(), str::to_owned);
        let place = prefix.place.clone();
        let remark = if *first == self.meanings[meaning_idx] {
            let message = format!("the prefix is already in {label}, in line {line}");
            Diagnostic::warning(place, value, message, "remove one of the two")
        } else if first.kind == kind {
            let message = format!(
                "the prefix is already in {label} with another end, other orders or other phases, in line {line}"
            );
            let fix = "keep one of the two: a prefix has one meaning";
            Diagnostic::error(place, value, message, fix)
        } else {
            let message = format!("the prefix is already in {label}, in line {line}, with another meaning");
            let fix = "keep one of the two: a prefix has one meaning";
            Diagnostic::error(place, value, message, fix)
        };
        document.remark(remark);
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
