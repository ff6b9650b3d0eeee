//! What is wrong, by topic: a topic holds one problem until it is solved.

use std::collections::BTreeMap;

/// What a problem is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// The policy in force.
    Policy,
    /// The policy in force has ended.
    Expired,
    /// Nobody signed the policy in force.
    BreakGlass,
    /// The trusted keys.
    Trust,
    /// How far this host has come: see [`super::marks`].
    Marks,
    /// What was in force when.
    History,
    /// The directory that bundles are moved into.
    Incoming,
    /// Tests of the policy in force that do not hold any more.
    Tests,
    /// The GeoIP database.
    Database,
    /// The age of the database in force.
    DatabaseAge,
    /// The stored database's file.
    StoredGeo,
    /// The copy of the database in force.
    KeptDatabase,
    /// Bundles are pulled from this URL.
    Source(String),
    /// The stored policy's file.
    StoredPolicy,
    /// The file of the policy that waits for confirmation.
    StoredPending,
    /// The file of the halt.
    StoredState,
    /// That file as it was found at the start: what it said is put aside and not in force.
    UnreadableState,
    /// The file of counters.
    StoredCounters,
    /// The audit log.
    Audit,
    /// The exemptions made at run time.
    Exemptions,
    /// Their file.
    StoredExemptions,
    /// Failsafe prefixes in the kernel.
    Failsafe,
    /// Halting and resuming.
    Halt,
    /// Lifts of orders and halts of services.
    Amendments,
    /// Servers whose answers pass in a halt.
    Endpoints,
    /// The wall clock.
    Clock,
    /// It was set back.
    ClockBehind,
    /// It was set far ahead.
    ClockAhead,
    /// The file of the last time.
    StoredClock,
    /// The confirm window.
    Confirm,
    /// Probes after a publish.
    Probes,
    /// Generations that nothing runs any more.
    Retired,
    /// What the kernel side knows of this host's interfaces and addresses.
    Network,
    /// Where redirects go.
    Targets,
    /// A redirect to this interface has nowhere to go.
    Redirect(String),
    /// This interface takes MPLS frames.
    Mpls(String),
    /// The event ring.
    Events,
    /// The address that metrics are served on.
    Metrics,
    /// The file that they are written to.
    MetricsFile,
    /// Somebody else changed what cordon has in the kernel.
    Tampering,
    /// All interfaces.
    Interfaces,
    /// One interface.
    Interface(String),
}

impl Topic {
    /// The kind of topic, for metrics: of which source or interface is not said.
    pub fn name(&self) -> String {
        let debug = format!("{self:?}");
        let mut name = String::new();
        for c in debug.chars().take_while(char::is_ascii_alphanumeric) {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(c.to_ascii_lowercase());
        }
        name
    }
}

/// The problems that exist now.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    by_topic: BTreeMap<Topic, String>,
}

impl Problems {
    /// Notes a problem and logs it, unless it is known.
    pub fn set(&mut self, topic: Topic, text: impl Into<String>) {
        let text = text.into();
        if self.by_topic.get(&topic) != Some(&text) {
            tracing::warn!(?topic, "{text}");
            self.by_topic.insert(topic, text);
        }
    }

    /// The topic's problem is solved.
    pub fn clear(&mut self, topic: &Topic) {
        if self.by_topic.remove(topic).is_some() {
            tracing::info!(?topic, "solved");
        }
    }

    /// Notes an error or clears the topic.
    pub fn note<T, E: std::fmt::Display>(
        &mut self,
        topic: Topic,
        what: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        match result {
            Ok(value) => {
                self.clear(&topic);
                Some(value)
            }
            Err(error) => {
                self.set(topic, format!("{what}: {error:#}"));
                None
            }
        }
    }

    /// The problems that exist now of one kind of topic: what there was besides is solved.
    pub fn replace(&mut self, is_of_kind: impl Fn(&Topic) -> bool, found: BTreeMap<Topic, String>) {
        let solved: Vec<Topic> = self
            .by_topic
            .keys()
            .filter(|topic| is_of_kind(topic) && !found.contains_key(topic))
            .cloned()
            .collect();
        for topic in solved {
            self.clear(&topic);
        }
        for (topic, text) in found {
            self.set(topic, text);
        }
    }

    /// Whether the topic has a problem.
    pub fn has(&self, topic: &Topic) -> bool {
        self.by_topic.contains_key(topic)
    }

    /// What there are problems about.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.by_topic.keys()
    }

    /// What is wrong with the topic.
    pub fn text(&self, topic: &Topic) -> Option<&str> {
        self.by_topic.get(topic).map(String::as_str)
    }

    /// For the status.
    pub fn texts(&self) -> Vec<String> {
        self.by_topic.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_has_one_problem_until_it_is_solved() {
        let mut problems = Problems::default();
        problems.set(Topic::Clock, "one");
        problems.set(Topic::Clock, "two");
        let failed: Result<(), &str> = Err("disk full");
        assert_eq!(problems.note(Topic::StoredState, "cannot store", failed), None);
        assert_eq!(
            problems.note(Topic::StoredPolicy, "", Ok::<_, String>(1)),
            Some(1),
            "another file"
        );
        assert!(problems.has(&Topic::StoredState) && !problems.has(&Topic::StoredPolicy));
        assert_eq!(problems.texts(), ["cannot store: disk full", "two"]);
        assert_eq!(problems.note(Topic::StoredState, "", Ok::<_, String>(1)), Some(1));
        problems.clear(&Topic::Clock);
        assert_eq!(problems.texts(), [""; 0]);
    }

    #[test]
    fn a_topic_has_a_name_without_what_it_is_about() {
        let url = "https://user:secret@192.0.2.1/x".to_owned();
        assert_eq!(Topic::Source(url).name(), "source");
        assert_eq!(Topic::DatabaseAge.name(), "database_age");
    }

    #[test]
    fn what_is_not_found_again_is_solved_and_other_kinds_stay() {
        let found = |names: &[&str]| {
            let topics = names.iter().map(|name| Topic::Redirect((*name).to_owned()));
            topics.map(|topic| (topic, "gone".to_owned())).collect()
        };
        let is_redirect = |topic: &Topic| matches!(topic, Topic::Redirect(_));
        let mut problems = Problems::default();
        problems.set(Topic::Clock, "slow");
        problems.replace(is_redirect, found(&["a0", "b0"]));
        assert_eq!(problems.texts(), ["slow", "gone", "gone"]);
        problems.replace(is_redirect, found(&["b0"]));
        assert!(!problems.has(&Topic::Redirect("a0".to_owned())));
        assert!(problems.has(&Topic::Redirect("b0".to_owned())) && problems.has(&Topic::Clock));
    }
}
