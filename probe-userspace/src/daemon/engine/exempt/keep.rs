//! File, memory and kernel hold the same list.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use probe_common::RuntimeValue;

use super::{Engine, plan_of, records};
use crate::{
    audit::{Actor, Event},
    daemon::{Refusal, problems::Topic},
    dataplane::DataplaneError,
    exemption::{Keys, List, Plan, file},
    instant::Instant,
};

/// How often it is tried again to make a generation know what it had no room for.
const RETRY_TICKS: u64 = 30;

/// The exemptions, and how far file and kernel have them.
#[derive(Debug, Default)]
pub struct Exemptions {
    /// All of them.
    pub(super) list: List,
    /// The numbers of lifts.
    pub(super) keys: Keys,
    /// The numbers that the list needs.
    pub(super) needed: BTreeSet<u8>,
    /// Why the stored list is not known; then nothing is changed but by a sync.
    unreadable: Option<String>,
    /// The file is older than the list.
    is_unsaved: bool,
    /// The kernel has not been told all of the list.
    is_untold: bool,
    /// The generation in force does not know all that the list lifts: some addresses get less than was granted.
    is_short: bool,
    /// It is to be made to know at the next chance.
    is_short_news: bool,
    /// When something ends, or must be told again.
    look_at: Option<Instant>,
}

impl Exemptions {
    /// Refuses while the stored list is not known.
    pub(super) fn readable(&self) -> Result<(), Refusal> {
        match &self.unreadable {
            None => Ok(()),
            Some(why) => Err(Refusal::conflict(format!(
                "{why}; what the kernel has stays in force. Correct the file and restart the daemon, or replace the \
                 list: `cordon exempt sync FILE`"
            ))),
        }
    }
}

impl Engine {
    /// Reads what is stored. The kernel's tries stay as they are: whatever is pinned goes on.
    pub(in crate::daemon::engine) fn load_exemptions(&mut self) {
        let keys = self.store.lift_keys();
        let are_keys_lost = !matches!(keys, Ok(Some(_)));
        let keys = self
            .problems
            .note(Topic::Exemptions, "the numbers of lifts are made anew", keys);
        self.exemptions.keys = keys.flatten().unwrap_or_default();
        let path = self.store.exemptions_path().display().to_string();
        let text = self.store.exemptions().map_err(|error| format!("{error:#}"));
        let list = text.and_then(|text| {
            file::read_stored(&path, text.as_deref().unwrap_or_default())
                .map_err(|diagnostics| diagnostics.first().map_or_else(String::new, ToString::to_string))
        });
        match list {
            Ok(list) => self.exemptions.list = list,
            Err(why) => {
                let why = format!("the stored exemptions cannot be read: {}", why.replace('\n', " "));
                self.problems.set(Topic::StoredExemptions, &why);
                self.exemptions.unreadable = Some(why);
                return;
            }
        }
        let plan = plan_of(&self.exemptions.list);
        if !self.dataplane.has_generations() {
            // Nobody goes by the other numbers any more.
            let keys = &mut self.exemptions.keys;
            let needed: BTreeSet<u8> = plan.needed().filter_map(|lift| keys.number(lift)).collect();
            keys.retain(|number| needed.contains(&number));
        } else if are_keys_lost && !self.dataplane.runtime().is_empty() {
            // What is in the tries may mean something else to the next generation.
            tracing::warn!("the numbers of lifts are lost: nobody is exempt until they are made anew");
            let emptied = self.dataplane.set_runtime(&BTreeMap::new());
            self.problems
                .note(Topic::Exemptions, "cannot take back exemptions", emptied);
        }
        for lift in plan.needed() {
            if let Err(error) = self.exemptions.keys.meet(lift) {
                self.problems.set(Topic::Exemptions, error.to_string());
            }
        }
        self.exemptions.needed = self.numbers(&plan);
        if are_keys_lost && !self.exemptions.needed.is_empty() {
            let saved = self.store.set_lift_keys(&self.exemptions.keys);
            self.problems.note(
                Topic::StoredExemptions,
                "cannot store the numbers of lifts",
                saved,
            );
        }
    }

    /// Tells the kernel the stored list, before any interface is attached.
    pub(in crate::daemon::engine) fn restore_exemptions(&mut self) {
        if self.exemptions.unreadable.is_some() {
            return;
        }
        self.exemptions.is_untold = true;
        self.look_at_exemptions();
        tracing::info!(n = self.exemptions.list.len(), "run-time exemptions are in force");
    }

    /// Grants: records, stores, tells the kernel. Whatever fails leaves all three as they were. Gives the number of the
    /// generation that was published for it.
    pub(super) fn grant(
        &mut self,
        list: List,
        events: &[Event],
        actor: &Actor,
    ) -> Result<Option<u32>, Refusal> {
        let plan = plan_of(&list);
        let generation = self.know(&plan, actor)?;
        for event in events {
            self.record_first(actor, event)?;
        }
        self.save(&list).map_err(Refusal::failed)?;
        let before = std::mem::replace(&mut self.exemptions.list, list);
        if let Err(error) = self.tell(&plan) {
            self.exemptions.list = before;
            let restored = self.save_list();
            self.exemptions.is_unsaved = restored.is_err();
            self.problems.note(
                Topic::StoredExemptions,
                "a refused exemption may come with the next start: cannot store the exemptions",
                restored,
            );
            return Err(Refusal::failed(error));
        }
        self.exemptions.unreadable = None;
        self.exemptions.is_unsaved = false;
        self.problems.clear(&Topic::StoredExemptions);
        Ok(generation)
    }

    /// Takes away: tells the kernel, records, stores.
    pub(super) fn withdraw(
        &mut self,
        list: List,
        events: &[Event],
        actor: &Actor,
    ) -> Result<Option<u32>, Refusal> {
        let plan = plan_of(&list);
        let before = std::mem::replace(&mut self.exemptions.list, list);
        if let Err(error) = self.tell(&plan) {
            self.exemptions.list = before;
            return Err(Refusal::failed(error));
        }
        for event in events {
            self.record(actor, event);
        }
        self.exemptions.is_unsaved = true;
        self.save_unsaved();
        // What others are still granted may be a combination that was never met.
        if self.exemptions.is_short {
            let generation = self.know(&plan, actor);
            let told = self.tell(&plan);
            self.problems
                .note(Topic::Exemptions, "cannot tell the kernel of exemptions", told);
            self.note_short();
            self.exemptions.is_short_news = self.exemptions.is_short;
            return Ok(generation.ok().flatten());
        }
        Ok(None)
    }

    /// Every second: what has ended goes, and what could not be done is tried again.
    pub(in crate::daemon::engine) fn look_at_exemptions(&mut self) {
        if self.exemptions.unreadable.is_some() {
            return;
        }
        let now = Instant::now();
        let is_due = self.exemptions.look_at.is_some_and(|at| at <= now);
        if is_due {
            let ended = self.exemptions.list.remove_if(|exemption| exemption.until <= now);
            if !ended.is_empty() {
                tracing::info!(n = ended.len(), "exemptions are over");
                for event in records("expire", &ended).unwrap_or_default() {
                    self.record(&Actor::Daemon, &event);
                }
                self.exemptions.is_unsaved = true;
            }
        }
        if is_due || self.exemptions.is_untold {
            let told = self.tell(&plan_of(&self.exemptions.list));
            self.problems
                .note(Topic::Exemptions, "cannot tell the kernel of exemptions", told);
        }
        self.save_unsaved();
        let mut needed = self.exemptions.needed.iter();
        let is_unknown = needed.any(|number| !self.is_known(*number));
        self.exemptions.is_short_news |= is_due || is_unknown && !self.exemptions.is_short;
        self.exemptions.is_short |= is_unknown;
        if self.exemptions.is_short {
            self.make_known();
        }
        self.note_short();
    }

    /// Tries to make the generation in force know everything: at once when it is news, else from time to time.
    fn make_known(&mut self) {
        let state = self.dataplane.state();
        if state.is_ok_and(|state| state.confirm_left_s.is_some()) {
            self.exemptions.is_short_news = true;
            return;
        }
        let is_news = std::mem::take(&mut self.exemptions.is_short_news);
        if !is_news && !self.n_ticks.is_multiple_of(RETRY_TICKS) {
            return;
        }
        let plan = plan_of(&self.exemptions.list);
        if let Err(refusal) = self.know(&plan, &Actor::Daemon) {
            tracing::warn!("some exemptions lift less than was granted: {refusal}");
        }
        let told = self.tell(&plan);
        self.problems
            .note(Topic::Exemptions, "cannot tell the kernel of exemptions", told);
    }

    fn note_short(&mut self) {
        const TEXT: &str = "some exemptions lift less than was granted: the generation in force does not know their \
                            combination of orders and services";
        let told = !self.exemptions.is_untold;
        match self.exemptions.is_short {
            true => self.problems.set(Topic::Exemptions, TEXT),
            false if told => self.problems.clear(&Topic::Exemptions),
            false => {}
        }
    }

    /// Tells the kernel what follows from the list. Where the generation in force does not know a lift, it is told the
    /// next smaller one that it knows.
    fn tell(&mut self, plan: &Plan) -> Result<(), DataplaneError> {
        let mut is_short = false;
        let values: BTreeMap<IpNet, RuntimeValue> = plan.values(|lift| {
            let (number, is_exact) = self.told_key(lift);
            is_short |= !is_exact;
            number
        });
        self.exemptions.is_untold = true;
        self.dataplane.set_runtime(&values)?;
        self.exemptions.is_untold = false;
        self.exemptions.is_short = is_short;
        self.exemptions.needed = self.numbers(plan);
        self.exemptions.look_at = self
            .exemptions
            .list
            .first_end()
            .into_iter()
            .chain(plan.renew_at())
            .min();
        Ok(())
    }

    fn save_unsaved(&mut self) {
        if !self.exemptions.is_unsaved {
            return;
        }
        let saved = self.save_list();
        self.exemptions.is_unsaved = saved.is_err();
        self.problems.note(
            Topic::StoredExemptions,
            "what is removed may come back with the next start: cannot store the exemptions",
            saved,
        );
    }

    fn save_list(&self) -> anyhow::Result<()> {
        self.save(&self.exemptions.list)
    }

    fn save(&self, list: &List) -> anyhow::Result<()> {
        self.store.set_exemptions(&file::write(list)?)
    }
}
