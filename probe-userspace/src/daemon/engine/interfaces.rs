//! Attaching. An absent interface is a problem, never fatal; one that appears later is attached when it does.

use std::collections::BTreeMap;

use super::Engine;
use crate::{daemon::problems::Topic, dataplane::Attached};

/// Interfaces that this process found or made attached: name and index.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    known: BTreeMap<String, u32>,
}

impl Attachments {
    /// Makes every configured interface one to attach to again.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}

impl Engine {
    /// Attaches to configured interfaces that are not attached to, if there is a policy to enforce and the failsafe
    /// prefixes are in the kernel. One that was detached behind the daemon's back stays detached: somebody wanted
    /// it so (`cordon detach --even-if-running`).
    pub(super) fn attach_missing(&mut self) {
        let has_baseline = self
            .in_force
            .as_ref()
            .is_some_and(|in_force| in_force.is_baseline);
        let is_wanted = self
            .dataplane
            .state()
            .is_ok_and(|state| !state.is_empty && (!has_baseline || state.halted.is_some()));
        if !is_wanted {
            return;
        }
        let attached = match self.dataplane.interfaces() {
            Ok(attached) => attached,
            Err(error) => {
                let text = format!("cannot list the interfaces attached to: {error}");
                return self.problems.set(Topic::Interfaces, text);
            }
        };
        self.problems.clear(&Topic::Interfaces);
        let names: Vec<String> = self.configured().map(str::to_owned).collect();
        for ifname in names {
            match self.attach_one(&ifname, &attached) {
                Ok(()) => self.problems.clear(&Topic::Interface(ifname)),
                Err(text) => self.problems.set(Topic::Interface(ifname), text),
            }
        }
    }

    fn attach_one(&mut self, ifname: &str, attached: &[Attached]) -> Result<(), String> {
        let Some(ifindex) = ifindex_of(ifname) else {
            return Err(format!(
                "interface {ifname} does not exist: attached as soon as it does"
            ));
        };
        if attached.iter().any(|entry| entry.ifindex == ifindex) {
            self.attachments.known.insert(ifname.to_owned(), ifindex);
            return Ok(());
        }
        if self.attachments.known.get(ifname) == Some(&ifindex) {
            return Err(format!(
                "interface {ifname} was detached by somebody: restart the daemon to attach again"
            ));
        }
        if self.problems.has(&Topic::Failsafe) {
            return Err(format!(
                "not attached to {ifname}: the failsafe prefixes could not be set; tried again every second"
            ));
        }
        let attached = self
            .dataplane
            .attach(ifname, self.settings.host.mode)
            .map_err(|error| format!("cannot attach to {ifname}: {error}"))?;
        tracing::info!(ifname, ifindex = attached.ifindex, mode = ?attached.mode, "attached");
        self.attachments.known.insert(ifname.to_owned(), ifindex);
        Ok(())
    }

    /// Detaches from interfaces that the host file does not name any more. Only at start, when the file was read.
    pub(super) fn detach_unlisted(&mut self) {
        let Ok(attached) = self.dataplane.interfaces() else {
            return;
        };
        // It may be the absent one by another name: a renamed interface must not be left open.
        if let Some(absent) = self.configured().find(|ifname| ifindex_of(ifname).is_none()) {
            tracing::warn!("{absent} is absent: what the host file does not name stays attached");
            return;
        }
        let listed: Vec<u32> = self.configured().filter_map(ifindex_of).collect();
        for entry in attached {
            // An interface may have been renamed in the system and in the host file: its index counts.
            if entry.ifindex == 0
                || listed.contains(&entry.ifindex)
                || self.configured().any(|name| name == entry.ifname)
            {
                continue;
            }
            tracing::warn!(ifname = entry.ifname, "not in the host file any more: detaching");
            let result = self.dataplane.detach(&entry.ifname);
            self.problems.note(
                Topic::Interface(entry.ifname.clone()),
                "cannot detach from an interface that the host file does not name",
                result,
            );
        }
    }

    pub(super) fn configured(&self) -> impl Iterator<Item = &str> {
        self.settings
            .host
            .interfaces
            .iter()
            .map(|name| name.value.as_str())
    }
}

fn ifindex_of(ifname: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(ifname).ok()
}
