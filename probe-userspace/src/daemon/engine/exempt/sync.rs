//! Sync: a file takes the place of the whole list.

use super::{Engine, digest_of};
use crate::{
    audit::{Actor, Event},
    daemon::{
        Refusal,
        api::{SyncQuery, Synced},
        settings::{count, n_errors},
    },
    diagnostic::{Diagnostic, Place},
    exemption::file,
    instant::Instant,
    policy::limits::MAX_REMARKS,
};

impl Engine {
    pub(super) fn sync_exemptions(
        &mut self,
        query: &SyncQuery,
        text: &str,
        actor: &Actor,
    ) -> Result<Synced, Refusal> {
        let name = query.file.as_deref().unwrap_or("the list");
        let now = Instant::now();
        let file::Read {
            list,
            lines,
            mut diagnostics,
        } = file::read(name, text, now, &actor.to_string());
        let Some(mut list) = list else {
            let n = count(n_errors(&diagnostics), "error");
            return Err(Refusal::input(
                format!("{name} has {n}; the exemptions stay as they are"),
                diagnostics,
            ));
        };
        let before = &self.exemptions.list;
        if list.is_empty() && !before.is_empty() && !query.allow_empty {
            return Err(Refusal::input(
                format!(
                    "{name} has no exemption, and would end all {}; if that is meant: --allow-empty",
                    before.len()
                ),
                diagnostics,
            ));
        }
        list.keep_grants_of(before);
        let changes = before.changes_to(&list);
        let place = |line| Place {
            file: name.to_owned(),
            line,
            column: 1,
        };
        for exemption in list.iter() {
            for fault in self.unknown_names(exemption) {
                let line = lines.get(&(exemption.prefix, exemption.reference.clone()));
                if diagnostics.len() < MAX_REMARKS {
                    let message = format!("{}: lifted once a policy has it", fault.message);
                    diagnostics.push(Diagnostic::warning(
                        place(line.copied().unwrap_or(0)),
                        fault.value,
                        message,
                        fault.fix,
                    ));
                }
            }
        }
        let n_all = list.len();
        let mut generation = None;
        if changes != Default::default() || self.exemptions.readable().is_err() {
            let event = Event::Exempt {
                change: "sync".to_owned(),
                reference: digest_of(&list)?,
                prefix: None,
                n: n_all,
                until: None,
                reason: format!(
                    "{} added, {} changed, {} removed",
                    changes.added, changes.changed, changes.removed
                ),
                approver: "several".to_owned(),
            };
            // To take away needs neither record nor file first.
            let only_removes =
                changes.added == 0 && changes.changed == 0 && self.exemptions.readable().is_ok();
            generation = match only_removes {
                true => self.withdraw(list, &[event], actor)?,
                false => self.grant(list, &[event], actor)?,
            };
        }
        Ok(Synced {
            added: changes.added,
            changed: changes.changed,
            removed: changes.removed,
            n_all,
            generation,
            diagnostics,
            problems: self.problems.texts(),
        })
    }
}
