use std::{fs, path::Path};

use integration_tests::{
    booted::BootedHost,
    lab::{EDGE_IFNAME, Lab},
    probes::Outcome,
};

use super::{Packages, can_boot};
use crate::traffic::edge::address;

/// A code block of the README: its language and text.
type Block = (String, String);

/// The code blocks of a section, in order.
fn blocks(readme: &str, heading: &str) -> Vec<Block> {
    let (_, section) = readme
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("README.md has no section {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let parts: Vec<&str> = section.split("```").collect();
    let inside = parts.iter().skip(1).step_by(2);
    inside
        .map(|block| {
            let (language, text) = block.split_once('\n').unwrap();
            (language.to_owned(), text.to_owned())
        })
        .collect()
}

/// What differs between the README's host and this one, and nothing else.
fn adapted(line: &str) -> String {
    line.replace("eth0", EDGE_IFNAME)
        .replace("--for 60s", "--for 2s")
        .replace(
            &format!("cordon_{}_amd64.deb", env!("CARGO_PKG_VERSION")),
            "cordon.deb",
        )
}

#[test]
fn from_the_package_to_the_first_blocked_packet_with_the_commands_of_the_readme() {
    if !can_boot() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let lab = Lab::new().unwrap();
    let host = BootedHost::boot(&lab).unwrap();
    host.put(&Packages::get().deb(), "/srv/cordon.deb").unwrap();
    let blocked = address("175.45.176.1");
    let met = |source| lab.reach_from(source).unwrap().uniform();
    assert_eq!(met(blocked), Some(Outcome::Passed));

    let mut n_commands = 0;
    for (language, text) in [
        blocks(&readme, "Install"),
        blocks(&readme, "First policy in five minutes"),
    ]
    .concat()
    {
        match language.as_str() {
            "toml" => {
                host.ok(&format!("cat > first.toml <<'END'\n{text}END\n"))
                    .unwrap();
            }
            "sh" => {
                for line in text.lines().filter(|line| !line.is_empty()) {
                    println!("# {line}");
                    let line = adapted(line);
                    // On a terminal, as a person has one.
                    let said = host
                        .ok(&format!("script --quiet --return --command '{line}' /dev/null"))
                        .unwrap();
                    println!("{said}");
                    n_commands += 1;
                }
            }
            other => panic!("what is a newcomer to do with a block of {other}?"),
        }
    }
    assert!(n_commands >= 8, "the README shows {n_commands} commands only");
    assert_eq!(met(blocked), Some(Outcome::Blocked), "the first blocked packet");
    assert_eq!(met(address("217.0.0.1")), Some(Outcome::Passed));
}
