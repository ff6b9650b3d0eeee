//! Broken policies and host files, and the exact remarks that cordon makes on them.
//!
//! `tests/broken/{policy,host}/NAME.toml` is the input, `NAME.expected` beside it the remarks. `CORDON_BLESS=1`
//! writes what came out into the `.expected` files: read the difference before you commit it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use cordon::{
    compile,
    diagnostic::{Diagnostic, has_errors},
    geo::{self, GeoChoice, Location},
    host::{self, FieldChoice},
    instant::Instant,
    policy,
};

/// Number of broken files that the project promises to keep (issue 2 asks for 40).
const MIN_FILES: usize = 45;

/// Loaded only if some broken policy passes the parser.
static LOCATION: LazyLock<Arc<Location>> = LazyLock::new(|| {
    let location = geo::load(&GeoChoice::Embedded, FieldChoice::CountryFirst);
    Arc::new(location.expect("the embedded database loads"))
});

#[test]
fn broken_policies_get_the_expected_remarks() {
    check_folder("policy", policy_remarks);
}

#[test]
fn broken_host_files_get_the_expected_remarks() {
    check_folder("host", |file, text| host::parse(file, text).1);
}

#[test]
fn there_are_enough_broken_files() {
    let n_files = inputs("policy").len() + inputs("host").len();
    assert!(n_files >= MIN_FILES, "only {n_files} broken files");
}

/// Remarks of the parser and, if it takes the policy, of the compiler.
fn policy_remarks(file: &str, text: &str) -> Vec<Diagnostic> {
    let (parsed, mut remarks) = policy::parse(file, text);
    if let Some(parsed) = parsed {
        let now =
            Instant::parse("2026-11-20T12:00:00Z").expect("a fixed instant, so that remarks never change");
        let (_, compile_remarks) =
            compile::compile(&parsed, text, &LOCATION, now, &compile::FrameSettings::default());
        remarks.extend(compile_remarks);
    }
    remarks
}

fn check_folder(folder: &str, remarks_of: impl Fn(&str, &str) -> Vec<Diagnostic>) {
    let bless = env::var_os("CORDON_BLESS").is_some();
    let mut failures = Vec::new();
    for input in inputs(folder) {
        let name = input.file_name().expect("inputs are files").to_string_lossy();
        let file = format!("{folder}/{name}");
        let bytes = fs::read(&input).expect("the file was just listed");
        let remarks = match policy::decode(&file, &bytes) {
            Ok(text) => remarks_of(&file, &text),
            Err(remark) => vec![remark],
        };
        if !has_errors(&remarks) {
            failures.push(format!("{file}: broken, but nothing refused it"));
        }
        let found: String = remarks.iter().map(|remark| format!("{remark}\n")).collect();

        let expected_path = input.with_extension("expected");
        if bless {
            fs::write(&expected_path, &found).expect("the folder of the goldens is writable");
            continue;
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if found != expected {
            failures.push(format!("{file}:\n{}", diff(&expected, &found)));
        }
    }
    let n_failures = failures.len();
    assert!(
        failures.is_empty(),
        "{n_failures} files differ (- expected, + found; CORDON_BLESS=1 accepts what was found)\n\n{}",
        failures.join("\n")
    );
}

fn inputs(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("broken").join(folder);
    let mut inputs = Vec::new();
    for entry in fs::read_dir(&folder).expect("the folder of the goldens exists") {
        let path = entry.expect("the folder of the goldens is readable").path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => inputs.push(path),
            Some("expected") => assert!(
                path.with_extension("toml").exists(),
                "{} has no input",
                path.display()
            ),
            _ => panic!("{} is neither an input nor a golden", path.display()),
        }
    }
    inputs.sort();
    inputs
}

/// A line diff by longest common subsequence.
fn diff(expected: &str, found: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let mut common = vec![vec![0usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = String::new();
    while i < old.len() || j < new.len() {
        let (mark, line) = if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
            (' ', new[j - 1])
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            i += 1;
            ('-', old[i - 1])
        } else {
            j += 1;
            ('+', new[j - 1])
        };
        lines.push_str(&format!("{mark} {line}\n"));
    }
    lines
}
