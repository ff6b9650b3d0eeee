use std::{fs, path::PathBuf, process::Command};

use integration_tests::cordon_process::{Cordon, binary};

use super::{Packages, said};
use crate::{halt::POLICY, traffic::edge::Edge};

/// The tree of the .deb.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    said(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(Packages::get().deb())
            .arg(dir.path()),
    );
    dir
}

fn units(tree: &tempfile::TempDir) -> [PathBuf; 2] {
    ["cordon", "cordon-restore"]
        .map(|name| tree.path().join(format!("usr/lib/systemd/system/{name}.service")))
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let tree = tree();
    for unit in units(&tree) {
        let text = fs::read_to_string(&unit).unwrap();
        // The program and the manual are not installed here.
        let text = text
            .replace("/usr/sbin/cordon", &binary().unwrap().to_string_lossy())
            .lines()
            .filter(|line| !line.starts_with("Documentation="))
            .collect::<Vec<_>>()
            .join("\n");
        fs::write(&unit, text + "\n").unwrap();
        let output = Command::new("systemd-analyze")
            .arg("verify")
            .arg(&unit)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let about = |line: &&str| line.contains(&*unit.file_name().unwrap().to_string_lossy());
        let remarks: Vec<&str> = stderr.lines().filter(about).collect();
        assert!(remarks.is_empty(), "{remarks:#?}");
    }
}

/// 2.0 at most, of 10 for a unit that may do all.
#[test]
fn the_units_may_do_little() {
    for unit in units(&tree()) {
        let report = said(
            Command::new("systemd-analyze")
                .args(["security", "--no-pager", "--offline=true", "--threshold=20"])
                .arg(&unit),
        );
        println!("{}", report.lines().last().unwrap_or_default());
    }
}

/// Each directive of the sandbox says why, and so do most others.
#[test]
fn the_sandbox_is_explained() {
    let tree = tree();
    for unit in units(&tree) {
        let text = fs::read_to_string(&unit).unwrap();
        let n_comments = text.lines().filter(|line| line.starts_with('#')).count();
        assert!(n_comments > 20, "{} has {n_comments} comments", unit.display());
    }
}

/// Takes one capability away after the other: with all three it starts, without any one of them it does not.
#[test]
fn every_capability_is_needed() {
    const ALL: [&str; 3] = ["bpf", "net_admin", "perfmon"];
    let edge = Edge::new();
    let mut daemon = edge.start(POLICY);
    daemon.kill().unwrap();
    crate::halt::forget_the_boot(&daemon);
    let restore = |cordon: &Cordon<'_>, capabilities: &[&str]| {
        let kept = capabilities
            .iter()
            .map(|name| format!(",+{name}"))
            .collect::<String>();
        let mut command = edge.lab.edge.command("setpriv");
        command
            .arg(format!("--bounding-set=-all{kept}"))
            .arg(format!("--inh-caps=-all{kept}"))
            .args([
                "--securebits=+noroot",
                &format!("--ambient-caps=-all{kept}"),
                "--no-new-privs",
            ])
            .arg(binary().unwrap())
            .arg("-c")
            .arg(cordon.dir().join("cordon.toml"))
            .arg("restore")
            .env("NO_COLOR", "1");
        command.output().unwrap()
    };
    let with_all = restore(&daemon, &ALL);
    assert!(with_all.status.success(), "{with_all:?}");
    for without in ALL {
        crate::halt::forget_the_boot(&daemon);
        let rest: Vec<&str> = ALL.into_iter().filter(|name| *name != without).collect();
        let output = restore(&daemon, &rest);
        let stderr = String::from_utf8_lossy(&output.stderr);
        println!("without {without}: {}", stderr.lines().last().unwrap_or_default());
        assert!(!output.status.success(), "it starts without {without}: {stderr}");
    }
}
