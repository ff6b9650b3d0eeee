//! Which events a watcher wants.

use std::collections::BTreeSet;

use probe_common::Action;

use super::Naming;
use crate::{
    daemon::{
        Refusal,
        api::{EventQuery, EventRow},
    },
    policy::{find_country, similar, similar_countries},
};

/// Most names that an error lists.
const MAX_LISTED: usize = 12;

/// What a watcher wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    query: EventQuery,
    /// What it may not have meant.
    pub notes: Vec<String>,
}

impl Filter {
    /// Checks a query by what has a name now.
    pub fn new(mut query: EventQuery, naming: &Naming) -> Result<Self, Refusal> {
        if let Some(action) = &query.action
            && !Action::ALL.iter().any(|known| known.name() == action)
        {
            let known: Vec<&str> = Action::ALL.iter().map(|action| action.name()).collect();
            return Err(Refusal::with_status(
                400,
                format!("no action is called {action}: choose one of {}", known.join(", ")),
            ));
        }
        if let Some(written) = &query.country {
            query.country = Some(country(written, &naming.classes())?);
        }
        let interface = query.interface.as_deref();
        let notes = interface.and_then(|written| note_on_interface(written, naming));
        Ok(Self {
            notes: Vec::from_iter(notes),
            query,
        })
    }

    /// Whether an event is one of those.
    pub fn takes(&self, row: &EventRow) -> bool {
        let EventQuery {
            country,
            action,
            interface,
            drops,
        } = &self.query;
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted
                .as_deref()
                .is_none_or(|wanted| found.is_some_and(|found| found.eq_ignore_ascii_case(wanted)))
        };
        is(country, row.country.as_deref())
            && is(action, Some(&row.action))
            && interface.as_ref().is_none_or(|wanted| *wanted == row.interface)
            && (!drops || matches!(row.fate.as_str(), "dropped" | "answered"))
    }
}

/// The class that is meant. Before the first policy there are none to compare with.
fn country(written: &str, classes: &BTreeSet<&str>) -> Result<String, Refusal> {
    let known = |name: &str| classes.iter().find(|class| class.eq_ignore_ascii_case(name));
    if classes.is_empty() {
        return Ok(written.to_owned());
    }
    if let Some(class) = known(written) {
        return Ok((*class).to_owned());
    }
    let country = find_country(&written.to_uppercase());
    if let Some(class) = country.and_then(|country| known(country.alias_of.as_deref()?)) {
        return Ok((*class).to_owned());
    }
    let text = match country {
        Some(country) => format!(
            "the database in force has no addresses in {} ({}), so nothing can come from there: {}",
            country.code,
            country.name,
            choices(classes)
        ),
        None => format!("no place is called {written}: {}", advice(written, classes)),
    };
    Err(Refusal::with_status(400, text))
}

/// What may have been meant, else what there is.
fn advice(written: &str, classes: &BTreeSet<&str>) -> String {
    let near: Vec<String> = similar_countries(written)
        .into_iter()
        .filter(|country| classes.contains(country.code.as_str()))
        .map(|country| format!("{} ({})", country.code, country.name))
        .collect();
    if !near.is_empty() {
        return format!("did you mean {}?", near.join(" or "));
    }
    let words = classes.iter().copied().filter(|class| class.len() > 2);
    match similar(written, words) {
        Some(word) => format!("did you mean {word}?"),
        None => choices(classes),
    }
}

fn choices(classes: &BTreeSet<&str>) -> String {
    if classes.len() <= MAX_LISTED {
        let all: Vec<&str> = classes.iter().copied().collect();
        return format!("choose one of {}", all.join(", "));
    }
    format!(
        "choose unknown, lan or one of the {} places of the database by its two-letter code, as in RU",
        classes.len().saturating_sub(2)
    )
}

/// An interface may come later, so it is only a note.
fn note_on_interface(written: &str, naming: &Naming) -> Option<String> {
    let names = || naming.interfaces.values().map(String::as_str);
    if naming.interfaces.is_empty() || names().any(|name| name == written) {
        return None;
    }
    let advice = match similar(written, names()) {
        Some(close) => format!("did you mean {close}?"),
        None if naming.interfaces.len() <= MAX_LISTED => {
            format!("there are {}", names().collect::<Vec<_>>().join(", "))
        }
        None => format!("there are {} others", naming.interfaces.len()),
    };
    Some(format!(
        "no interface is called {written} now: nothing is shown until there is one; {advice}"
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::GenerationNames, *};

    fn naming() -> Naming {
        let mut naming = Naming::default();
        naming.interfaces.insert(1, "lo".to_owned());
        naming.interfaces.insert(2, "eth0".to_owned());
        let classes = ["unknown", "lan", "DE", "GB", "RU"].map(str::to_owned).to_vec();
        naming.add(7, Arc::new(GenerationNames { classes }));
        naming
    }

    fn dropped() -> EventRow {
        EventRow {
            time: String::new(),
            interface: "eth0".to_owned(),
            ifindex: 2,
            vlan: None,
            source: None,
            country: Some("RU".to_owned()),
            protocol: None,
            source_port: None,
            destination_port: None,
            bytes: 60,
            action: "drop".to_owned(),
            reason: "policy_drop".to_owned(),
            fate: "dropped".to_owned(),
            generation: 7,
        }
    }

    fn from(country: &str) -> EventQuery {
        EventQuery {
            country: Some(country.to_owned()),
            ..EventQuery::default()
        }
    }

    fn by(interface: &str) -> EventQuery {
        EventQuery {
            interface: Some(interface.to_owned()),
            ..EventQuery::default()
        }
    }

    #[test]
    fn a_filter_takes_what_it_names() {
        let dropped = dropped();
        let passed = EventRow {
            action: "pass".to_owned(),
            fate: "passed".to_owned(),
            country: None,
            ..dropped.clone()
        };
        let filter = |query| Filter::new(query, &naming()).unwrap();
        let any = EventQuery::default();
        assert!(filter(any.clone()).takes(&dropped) && filter(any.clone()).takes(&passed));
        let ru = filter(from("ru"));
        assert!(ru.takes(&dropped) && !ru.takes(&passed));
        let drops = filter(EventQuery {
            drops: true,
            ..any.clone()
        });
        assert!(drops.takes(&dropped) && !drops.takes(&passed));
        assert!(!filter(by("eth1")).takes(&dropped) && filter(by("eth0")).takes(&dropped));
        let refused = Filter::new(
            EventQuery {
                action: Some("block".to_owned()),
                ..any
            },
            &naming(),
        );
        assert!(refused.unwrap_err().error.contains("drop"));
    }

    #[test]
    fn a_place_that_is_none_leads_to_one() {
        let refused = |written| Filter::new(from(written), &naming()).unwrap_err().error;
        let mut many = naming();
        let classes = (b'A'..=b'Z').map(|letter| format!("X{}", char::from(letter)));
        many.add(
            8,
            Arc::new(GenerationNames {
                classes: classes.collect(),
            }),
        );
        for (written, wanted) in [
            ("Russia", "did you mean RU (Russia"),
            ("unknwon", "did you mean unknown?"),
            ("FR", "no addresses in FR (France)"),
            ("qqqqqqq", "choose one of DE, GB, RU, lan, unknown"),
        ] {
            let text = refused(written);
            assert!(text.contains(wanted), "{written}: {text}");
        }
        let text = Filter::new(from("qqqqqqq"), &many).unwrap_err().error;
        assert!(text.contains("by its two-letter code"), "{text}");
        let uk = Filter::new(from("uk"), &naming()).unwrap();
        assert!(
            uk.takes(&EventRow {
                country: Some("GB".to_owned()),
                ..dropped()
            }),
            "an alias"
        );
        assert!(
            Filter::new(from("Russia"), &Naming::default()).is_ok(),
            "no policy yet"
        );
    }

    #[test]
    fn an_interface_that_is_none_may_come() {
        let notes = |written| Filter::new(by(written), &naming()).unwrap().notes;
        assert_eq!(notes("eth0"), [""; 0]);
        let [note] = &notes("eht0")[..] else {
            panic!("a note")
        };
        assert!(
            note.contains("eht0") && note.contains("did you mean eth0?"),
            "{note}"
        );
        let [note] = &notes("nope")[..] else {
            panic!("a note")
        };
        assert!(note.contains("there are lo, eth0"), "{note}");
    }
}
