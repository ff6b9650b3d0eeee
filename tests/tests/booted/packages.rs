use std::{collections::BTreeSet, path::Path, process::Command};

use super::{Packages, said};

/// What every package must hold, by the end of its path.
const CONTENT: [&str; 24] = [
    "usr/sbin/cordon",
    "usr/lib/systemd/system/cordon.service",
    "usr/lib/systemd/system/cordon-restore.service",
    "usr/lib/sysusers.d/cordon.conf",
    "usr/lib/tmpfiles.d/cordon.conf",
    "usr/share/cordon/cordon.toml",
    "usr/share/cordon/policies/examples/block-list.toml",
    "usr/share/cordon/policies/groups/europe.toml",
    "usr/share/doc/cordon/dbip-country-lite.LICENSE",
    "usr/share/doc/cordon/README.md",
    "usr/share/doc/cordon/CHANGELOG.md",
    "usr/share/doc/cordon/SECURITY.md",
    "usr/share/doc/cordon/copyright",
    "usr/share/doc/cordon/docs/policy.md",
    "usr/share/man/man1/cordon.1.gz",
    "usr/share/man/man1/cordon-apply.1.gz",
    "usr/share/man/man1/cordon-restore.1.gz",
    "usr/share/man/man1/cordon-bundle-push.1.gz",
    "usr/share/bash-completion/completions/cordon",
    "/_cordon",
    "usr/share/fish/vendor_completions.d/cordon.fish",
    "usr/share/doc/cordon/docs/audit.md",
    "usr/share/doc/cordon/docs/bundle.md",
    "usr/share/doc/cordon/docs/operations-push.md",
];

fn assert_content(package: &Path, listing: &str) {
    let paths: BTreeSet<&str> = listing.split_whitespace().collect();
    for wanted in CONTENT {
        assert!(
            paths.iter().any(|path| path.ends_with(wanted)),
            "{} has no {wanted}:\n{listing}",
            package.display()
        );
    }
    assert!(
        !paths
            .iter()
            .any(|path| path.trim_start_matches('.').starts_with("/etc/")),
        "a host file of the package's would be in the way of the host's own: {listing}"
    );
}

#[test]
fn the_deb_holds_it_all_and_lintian_finds_nothing() {
    let deb = Packages::get().deb();
    assert_content(&deb, &said(Command::new("dpkg-deb").arg("--contents").arg(&deb)));
    // The version under test, and a binary that is not for release: what release builds must pass is in the overrides.
    let found = said(
        Command::new("lintian")
            .args([
                "--allow-root",
                "--no-cfg",
                "--fail-on",
                "none",
                "--tag-display-limit",
                "0",
            ])
            .arg(&deb),
    );
    println!("{found}");
    let errors: Vec<&str> = found
        .lines()
        .filter(|line| line.starts_with("E:") || line.starts_with("W:"))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn the_rpm_holds_it_all_and_its_scripts_are_those_of_the_deb() {
    let rpm = Packages::get().rpm();
    let query = |args: &[&str]| {
        said(
            Command::new("rpm")
                .args(["--query", "--package"])
                .args(args)
                .arg(&rpm),
        )
    };
    assert_content(&rpm, &query(&["--list"]));
    let owners = query(&[
        "--queryformat",
        "[%{FILEUSERNAME}:%{FILEGROUPNAME} %{FILEMODES:perms} %{FILENAMES}\n]",
    ]);
    for line in owners.lines() {
        assert!(line.starts_with("root:root "), "{line}");
        assert!(!line.contains("rwxrwx") && !line.contains("rw-rw-"), "{line}");
    }
    let scripts = query(&["--scripts"]);
    for (script, line) in [
        ("postinstall", "systemd-sysusers cordon.conf"),
        ("preuninstall", "cordon detach --yes"),
        ("posttrans", "try-restart cordon.service"),
    ] {
        let (_, after) = scripts
            .split_once(&format!("{script} scriptlet"))
            .unwrap_or_else(|| panic!("no {script}:\n{scripts}"));
        let body = after.split(" scriptlet (").next().unwrap();
        assert!(body.contains(line), "{script}: {body}");
    }
    let (_, preun) = scripts.split_once("preuninstall scriptlet").unwrap();
    let (before, _) = preun.split_once("cordon detach").unwrap();
    assert!(
        before.contains("\"$1\" -eq 0"),
        "an upgrade must not detach: {before}"
    );
}

#[test]
fn the_tarball_holds_it_all_and_checksums_are_right() {
    let packages = Packages::get();
    let tarball = packages.tarball();
    assert_content(
        &tarball,
        &said(Command::new("tar").arg("--list").arg("--file").arg(&tarball)),
    );
    let sums = Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(&packages.dir)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&sums.stdout);
    assert!(sums.status.success(), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
}

/// Each verb has a page, and completions know it.
#[test]
fn manual_and_completions_know_every_verb() {
    let deb = Packages::get().deb();
    let listing = said(Command::new("dpkg-deb").arg("--contents").arg(&deb));
    let completions = said(
        Command::new("sh")
            .arg("-c")
            .arg("dpkg-deb --fsys-tarfile \"$0\" | tar --extract --to-stdout ./usr/share/bash-completion/completions/cordon")
            .arg(&deb),
    );
    let definition = cordon::cli::definition();
    for verb in definition.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = verb.get_name();
        assert!(
            listing.contains(&format!("/cordon-{name}.1.gz")),
            "no page for {name}"
        );
        assert!(
            completions.contains(&format!("cordon__subcmd__{name}"))
                || completions.contains(&format!("cordon,{name})")),
            "no completion for {name}"
        );
    }
}
