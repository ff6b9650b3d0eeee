//! Rules for every text file.

use std::path::Path;

use super::{File, Finding};

/// Paths that exist on one machine only. Split, or this file would break its own rule.
const MACHINE_PATHS: [&str; 3] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];

/// Hosts and settings that would fetch packages from somewhere else than cargo's default.
const REGISTRIES: [&str; 6] = [
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("sparse", "+http"),
    concat!("replace", "-with"),
    concat!("registry.npmjs", ".org"),
    concat!("deb.debian", ".org"),
];

/// Inputs that are wrong on purpose, to the byte.
const BROKEN_ON_PURPOSE: &str = "tests/broken/";

pub fn check(file: &File, paths: &[&str], findings: &mut Vec<Finding>) {
    let has_form = file.has_extension(&["rs", "md", "toml"]) && !file.path.starts_with(BROKEN_ON_PURPOSE);
    for (idx, line) in file.text.lines().enumerate() {
        for path in MACHINE_PATHS {
            // Part of a longer relative path.
            if let Some((before, _)) = line.split_once(path)
                && !before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '*'))
            {
                findings.push(file.finding(idx, format_args!("`{path}` is a path of one machine")));
            }
        }
        for host in REGISTRIES.iter().filter(|host| line.contains(**host)) {
            findings.push(file.finding(
                idx,
                format_args!("`{host}`: packages come from cargo's default place"),
            ));
        }
        if has_form {
            check_blanks(file, idx, line, findings);
        }
    }
    if has_form && !file.text.is_empty() && !file.text.ends_with('\n') {
        findings.push(file.finding(file.text.lines().count() - 1, "no newline at the end"));
    }
    if file.has_extension(&["md"]) {
        check_links(file, paths, findings);
    }
}

fn check_blanks(file: &File, idx: usize, line: &str, findings: &mut Vec<Finding>) {
    if line.ends_with([' ', '\t']) {
        findings.push(file.finding(idx, "blank at the end of the line"));
    }
    let indentation = &line[..line.len() - line.trim_start().len()];
    if indentation.contains('\t') {
        findings.push(file.finding(idx, "tab in the indentation"));
    }
}

/// `[text](path)` must lead to a tracked file or a directory of one.
fn check_links(file: &File, paths: &[&str], findings: &mut Vec<Finding>) {
    let dir = Path::new(&file.path).parent().unwrap_or(Path::new(""));
    for (idx, line) in file.text.lines().enumerate() {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with('#') || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let target = dir.join(target.split('#').next().unwrap_or(target));
            if !paths.iter().any(|path| Path::new(path).starts_with(&target)) {
                findings.push(file.finding(
                    idx,
                    format_args!("`{}` is not in the repository", target.display()),
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::findings_of, MACHINE_PATHS};

    #[test]
    fn machine_paths_are_found_anywhere() {
        for path in MACHINE_PATHS {
            for line in [
                format!("{path}x\n"),
                format!("# see {path}x\n"),
                format!("x = \"{path}\"\n"),
            ] {
                assert_eq!(
                    findings_of("a.conf", &line).len(),
                    1,
                    "{line:?} names one machine's path"
                );
            }
        }
        assert!(findings_of("a.conf", concat!("policies/ro", "ot/x\n")).is_empty());
    }

    #[test]
    fn registries_are_found() {
        assert_eq!(
            findings_of(".cargo/config.toml", concat!("replace", "-with = \"m\"\n")).len(),
            1
        );
    }

    #[test]
    fn blanks_are_found_in_sources_only() {
        assert_eq!(
            findings_of("a.md", "x \n"),
            ["a.md:1: blank at the end of the line"]
        );
        assert_eq!(
            findings_of("a.toml", "\n\tx = 1\n"),
            ["a.toml:2: tab in the indentation"]
        );
        assert_eq!(
            findings_of("a.toml", "x = 1"),
            ["a.toml:1: no newline at the end"]
        );
        assert!(findings_of("a.golden", "x \n").is_empty());
        assert!(findings_of("tests/broken/a.toml", "x ").is_empty());
    }

    #[test]
    fn dead_links_are_found() {
        assert!(findings_of("a.md", "[itself](a.md#x) [web](https://example.org/a.md)\n").is_empty());
        assert_eq!(
            findings_of("docs/a.md", "[gone](b.md)\n"),
            ["docs/a.md:1: `docs/b.md` is not in the repository"]
        );
    }
}
