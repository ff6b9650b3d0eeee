//! What the demo prints, and the tally of what was as expected.

use std::time::Instant;

/// Headings, checks and their tally.
#[derive(Debug)]
pub struct Report {
    started: Instant,
    n_sections: usize,
    n_checks: usize,
    failed: Vec<String>,
}

impl Report {
    /// Nothing checked yet.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            n_sections: 0,
            n_checks: 0,
            failed: Vec::new(),
        }
    }

    /// Begins a section.
    pub fn section(&mut self, title: &str) {
        self.n_sections += 1;
        println!("\n{}. {title}", self.n_sections);
    }

    /// Prints something worth knowing.
    pub fn note(&self, text: &str) {
        println!("   {text}");
    }

    /// Notes whether something is as it should be. `claim` is a sentence that holds if it is.
    pub fn check(&mut self, is_so: bool, claim: impl Into<String>) {
        let claim = claim.into();
        self.n_checks += 1;
        println!("   {} {claim}", if is_so { "[ ok ]" } else { "[FAIL]" });
        if !is_so {
            self.failed.push(claim);
        }
    }

    /// Prints the totals; whether everything was as expected.
    pub fn finish(self) -> bool {
        let seconds = self.started.elapsed().as_secs_f32();
        println!(
            "\n{} checks, {} failed, {seconds:.0} s",
            self.n_checks,
            self.failed.len()
        );
        for claim in &self.failed {
            println!("   not as expected: {claim}");
        }
        if self.failed.is_empty() {
            println!("Everything was as expected.");
        }
        self.failed.is_empty()
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}
