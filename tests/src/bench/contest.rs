//! Several contestants, all in turn in every round.

use anyhow::ensure;

use super::row::{Group, Row, Unit};

/// Figures of a contest, one for each contestant and round.
#[derive(Debug)]
pub struct Contest {
    group: Group,
    name: String,
    unit: Unit,
    contestants: Vec<(String, Vec<f64>)>,
}

impl Contest {
    /// A contest without figures.
    pub fn new(group: Group, name: impl Into<String>, unit: Unit) -> Self {
        Self {
            group,
            name: name.into(),
            unit,
            contestants: Vec::new(),
        }
    }

    /// Adds a contestant's figure in the present round. They appear in the order of the first round.
    pub fn add(&mut self, who: &str, figure: f64) {
        match self.contestants.iter_mut().find(|(name, _)| name == who) {
            Some((_, figures)) => figures.push(figure),
            None => self.contestants.push((who.to_owned(), vec![figure])),
        }
    }

    /// A contestant's figures; empty if there is none of this name.
    pub fn figures(&self, who: &str) -> &[f64] {
        self.contestants
            .iter()
            .find(|(name, _)| name == who)
            .map_or(&[], |(_, figures)| figures)
    }

    /// The subject against each of the others.
    pub fn rows(&self, subject: &str) -> anyhow::Result<Vec<Row>> {
        let n_rounds = self.figures(subject).len();
        ensure!(
            self.contestants
                .iter()
                .all(|(_, figures)| figures.len() == n_rounds),
            "{}: not every contestant took part in every round",
            self.name
        );
        let others = self.contestants.iter().filter(|(name, _)| name != subject);
        Ok(others
            .map(|(name, figures)| {
                let (subject, other) = ((subject, self.figures(subject)), (name.as_str(), &figures[..]));
                Row::alternating(self.group, &self.name, self.unit, subject, other)
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_meets_each_of_the_others_and_nobody_may_miss_a_round() {
        let mut contest = Contest::new(Group::Lookup, "x", Unit::Ns);
        for (index, lpm, dir) in [(10.0, 100.0, 20.0), (20.0, 100.0, 30.0)] {
            contest.add("index", index);
            contest.add("lpm", lpm);
            contest.add("dir", dir);
        }
        let rows = contest.rows("index").expect("both took part in every round");
        let keys: Vec<String> = rows.iter().map(Row::key).collect();
        assert_eq!(keys, ["lookup | x | index | lpm", "lookup | x | index | dir"]);
        assert_eq!(rows[0].ratio().map(|ratio| ratio.min), Some(5.0));

        contest.add("lpm", 90.0);
        contest
            .rows("index")
            .expect_err("a round without the others compares nothing");
    }
}
