//! What the generations in force need besides their own maps: the egress program on every interface, the program
//! that counts what redirects lose. It is there before the first of them is in force, and goes after the last.

use std::collections::BTreeSet;

use probe_common::{limits::NO_SLOT, need};

use super::{Attached, Dataplane, DataplaneError, attach, egress, sys};

const EGRESS: u32 = need::REPLIES | need::BOTH;

impl Dataplane {
    /// What the generations need that the state word names; `None` if one of them is unknown.
    fn needs(&self) -> Option<u32> {
        let word = self.shared.word();
        let mut needs = 0;
        for slot in [word.active, word.previous] {
            if slot != NO_SLOT {
                needs |= self.generation(slot)?.meta.needs;
            }
        }
        Some(needs)
    }

    /// Makes what a generation needs that is about to get into force.
    pub(super) fn prepare(&mut self, needs: u32) -> Result<(), DataplaneError> {
        if needs & EGRESS != 0 {
            for attached in attach::interfaces(&self.pins)? {
                if attached.ifindex != 0 {
                    self.egress
                        .attach(&mut self.loaders, &self.pins, attached.ifindex)?;
                }
            }
        }
        if needs & need::REDIRECTS != 0 {
            self.count_redirect_errors();
        }
        Ok(())
    }

    /// Makes what the generations in force need of an interface that is about to be attached to.
    pub(super) fn prepare_interface(&mut self, ifname: &str) -> Result<(), DataplaneError> {
        if self.needs().is_some_and(|needs| needs & EGRESS == 0) {
            return Ok(());
        }
        match sys::interface_index(ifname) {
            Some(ifindex) => self.egress.attach(&mut self.loaders, &self.pins, ifindex),
            None => Ok(()),
        }
    }

    /// Takes away what no generation in force needs, and what is left of interfaces that are gone. What fails is
    /// tried again at the next call.
    pub(super) fn release(&self) {
        if self.pins.egress_entries().is_empty() && !egress::is_counting(&self.pins) {
            return;
        }
        let needs = self.needs();
        let kept = match needs {
            Some(needs) if needs & EGRESS == 0 => Ok(BTreeSet::new()),
            _ => attach::interfaces(&self.pins)
                .map(|attached| attached.iter().map(|attached| attached.ifindex).collect()),
        };
        let mut released = kept.and_then(|kept| egress::keep_only(&self.pins, &kept));
        if needs.is_some_and(|needs| needs & need::REDIRECTS == 0) {
            released = released.and_then(|()| egress::stop_counting(&self.pins));
        }
        if let Err(error) = released {
            tracing::warn!("what no policy needs any more is still attached: {error}");
        }
    }

    /// Gives what an earlier process attached this binary's programs, and makes up for what was removed meanwhile.
    /// What fails leaves the earlier program in place, or answers to this host's own connections dropped.
    pub(super) fn update_egress(&mut self) {
        let needs = self.needs();
        let mut updated = self.egress.update(&mut self.loaders, &self.pins);
        if let Some(needs) = needs {
            updated = updated.and_then(|()| self.prepare(needs));
        }
        if let Err(error) = updated {
            tracing::warn!("leaving packets are not seen as they should be: {error}");
        }
        self.release();
    }

    /// Not a reason to refuse a policy: nothing that is decided depends on it.
    fn count_redirect_errors(&mut self) {
        if let Err(error) = self.egress.count_redirect_errors(&mut self.loaders, &self.pins) {
            tracing::warn!("frames that redirects lose are not counted: {error}");
        }
    }

    /// Says how leaving packets are seen.
    pub(super) fn with_egress(&self, attached: Attached) -> Attached {
        let hooked = egress::hooked(&self.pins);
        let own = hooked.iter().find(|hooked| hooked.ifindex == attached.ifindex);
        Attached {
            egress: own.map(|hooked| hooked.hook.name()),
            ..attached
        }
    }
}

impl Drop for Dataplane {
    /// Links that nobody else can reach end by themselves; a filter on clsact does not.
    fn drop(&mut self) {
        if self.pins.is_private()
            && let Err(error) = egress::keep_only(&self.pins, &BTreeSet::new())
        {
            tracing::warn!("a filter is left behind: {error}");
        }
    }
}
