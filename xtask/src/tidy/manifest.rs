//! Rules for manifests and the lock file.

use super::{File, Finding};

/// Lines that every crate has: nothing is published by accident, and lints and licence are the workspace's.
const CRATE_LINES: [&str; 5] = [
    "version.workspace = true",
    "license.workspace = true",
    "publish.workspace = true",
    "rust-version.workspace = true",
    "[lints]\nworkspace = true",
];

const ROOT_LINES: [&str; 2] = ["publish = false", "license = \"MIT OR Apache-2.0\""];

const LOCK_SOURCE: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

pub fn check(file: &File, findings: &mut Vec<Finding>) {
    let required: &[&str] = match file.path.as_str() {
        "Cargo.lock" => {
            check_lock(file, findings);
            &[]
        }
        "Cargo.toml" => &ROOT_LINES,
        _ => &CRATE_LINES,
    };
    let text = format!("\n{}", file.text);
    for line in required
        .iter()
        .filter(|line| !text.contains(&format!("\n{line}\n")))
    {
        findings.push(file.finding(0, format_args!("`{}` is missing", line.replace('\n', " "))));
    }
}

fn check_lock(file: &File, findings: &mut Vec<Finding>) {
    for (idx, line) in file.text.lines().enumerate() {
        if line.starts_with("source = ") && line != LOCK_SOURCE {
            findings.push(file.finding(idx, "a dependency that is not from crates.io"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::findings_of, CRATE_LINES, LOCK_SOURCE};

    #[test]
    fn a_crate_takes_licence_and_lints_from_the_workspace() {
        let complete = CRATE_LINES.join("\n") + "\n";
        assert!(findings_of("probe-x/Cargo.toml", &complete).is_empty());
        for line in CRATE_LINES {
            let without = format!("\n{complete}").replace(&format!("\n{line}\n"), "\n");
            assert_eq!(
                findings_of("probe-x/Cargo.toml", &without).len(),
                1,
                "without {line:?}"
            );
        }
    }

    #[test]
    fn every_dependency_is_from_crates_io() {
        assert!(findings_of("Cargo.lock", &format!("{LOCK_SOURCE}\n")).is_empty());
        assert_eq!(
            findings_of("Cargo.lock", "source = \"git+https://example.org/x\"\n").len(),
            1
        );
    }
}
