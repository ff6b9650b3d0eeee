//! What the verifier made of the programs.

use aya::programs::Xdp;
use probe_common::map_name::program;

use super::{Dataplane, DataplaneError, ProgramSize};

impl Dataplane {
    /// What the verifier made of the entry program, of the egress program if this process loaded it, and of the active
    /// generation's programs.
    pub fn programs(&self) -> Result<Vec<ProgramSize>, DataplaneError> {
        let failed = |error| DataplaneError::kernel("asking for the size of a program", &error);
        let size = |name, program: &Xdp, load| {
            let verified_instructions = program.info().map_err(failed)?.verified_instruction_count();
            Ok(ProgramSize {
                name,
                verified_instructions,
                load,
            })
        };
        let mut sizes = vec![size(program::ENTRY, &self.entry, Some(self.entry_load))?];
        if let Some(verified_instructions) = self.egress.verified_instructions() {
            sizes.push(ProgramSize {
                name: program::EGRESS,
                verified_instructions,
                load: None,
            });
        }
        if let Some(generation) = self.effective() {
            let [judge, sample] = generation.loads.map_or([None; 2], |loads| loads.map(Some));
            sizes.push(size(program::GENERATION, &generation.program()?, judge)?);
            sizes.push(size(program::SAMPLE, &generation.sample, sample)?);
            if let Some(egress) = generation.egress_program()? {
                sizes.push(ProgramSize {
                    name: program::EGRESS_GENERATION,
                    verified_instructions: egress.info().map_err(failed)?.verified_instruction_count(),
                    load: None,
                });
            }
        }
        Ok(sizes)
    }
}
