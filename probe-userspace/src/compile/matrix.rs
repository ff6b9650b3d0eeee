//! The meaning of a policy to matrix cells.

use std::collections::{BTreeMap, BTreeSet};

use probe_common::{Cell, Decision, Stages, limits::MAX_STAGES, profile};

use super::{
    Matrix,
    orders::{Meaning, Profile},
};
use crate::{
    diagnostic::{Diagnostic, Place},
    geo::ClassTable,
    instant::Instant,
};

/// Compiles all cells. What was before `now` is of no interest: the first stage of a timed cell goes back for
/// ever.
pub(super) fn matrix(
    meaning: &Meaning<'_>,
    classes: &ClassTable,
    now: Instant,
    remarks: &mut Vec<Diagnostic>,
) -> (Matrix, Vec<Stages>) {
    let mut cells = Vec::with_capacity(meaning.profiles.len() * classes.len());
    let mut stages = Vec::new();
    let mut idx_of_stages: BTreeMap<([u32; MAX_STAGES], [u16; MAX_STAGES + 1]), u16> = BTreeMap::new();
    let mut refused = BTreeSet::new();
    for profile in &meaning.profiles {
        for class in 0..classes.len() as u16 {
            let course = course(meaning, profile, class, now);
            if course.changes.is_empty() {
                cells.push(Cell::fixed(course.first));
                continue;
            }
            if course.changes.len() > MAX_STAGES {
                let orders = changing_orders(meaning, profile, class, now);
                if refused.insert(orders.clone()) {
                    remarks.push(too_many_changes(
                        meaning,
                        &orders,
                        classes.name(class),
                        course.changes.len(),
                    ));
                }
                cells.push(Cell::fixed(Decision::DROP));
                continue;
            }
            let compiled = course.stages();
            let n_stages = stages.len();
            let idx = *idx_of_stages
                .entry((compiled.until_s, compiled.decision))
                .or_insert_with(|| {
                    stages.push(compiled);
                    // Distinct stages are far fewer than cells: they differ by breakpoint and action only.
                    u16::try_from(n_stages).unwrap_or(u16::MAX)
                });
            cells.push(Cell::timed(idx));
        }
    }
    if stages.len() > usize::from(u16::MAX) {
        remarks.push(Diagnostic::error(
            Place::file(&meaning.policy.file),
            stages.len().to_string(),
            "the orders change in more ways than the kernel's table holds",
            "split the policy",
        ));
    }
    let n_classes = classes.len();
    (
        Matrix {
            n_classes,
            n_profiles: meaning.profiles.len(),
            cells,
        },
        stages,
    )
}

/// How the action of a cell goes on from an instant.
struct Course {
    first: Decision,
    /// Each instant at which it becomes another one, ascending.
    changes: Vec<(Instant, Decision)>,
}

impl Course {
    /// The kernel's form of at most `MAX_STAGES` changes.
    fn stages(&self) -> Stages {
        let mut stages = Stages {
            until_s: [0; MAX_STAGES],
            decision: [0; MAX_STAGES + 1],
            reserved: [0; 2],
        };
        let mut action = self.first;
        for (idx, (instant, next)) in self.changes.iter().enumerate() {
            stages.until_s[idx] = instant.0;
            stages.decision[idx] = action.0;
            action = *next;
        }
        stages.decision[MAX_STAGES] = action.0;
        stages
    }
}

fn course(meaning: &Meaning<'_>, profile: &Profile, class: u16, now: Instant) -> Course {
    let breakpoints: BTreeSet<Instant> = meaning
        .speaking(profile, class)
        .flat_map(|(order, _)| [order.effective, order.until])
        .flatten()
        .filter(|instant| *instant > now)
        .collect();
    let first = meaning.action(profile, class, now);
    let mut action = first;
    let mut changes = Vec::new();
    for instant in breakpoints {
        let next = meaning.action(profile, class, instant);
        if next != action {
            changes.push((instant, next));
            action = next;
        }
    }
    Course { first, changes }
}

/// Indexes of the orders that still begin or end for a class.
fn changing_orders(meaning: &Meaning<'_>, profile: &Profile, class: u16, now: Instant) -> Vec<usize> {
    let speaking: BTreeSet<&str> = meaning
        .speaking(profile, class)
        .filter(|(order, _)| {
            [order.effective, order.until]
                .into_iter()
                .flatten()
                .any(|at| at > now)
        })
        .map(|(order, _)| order.id.as_str())
        .collect();
    let ids = meaning.orders.iter().map(|order| order.id.as_str());
    ids.enumerate()
        .filter(|(_, id)| speaking.contains(id))
        .map(|(idx, _)| idx)
        .collect()
}

fn too_many_changes(meaning: &Meaning<'_>, orders: &[usize], class: &str, n_changes: usize) -> Diagnostic {
    let ids: Vec<&str> = orders
        .iter()
        .map(|idx| meaning.orders[*idx].id.as_str())
        .collect();
    let place = orders.first().map_or_else(
        || Place::file(&meaning.policy.file),
        |idx| meaning.policy.orders[*idx].id.place.clone(),
    );
    Diagnostic::error(
        place,
        ids.join(", "),
        format!(
            "these orders change the verdict for {class} {n_changes} more times; the kernel can be told of \
             {MAX_STAGES} changes ahead"
        ),
        "move the later ones to a policy that is applied later",
    )
}

/// Numbers of profiles fit their type: the limit is far below.
const _: () = assert!(probe_common::limits::MAX_PROFILES <= u8::MAX as usize);
const _: () = assert!((profile::FIRST_OWN as usize) < probe_common::limits::MAX_PROFILES);
