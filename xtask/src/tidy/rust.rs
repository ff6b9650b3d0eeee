//! Rules for Rust source.

use super::{File, Finding, code_only};

/// A longer file has more than one subject.
const MAX_LINES: usize = 500;

/// The only places for `unsafe`, by the start of the path, each with its reason.
const UNSAFE_PLACES: [(&str, &str); 18] = [
    ("probe-ebpf/src/packet.rs", "the one packet accessor"),
    ("probe-ebpf/src/maps/", "wrappers of map access"),
    ("probe-ebpf/src/clock.rs", "the kernel's clock"),
    ("probe-ebpf/src/record.rs", "this CPU's counter"),
    (
        "probe-ebpf/src/bin/entry/main.rs",
        "the state word, the tail call",
    ),
    (
        "probe-ebpf/src/bin/egress/main.rs",
        "the state word, the tail call",
    ),
    (
        "probe-ebpf/src/bin/egress/socket.rs",
        "the socket behind a packet",
    ),
    ("probe-ebpf/src/slot.rs", "the state word"),
    ("probe-ebpf/src/skb.rs", "the accessor of leaving packets"),
    (
        "probe-ebpf/src/bin/generation/",
        "map values: state, buckets, caps, flows, events",
    ),
    (
        "probe-ebpf/src/bin/peers/",
        "programs of the tests, never of a running cordon",
    ),
    ("probe-common/src/shared.rs", "aya::Pod of the shared structs"),
    ("probe-userspace/src/daemon/access.rs", "SO_PEERGROUPS"),
    (
        "probe-userspace/src/dataplane/sys",
        "system calls that aya has no call for",
    ),
    ("probe-userspace/src/daemon/clock.rs", "clock_gettime"),
    ("probe-userspace/src/link/ethtool.rs", "an ioctl"),
    ("probe-userspace/build.rs", "environment of the inner build"),
    // Namespaces, sockets bound in them, raw frames.
    ("tests/src/", "system calls of the lab"),
];

/// Names that say nothing about what is inside.
const EMPTY_WORDS: [&str; 7] = [
    "util", "utils", "helper", "helpers", "manager", "managers", "misc",
];

/// Keywords before the name of something new.
const DEFINERS: [&str; 14] = [
    "fn",
    "struct",
    "enum",
    "union",
    "trait",
    "mod",
    "type",
    "const",
    "static",
    "let",
    "mut",
    "macro_rules",
    "crate",
    "as",
];

pub fn check(file: &File, findings: &mut Vec<Finding>) {
    let n_lines = file.text.lines().count();
    if n_lines > MAX_LINES {
        findings.push(file.finding(
            MAX_LINES,
            format_args!("{n_lines} lines, more than {MAX_LINES}: split it"),
        ));
    }
    for word in file
        .path
        .split(['/', '.', '_', '-'])
        .filter(|word| is_empty_word(word))
    {
        findings.push(file.finding(0, format_args!("`{word}` in a file's name says nothing")));
    }
    let code = code_only(&file.text);
    check_unsafe(file, &code, findings);
    check_lint_attributes(file, &code, findings);
    check_names(file, &code, findings);
}

fn check_unsafe(file: &File, code: &str, findings: &mut Vec<Finding>) {
    if UNSAFE_PLACES
        .iter()
        .any(|(place, _why)| file.path.starts_with(place))
    {
        return;
    }
    for (idx, line) in code.lines().enumerate() {
        // `#[unsafe(no_mangle)]` does nothing unsafe by itself.
        let line = line.replace("unsafe(", "");
        if words(&line).any(|word| word == "unsafe") {
            findings.push(file.finding(
                idx,
                "`unsafe` outside the places listed in xtask/src/tidy/rust.rs",
            ));
        }
    }
}

/// `#[expect(lint, reason = "..")]`; `allow` outlives its cause in silence.
fn check_lint_attributes(file: &File, code: &str, findings: &mut Vec<Finding>) {
    for opening in ["[allow(", "[expect(", ", allow(", ", expect("] {
        for (at, _) in code.match_indices(opening) {
            let is_attribute = opening.starts_with('[')
                || code[..at].rfind("#[").is_some_and(|start| {
                    code[start..at].starts_with("#[cfg_attr(") && !code[start..at].contains(']')
                });
            if !is_attribute {
                continue;
            }
            let rest = &code[at..];
            let attribute = &rest[..rest.find(")]").unwrap_or(rest.len())];
            if !words(attribute).any(|word| word == "reason") {
                let idx = code[..at].matches('\n').count();
                findings.push(file.finding(idx, "a lint is silenced without a `reason`"));
            }
        }
    }
}

fn check_names(file: &File, code: &str, findings: &mut Vec<Finding>) {
    for (idx, line) in code.lines().enumerate() {
        let mut previous = "";
        for word in words(line) {
            if DEFINERS.contains(&previous) && parts(word).iter().any(|part| is_empty_word(part)) {
                findings.push(file.finding(idx, format_args!("`{word}`: say what it does instead")));
            }
            previous = word;
        }
    }
}

fn is_empty_word(word: &str) -> bool {
    EMPTY_WORDS.contains(&word.to_ascii_lowercase().as_str())
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

/// `LinkManager` and `link_manager` are `link` and `manager`.
fn parts(identifier: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for c in identifier.chars() {
        if c == '_'
            || (c.is_uppercase()
                && parts
                    .last()
                    .is_some_and(|part| part.ends_with(char::is_lowercase)))
        {
            parts.push(String::new());
        }
        if c != '_'
            && let Some(part) = parts.last_mut()
        {
            part.push(c);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::{super::findings_of, MAX_LINES};

    #[test]
    fn long_files_are_found_from_the_first_line_too_many() {
        assert!(findings_of("a.rs", &"\n".repeat(MAX_LINES)).is_empty());
        assert_eq!(
            findings_of("a.rs", &"\n".repeat(MAX_LINES + 1)),
            ["a.rs:501: 501 lines, more than 500: split it"]
        );
    }

    #[test]
    fn unsafe_has_its_places() {
        let code = "fn f() {\n    unsafe { g() }\n}\n";
        assert_eq!(findings_of("probe-userspace/src/a.rs", code).len(), 1);
        assert!(findings_of("probe-ebpf/src/packet.rs", code).is_empty());
        assert!(findings_of("a.rs", "// unsafe\n#[unsafe(no_mangle)]\nfn f() {}\n").is_empty());
    }

    #[test]
    fn silenced_lints_have_a_reason() {
        for silent in [
            "#[allow(dead_code)]\n",
            "#![expect(\n    dead_code,\n)]\n",
            "#[cfg_attr(test, allow(dead_code))]\n",
        ] {
            assert_eq!(findings_of("a.rs", silent).len(), 1, "{silent:?} gives no reason");
        }
        assert!(
            findings_of(
                "a.rs",
                "#[expect(dead_code, reason = \"why\")]\nf(x, expect(1));\n"
            )
            .is_empty()
        );
        assert!(findings_of("a.rs", "// #[allow(dead_code)]\n").is_empty());
    }

    #[test]
    fn names_say_something() {
        for (path, text) in [
            ("src/utils.rs", ""),
            ("src/link_manager/a.rs", ""),
            ("a.rs", "struct LinkManager;\n"),
            ("a.rs", "fn parse_helper() {}\n"),
            ("a.rs", "let mut helper = 1;\n"),
        ] {
            assert_eq!(
                findings_of(path, text).len(),
                1,
                "{path} {text:?} has an empty name"
            );
        }
        let foreign = "use aya_ebpf::helpers::bpf_ktime_get_boot_ns;\nfn manage() { helpers::f(); }\n";
        assert!(findings_of("a.rs", foreign).is_empty());
    }
}
