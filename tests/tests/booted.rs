//! A whole host under systemd: from the package to the purge, and what a newcomer does with it.

/// Install, restart, upgrade, reboot, stop, remove, purge, with packets all the while.
mod life;
/// The commands that the README shows, from the package to the first blocked packet.
mod newcomer;
/// What the packages hold and run.
mod packages;
/// The units, as systemd's own tools see them.
mod units;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use integration_tests::{booted, cordon_process::binary};

/// Version of the packages that a test upgrades to.
const NEXT: &str = concat!(env!("CARGO_PKG_VERSION"), "+next");

/// Packages of the binary under test, made once: the .deb, the .rpm, the tarball, and a later .deb.
struct Packages {
    dir: PathBuf,
}

impl Packages {
    fn get() -> &'static Self {
        static PACKAGES: OnceLock<Packages> = OnceLock::new();
        PACKAGES.get_or_init(|| {
            let target = binary().unwrap().ancestors().nth(2).unwrap();
            let dir = target.join("booted/packages");
            if dir.exists() {
                fs::remove_dir_all(&dir).unwrap();
            }
            dist(&dir, &["--formats", "deb,rpm,tar"]);
            dist(
                &dir.join("next"),
                &["--formats", "deb", "--package-version", NEXT],
            );
            Self { dir }
        })
    }

    fn deb(&self) -> PathBuf {
        self.only(&self.dir, ".deb")
    }

    fn next_deb(&self) -> PathBuf {
        self.only(&self.dir.join("next"), ".deb")
    }

    fn rpm(&self) -> PathBuf {
        self.only(&self.dir, ".rpm")
    }

    fn tarball(&self) -> PathBuf {
        self.only(&self.dir, ".tar.gz")
    }

    fn only(&self, dir: &Path, ending: &str) -> PathBuf {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let mut found = entries.filter(|path| path.to_string_lossy().ends_with(ending));
        let package = found
            .next()
            .unwrap_or_else(|| panic!("no {ending} in {}", dir.display()));
        assert!(found.next().is_none(), "more than one {ending}");
        package
    }
}

fn dist(out: &Path, args: &[&str]) {
    let cordon = binary().unwrap();
    let said = said(
        Command::new(cordon.with_file_name("xtask"))
            .arg("dist")
            .arg("--binary")
            .arg(cordon)
            .arg("--out")
            .arg(out)
            .args(args),
    );
    println!("{said}");
}

/// What a command prints; it must succeed.
fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?} failed: {}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// `false`: the test is skipped, and says so. With the promised counts a skip is a failure.
fn can_boot() -> bool {
    let Some(why) = booted::missing() else {
        return true;
    };
    assert!(
        std::env::var_os("CORDON_TEST_FULL").is_none(),
        "nothing can be booted here: {why}"
    );
    // Past the test runner, which shows nothing that a passing test prints.
    let text = format!("SKIPPED: nothing can be booted here: {why}\n");
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    false
}
