//! A source file that no other names as its module: it is not compiled, and its tests do not run.

use super::{File, Finding};

/// Adds a finding for every module file that none of its possible parents declares.
///
/// The parents of `a/b.rs` and `a/b/mod.rs` are `a/mod.rs`, `a/main.rs`, `a/lib.rs` and `a.rs` (Rust reference, "Modules:
/// Module source filenames"). A file without any of them is the root of a crate.
pub fn check(files: &[File], findings: &mut Vec<Finding>) {
    for file in files.iter().filter(|file| file.has_extension(&["rs"])) {
        let Some((dir, name)) = place_of(&file.path) else {
            continue;
        };
        let candidates = [
            format!("{dir}/mod.rs"),
            format!("{dir}/main.rs"),
            format!("{dir}/lib.rs"),
            format!("{dir}.rs"),
        ];
        let mut parents = files
            .iter()
            .filter(|file| candidates.contains(&file.path))
            .peekable();
        if parents.peek().is_none() {
            continue;
        }
        let path = format!("#[path = \"{name}.rs\"]");
        let is_named = || files.iter().any(|file| file.text.contains(&path));
        if !parents.any(|parent| declares(&parent.text, name)) && !is_named() {
            findings.push(file.finding(
                0,
                format_args!("no file declares `mod {name};`: this one is not compiled"),
            ));
        }
    }
}

/// The directory in which the parent looks for the module, and the module's name; none for the root of a crate.
fn place_of(path: &str) -> Option<(&str, &str)> {
    let stem = path.strip_suffix(".rs")?;
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    let (dir, name) = stem.rsplit_once('/')?;
    let is_root = matches!(name, "main" | "lib" | "build") || dir.ends_with("/bin");
    (!is_root).then_some((dir, name))
}

fn declares(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let rest = line.trim_end().strip_suffix(';').unwrap_or_default();
        let declared = rest
            .rsplit_once("mod ")
            .filter(|(before, _)| !before.contains("//"));
        declared.is_some_and(|(_, declared)| declared == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(files: &[(&str, &str)]) -> Vec<Finding> {
        let files: Vec<File> = files
            .iter()
            .map(|&(path, text)| File {
                path: path.to_owned(),
                text: text.to_owned(),
            })
            .collect();
        let mut findings = Vec::new();
        check(&files, &mut findings);
        findings
    }

    #[test]
    fn a_file_that_nobody_declares_is_found() {
        let found = findings(&[
            ("t/main.rs", "mod a;\n// mod b;\npub(crate) mod c;\n"),
            ("t/a.rs", "mod inner;\n"),
            ("t/a/inner.rs", ""),
            ("t/a/lost.rs", ""),
            ("t/b.rs", ""),
            ("t/c/mod.rs", ""),
            ("t/bin/tool.rs", ""),
            ("u/lib.rs", ""),
        ]);
        assert_eq!(
            found,
            [
                "t/a/lost.rs:1: no file declares `mod lost;`: this one is not compiled",
                "t/b.rs:1: no file declares `mod b;`: this one is not compiled",
            ]
        );
    }
}
