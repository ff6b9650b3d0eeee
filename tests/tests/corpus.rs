//! The packet corpus: data and generator agree, the reference agrees with the data, and so does the kernel, on every
//! rung.

/// By BPF_PROG_TEST_RUN.
mod first_rung;
/// On a wire.
mod second_rung;

use std::collections::BTreeMap;

use integration_tests::corpus::{Case, Settings, data, rows};

/// All cases, by what they are judged by.
fn by_settings(cases: &[Case]) -> BTreeMap<&Settings, Vec<&Case>> {
    let mut groups: BTreeMap<&Settings, Vec<&Case>> = BTreeMap::new();
    for case in cases {
        groups.entry(&case.settings).or_default().push(case);
    }
    groups
}

fn all_cases() -> Vec<Case> {
    data::load()
        .unwrap()
        .into_iter()
        .flat_map(|row| row.cases)
        .collect()
}

/// Settings that cannot be published fail, but hide no other failure. Verifier logs are long, and end with what counts.
pub(crate) fn not_published(settings: &Settings, error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let lines: Vec<&str> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(6)..].join("\n");
    format!("{settings:?} cannot be published: {end}")
}

#[test]
fn the_data_are_what_the_generator_writes() {
    let dir = data::directory().join("rows");
    let expected = rows::all();
    for row in &expected {
        let path = dir.join(row.file_name());
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            text == data::to_text(row).unwrap(),
            "{} is not what its generator writes: run `cargo run -p integration-tests --bin corpus -- write` and \
             review the difference",
            path.display()
        );
    }
    assert_eq!(
        data::load().unwrap(),
        expected,
        "what is written reads back the same"
    );
}

#[test]
fn every_row_of_the_specification_is_there() {
    let numbers: Vec<u8> = data::load().unwrap().iter().map(|row| row.number).collect();
    assert_eq!(numbers, (1..=45).collect::<Vec<u8>>());
}

#[test]
fn the_reference_expects_what_the_data_say() {
    let mut wrong = Vec::new();
    let mut n_frames = 0;
    for case in data::load().unwrap().iter().flat_map(|row| &row.cases) {
        let reference = case.settings.reference().unwrap();
        for run in case.runs() {
            let answer = reference.judge(&run.frame);
            n_frames += 1;
            if (answer.fate, answer.reason) != (case.fate, case.reason) {
                wrong.push(format!(
                    "{}: the data say {:?} by {}, the reference {:?} by {}",
                    run.name(),
                    case.fate,
                    case.reason.name(),
                    answer.fate,
                    answer.reason.name()
                ));
            }
        }
    }
    assert!(n_frames > 1_000, "the corpus has {n_frames} frames");
    assert!(
        wrong.is_empty(),
        "{} of {n_frames} frames:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
