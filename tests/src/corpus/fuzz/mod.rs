//! Frames by chance: built from the parts that the parser knows, with addresses at the edges of prefixes, and then
//! sometimes damaged; or taken from the corpus, and always damaged.

mod addresses;
mod compare;
mod damage;
mod stack;

pub use compare::{Difference, compare};

use self::damage::damage;
use super::{Case, Run};
use crate::rng::Rng;

/// A frame, and how much of it is linear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// At least 14 bytes.
    pub frame: Vec<u8>,
    /// Length of the linear part; `None`: as the kernel likes it.
    pub linear: Option<usize>,
}

/// A source of frames, fixed by its seed.
#[derive(Clone, Debug)]
pub struct Generator {
    rng: Rng,
    corpus: Vec<Offer>,
}

/// Shortest frame that BPF_PROG_TEST_RUN takes.
const SHORTEST: usize = 14;
/// Longest frame that is offered: damage may put frames together.
const LONGEST: usize = 1600;

impl Generator {
    /// Frames of a seed.
    pub fn new(seed: u64, cases: &[Case]) -> Self {
        let runs = cases.iter().flat_map(Case::runs);
        let runs = runs.filter(|run: &Run<'_>| run.frame.len() <= LONGEST);
        Self {
            rng: Rng::new(seed),
            corpus: runs
                .map(|run| Offer {
                    frame: run.frame,
                    linear: run.linear,
                })
                .collect(),
        }
    }

    /// The next frame.
    pub fn next_offer(&mut self) -> Offer {
        let rng = &mut self.rng;
        let mut offer = if rng.below(4) == 0 {
            let mut offer = self.corpus[rng.below(self.corpus.len())].clone();
            let other = &self.corpus[rng.below(self.corpus.len())].frame;
            for _ in 0..=rng.below(3) {
                damage(rng, &mut offer.frame, other);
            }
            offer
        } else {
            let mut frame = stack::frame(rng);
            if rng.below(4) == 0 {
                let other = &self.corpus[rng.below(self.corpus.len())].frame;
                damage(rng, &mut frame, other);
            }
            let linear = (rng.below(4) == 0).then(|| SHORTEST + rng.below(frame.len().max(1)));
            Offer { frame, linear }
        };
        let len = offer.frame.len().clamp(SHORTEST, LONGEST);
        offer.frame.resize(len, 0);
        offer.linear = offer.linear.map(|linear| linear.clamp(SHORTEST, len));
        offer
    }
}
