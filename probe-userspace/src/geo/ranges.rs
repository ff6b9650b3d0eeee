//! The oracle's table: sorted starts of runs of addresses of one class.

/// Runs of addresses of one class: run `i` goes from `starts[i]` to just before `starts[i + 1]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges<A> {
    starts: Vec<A>,
    classes: Vec<u16>,
}

impl<A: Copy + Ord> Ranges<A> {
    /// Appends a run; runs come in ascending order, and one of the class of the run before it is merged.
    pub fn push(&mut self, start: A, class: u16) {
        if self.classes.last() != Some(&class) {
            self.starts.push(start);
            self.classes.push(class);
        }
    }

    /// The class of an address; unknown before the first run.
    pub fn class_of(&self, address: A) -> u16 {
        match self.starts.partition_point(|start| *start <= address) {
            0 => probe_common::class::UNKNOWN,
            after => self.classes[after - 1],
        }
    }

    /// Runs as (start, class).
    pub fn iter(&self) -> impl Iterator<Item = (A, u16)> {
        self.starts.iter().copied().zip(self.classes.iter().copied())
    }

    /// Number of runs.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is no run.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}
