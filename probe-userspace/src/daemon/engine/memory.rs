//! Room for a publish.

use super::Engine;
use crate::{
    compile::Image,
    daemon::{Refusal, memory},
};

impl Engine {
    /// Refuses an image for which this host has no room. Not asked where something closes, or where nothing is enforced
    /// yet: there, to try is better than not to.
    pub(super) fn check_memory(&mut self, image: &Image) -> Result<(), Refusal> {
        let needed = self.dataplane.bytes_needed(image).map_err(Refusal::failed)?;
        memory::check(needed, memory::available())
    }
}
