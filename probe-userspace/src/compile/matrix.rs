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
    row_names: &[String],
    now: Instant,
    remarks: &mut Vec<Diagnostic>,
) -> (Matrix, Vec<Stages>) {
    let n_rows = meaning.rows.len();
    let n_cells_of_row = meaning.profiles.len() * classes.len();
    let mut building = Building {
        meaning,
        classes,
        row_names,
        now,
        cells: Vec::with_capacity(n_rows * n_cells_of_row),
        stages: Vec::new(),
        idx_of_stages: BTreeMap::new(),
        refused: BTreeSet::new(),
        remarks,
    };
    let mut first_of_signature: BTreeMap<Vec<Vec<usize>>, usize> = BTreeMap::new();
    for row in 0..n_rows {
        let start = building.cells.len();
        let like = *first_of_signature
            .entry(meaning.signature(row as u32))
            .or_insert(start);
        if like < start {
            building.cells.extend_from_within(like..like + n_cells_of_row);
        } else {
            building.add_row(row as u32);
        }
    }
    let (cells, stages) = (building.cells, building.stages);
    if stages.len() > usize::from(u16::MAX) {
        remarks.push(Diagnostic::error(
            Place::file(&meaning.policy.file),
            stages.len().to_string(),
            "the orders change in more ways than the kernel's table holds",
            "split the policy",
        ));
    }
    let matrix = Matrix {
        n_classes: classes.len(),
        n_profiles: meaning.profiles.len(),
        cells,
    };
    (matrix, stages)
}

struct Building<'a, 'p> {
    meaning: &'a Meaning<'p>,
    classes: &'a ClassTable,
    row_names: &'a [String],
    now: Instant,
    cells: Vec<Cell>,
    stages: Vec<Stages>,
    idx_of_stages: BTreeMap<([u32; MAX_STAGES], [u16; MAX_STAGES + 1]), u16>,
    /// The orders and exemptions that were refused already.
    refused: BTreeSet<(Vec<usize>, Option<Place>)>,
    remarks: &'a mut Vec<Diagnostic>,
}

impl Building<'_, '_> {
    fn add_row(&mut self, row: u32) {
        let meaning = self.meaning;
        for profile in &meaning.profiles {
            for class in 0..self.classes.len() as u16 {
                let cell = self.cell(row, profile, class);
                self.cells.push(cell);
            }
        }
    }

    fn cell(&mut self, row: u32, profile: &Profile, class: u16) -> Cell {
        let course = Course::new(self.meaning, row, profile, class, self.now);
        if course.changes.is_empty() {
            return Cell::fixed(course.first);
        }
        if course.changes.len() > MAX_STAGES {
            self.refuse(row, profile, class, course.changes.len());
            return Cell::fixed(Decision::DROP);
        }
        let compiled = course.stages();
        let n_stages = self.stages.len();
        let idx = *self
            .idx_of_stages
            .entry((compiled.until_s, compiled.decision))
            .or_insert_with(|| {
                self.stages.push(compiled);
                // Distinct stages are far fewer than cells: they differ by breakpoint and action only.
                u16::try_from(n_stages).unwrap_or(u16::MAX)
            });
        Cell::timed(idx)
    }

    fn refuse(&mut self, row: u32, profile: &Profile, class: u16, n_changes: usize) {
        let meaning = self.meaning;
        let orders: Vec<usize> = meaning
            .speaking(row, class)
            .filter(|(_, instants)| instants.iter().any(|instant| *instant > self.now))
            .map(|(idx, _)| idx)
            .collect();
        let exemption = match profile {
            Profile::Lift(lift) if !lift.phases.is_empty() => lift.place.clone(),
            Profile::Lift(_) | Profile::Runtime(_) | Profile::AllOrders | Profile::Deny => None,
        };
        if !self.refused.insert((orders.clone(), exemption.clone())) {
            return;
        }
        let ids: Vec<&str> = orders
            .iter()
            .map(|idx| meaning.orders[*idx].id.as_str())
            .collect();
        let what = match (&exemption, ids.is_empty()) {
            (None, _) => "these orders change",
            (Some(_), true) => "the phases of this exemption change",
            (Some(_), false) => "the phases of this exemption and these orders change",
        };
        let of_order = orders
            .first()
            .map(|idx| meaning.policy.orders[*idx].id.place.clone());
        let place = exemption
            .or(of_order)
            .unwrap_or_else(|| Place::file(&meaning.policy.file));
        let for_row = match (row, self.row_names.get(row as usize)) {
            (0, _) | (_, None) => String::new(),
            (_, Some(name)) => format!(" ({name})"),
        };
        self.remarks.push(Diagnostic::error(
            place,
            ids.join(", "),
            format!(
                "{what} the verdict for {}{for_row} {n_changes} more times; the kernel can be told of {MAX_STAGES} \
                 changes ahead",
                self.classes.name(class)
            ),
            "move the later ones to a policy that is applied later",
        ));
    }
}

/// How the decision of a cell goes on from an instant.
struct Course {
    first: Decision,
    /// Each instant at which it becomes another one, ascending.
    changes: Vec<(Instant, Decision)>,
}

impl Course {
    fn new(meaning: &Meaning<'_>, row: u32, profile: &Profile, class: u16, now: Instant) -> Self {
        let first = meaning.decision(row, profile, class, now);
        let mut decision = first;
        let mut changes = Vec::new();
        for instant in meaning.breakpoints(row, profile, class, now) {
            let next = meaning.decision(row, profile, class, instant);
            if next != decision {
                changes.push((instant, next));
                decision = next;
            }
        }
        Self { first, changes }
    }

    /// The kernel's form of at most `MAX_STAGES` changes.
    fn stages(&self) -> Stages {
        let mut stages = Stages {
            until_s: [0; MAX_STAGES],
            decision: [0; MAX_STAGES + 1],
            reserved: [0; 2],
        };
        let mut decision = self.first;
        for (idx, (instant, next)) in self.changes.iter().enumerate() {
            stages.until_s[idx] = instant.0;
            stages.decision[idx] = decision.0;
            decision = *next;
        }
        stages.decision[MAX_STAGES] = decision.0;
        stages
    }
}

/// Numbers of profiles fit their type: the limit is far below.
const _: () = assert!(probe_common::limits::MAX_PROFILES <= u8::MAX as usize);
const _: () = assert!((profile::FIRST_OWN as usize) < probe_common::limits::MAX_PROFILES);
