//! The kernel against the reference, frame by frame and counter by counter.

use std::fmt;

use anyhow::ensure;
use probe_common::{Fate, Reason};

use super::Offer;
use crate::{
    corpus::{
        data::to_dump,
        world::{Counts, World, difference, in_words},
    },
    reference::{Answer, Reference},
};

/// A frame on which kernel and reference do not agree.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The frame, made as small as possible.
    pub offer: Offer,
    /// What the reference expects.
    pub expected: Answer,
    /// What became of it in the kernel.
    pub fate: Fate,
    /// What the kernel counted.
    pub counted: Counts,
}

impl Difference {
    /// Two differences of one kind have most likely one cause.
    pub fn kind(&self) -> String {
        format!(
            "the reference expects {:?}, {}; the kernel had {:?}, {}",
            self.expected.fate,
            self.expected.reason.name(),
            self.fate,
            in_words(&self.counted)
        )
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; linear {:?}\n{}",
            self.kind(),
            self.offer.linear,
            to_dump(&self.offer.frame)
        )
    }
}

/// Offers frames to a world and to its reference; gives those on which they differ, and adds to `seen` what the
/// reference expects. The sum over all counters must be the number of frames.
pub fn compare(
    world: &World,
    reference: &Reference,
    offers: &[Offer],
    seen: &mut Counts,
) -> anyhow::Result<Vec<Difference>> {
    let before = world.counts()?;
    let mut expected = Counts::new();
    let mut differs = false;
    for offer in offers {
        let answer = reference.judge(&offer.frame);
        let fate = world.offer(&offer.frame, offer.linear)?;
        *expected.entry(answer.reason).or_default() += 1;
        differs |= !is_fate_of(answer, fate);
    }
    let counted = without_caps(difference(&world.counts()?, &before));
    for (reason, n) in &expected {
        *seen.entry(*reason).or_default() += n;
    }
    if !differs && counted == expected {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for offer in offers {
        if let Some(difference) = compare_one(world, reference, offer)? {
            found.push(difference);
        }
    }
    ensure!(
        !found.is_empty(),
        "counted {}, expected {}, and no single frame is to blame",
        in_words(&counted),
        in_words(&expected)
    );
    Ok(found)
}

fn compare_one(world: &World, reference: &Reference, offer: &Offer) -> anyhow::Result<Option<Difference>> {
    let expected = reference.judge(&offer.frame);
    let before = world.counts()?;
    let fate = world.offer(&offer.frame, offer.linear)?;
    let counted = without_caps(difference(&world.counts()?, &before));
    let agrees = is_fate_of(expected, fate) && counted == Counts::from([(expected.reason, 1)]);
    Ok((!agrees).then(|| Difference {
        offer: offer.clone(),
        expected,
        fate,
        counted,
    }))
}

/// An ICMP error passes or drops by the state of the cap, which is no matter of the frame.
fn is_fate_of(expected: Answer, fate: Fate) -> bool {
    match expected.reason {
        Reason::IcmpError => matches!(fate, Fate::Passed | Fate::Dropped),
        _ => fate == expected.fate,
    }
}

fn without_caps(mut counts: Counts) -> Counts {
    if let Some(capped) = counts.remove(&Reason::IcmpErrorCapped) {
        *counts.entry(Reason::IcmpError).or_default() += capped;
    }
    counts
}

impl Difference {
    /// The same difference on a smaller frame: cut at the end, and with zeros wherever the value does not matter.
    pub fn minimised(self, world: &World, reference: &Reference) -> anyhow::Result<Self> {
        let mut smallest = self;
        let kind = smallest.kind();
        let try_offer = |smallest: &mut Self, offer: Offer| -> anyhow::Result<bool> {
            match compare_one(world, reference, &offer)? {
                Some(difference) if difference.kind() == kind => {
                    *smallest = difference;
                    Ok(true)
                }
                _ => Ok(false),
            }
        };
        let whole = Offer {
            linear: None,
            ..smallest.offer.clone()
        };
        try_offer(&mut smallest, whole)?;
        for step in [64, 16, 4, 1] {
            while let Some(len) = smallest
                .offer
                .frame
                .len()
                .checked_sub(step)
                .filter(|len| *len >= 14)
            {
                let shorter = Offer {
                    frame: smallest.offer.frame[..len].to_vec(),
                    linear: smallest.offer.linear.map(|linear| linear.min(len)),
                };
                if !try_offer(&mut smallest, shorter)? {
                    break;
                }
            }
        }
        for at in 0..smallest.offer.frame.len() {
            if smallest.offer.frame[at] != 0 {
                let mut zeroed = smallest.offer.clone();
                zeroed.frame[at] = 0;
                try_offer(&mut smallest, zeroed)?;
            }
        }
        Ok(smallest)
    }
}
