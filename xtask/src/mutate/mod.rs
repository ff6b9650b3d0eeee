//! `mutate-parser`: does the corpus notice when a branch of the parser is missing?
//!
//! Works on a copy of the checkout under `target/`. There the loader is changed to read its object from a file, so that
//! the tests are built once, and each mutant costs one build of the eBPF side and one run of the corpus.

mod equivalent;
mod mutants;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, ensure};

use crate::{process, root_user, setup};
use equivalent::EQUIVALENT;
use mutants::{Mutant, mutants};

/// Arguments of `mutate-parser`.
#[derive(clap::Args)]
pub struct MutateArgs {
    /// Only mutants whose "file:line: description" contains one of these
    filters: Vec<String>,
    /// Show the mutants, and do nothing
    #[arg(long)]
    list: bool,
    /// Every so many-th mutant only
    #[arg(long, default_value_t = 1)]
    each: usize,
}

/// The code that is mutated: files and directories.
const PLACES: [&str; 5] = [
    "probe-ebpf/src/parse",
    "probe-ebpf/src/l4.rs",
    "probe-ebpf/src/tunnel.rs",
    "probe-common/src/frame.rs",
    "probe-common/src/l4.rs",
];

/// The part of the corpus that judges.
const TEST: &str = "corpus::first_rung::verdict_and_counter_of_every_case";
/// Where the changed loader finds the directory of the objects.
const OBJECTS_VARIABLE: &str = "CORDON_MUTANT";
/// The loader, and the objects that it shall not take from itself: name of the static, and of the file. Both read
/// frames.
const LOADER: &str = "probe-userspace/src/dataplane/object.rs";
const EMBEDDED: [(&str, &str); 2] = [("ENTRY", "entry"), ("GENERATION", "generation")];

/// What became of a mutant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// A case failed.
    Killed,
    /// No case noticed.
    Survived,
    /// Not a program: nothing to notice.
    NotBuilt,
    /// Known to judge every frame alike: not run.
    Equivalent,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Survived => "SURVIVED",
            Self::NotBuilt => "does not build",
            Self::Equivalent => "judges alike",
        }
    }
}

/// Runs the corpus on every mutant and prints which of them it did not notice.
pub fn run(args: &MutateArgs) -> anyhow::Result<()> {
    let all = all_mutants(args)?;
    if args.list {
        for (path, mutant) in &all {
            println!("{path}:{}: {}", mutant.line, mutant.what);
        }
        println!("{} mutants", all.len());
        return Ok(());
    }
    ensure!(!all.is_empty(), "no mutant's description contains a filter");
    root_user::require("mutate-parser", false)?;
    setup::run()?;

    let copy = Copy::make()?;
    let test = copy.build_test()?;
    ensure!(
        copy.outcome(&test)? == Outcome::Survived,
        "the corpus fails without any mutant: run `cargo xtask test {TEST}`"
    );
    let mut outcomes = Vec::new();
    for (idx, (path, mutant)) in all.iter().enumerate() {
        let started = Instant::now();
        let outcome = match reason_to_skip(path, mutant) {
            Some(_) => Outcome::Equivalent,
            None => copy.with_mutant(path, mutant, &test)?,
        };
        println!(
            "{}/{} {path}:{}: {}: {} ({:.0} s)",
            idx + 1,
            all.len(),
            mutant.line,
            mutant.what,
            outcome.name(),
            started.elapsed().as_secs_f64()
        );
        outcomes.push(outcome);
    }
    summary(&all, &outcomes);
    Ok(())
}

fn summary(all: &[(String, Mutant)], outcomes: &[Outcome]) {
    let n_of = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    println!(
        "\n{} mutants: {} killed, {} survived, {} do not build, {} judge alike",
        all.len(),
        n_of(Outcome::Killed),
        n_of(Outcome::Survived),
        n_of(Outcome::NotBuilt),
        n_of(Outcome::Equivalent)
    );
    for ((path, mutant), outcome) in all.iter().zip(outcomes) {
        if *outcome == Outcome::Survived {
            println!("survived: {path}:{}: {}", mutant.line, mutant.what);
        }
        if let Some(reason) = reason_to_skip(path, mutant) {
            println!("judges alike: {path}:{}: {}: {reason}", mutant.line, mutant.what);
        }
    }
}

/// Why no corpus can notice a mutant, if it is known to be such a one.
fn reason_to_skip(path: &str, mutant: &Mutant) -> Option<&'static str> {
    EQUIVALENT
        .iter()
        .find(|(file, what, _)| *file == path && *what == mutant.what)
        .map(|(_, _, reason)| *reason)
}

/// Every mutant of every place, with the path of its file.
fn all_mutants(args: &MutateArgs) -> anyhow::Result<Vec<(String, Mutant)>> {
    let tracked = tracked_files()?;
    let mut all = Vec::new();
    for path in tracked.iter().filter(|path| path.ends_with(".rs")) {
        if PLACES.iter().any(|place| Path::new(path).starts_with(place)) {
            let text = read(&process::workspace_root().join(path))?;
            all.extend(mutants(&text).into_iter().map(|mutant| (path.clone(), mutant)));
        }
    }
    if !args.filters.is_empty() {
        all.retain(|(path, mutant)| {
            let shown = format!("{path}:{}: {}", mutant.line, mutant.what);
            args.filters.iter().any(|filter| shown.contains(filter))
        });
    }
    Ok(all.into_iter().step_by(args.each.max(1)).collect())
}

fn tracked_files() -> anyhow::Result<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(process::workspace_root());
    let listed = process::output_of(&mut git).context("`git ls-files` failed: is this a checkout?")?;
    Ok(listed.lines().map(str::to_owned).collect())
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A copy of the checkout, with target directories of its own that outlive the run.
struct Copy {
    checkout: PathBuf,
    bpf_target: PathBuf,
    /// Name of a rustup toolchain, or the prefix of a compiler.
    toolchain: String,
}

impl Copy {
    fn make() -> anyhow::Result<Self> {
        let root = process::workspace_root();
        let checkout = root.join("target/mutate/checkout");
        let mut wanted = tracked_files()?;
        wanted.push(".bpf-toolchain".to_owned());
        for path in &wanted {
            let (from, to) = (root.join(path), checkout.join(path));
            // Listed, but deleted.
            let Ok(bytes) = fs::read(&from) else { continue };
            // Untouched files keep their time, so that cargo builds little.
            if fs::read(&to).is_ok_and(|there| there == bytes) && path != LOADER {
                continue;
            }
            let dir = to.parent().context("every file has a directory")?;
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
            fs::write(&to, bytes).with_context(|| format!("cannot write {}", to.display()))?;
        }
        let copy = Self {
            toolchain: read(&root.join(".bpf-toolchain"))?.trim().to_owned(),
            bpf_target: root.join("target/mutate/bpf"),
            checkout,
        };
        copy.open_loader()?;
        Ok(copy)
    }

    /// Makes the copy's loader read its objects from files.
    fn open_loader(&self) -> anyhow::Result<()> {
        let path = self.checkout.join(LOADER);
        let mut text = read(&path)?;
        for (name, file) in EMBEDDED {
            let function = format!("mutant_{file}");
            let opened = called(&text, name, &format!("{function}()"));
            ensure!(
                opened != text,
                "{LOADER} does not use {name}: adapt xtask/src/mutate/mod.rs"
            );
            let from_file = format!(
                "\n/// Of a mutant.\n\
                 fn {function}() -> &'static [u8] {{\n\
                 static BYTES: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {{\n\
                 let dir = std::env::var_os(\"{OBJECTS_VARIABLE}\").unwrap_or_default();\n\
                 std::fs::read(Path::new(&dir).join(\"{file}\")).unwrap_or_default()\n\
                 }});\n\
                 &BYTES\n\
                 }}\n"
            );
            text = opened + &from_file;
        }
        write(&path, &text)
    }

    /// Builds the tests; gives the path of their binary.
    fn build_test(&self) -> anyhow::Result<PathBuf> {
        let mut build = self.cargo(&[
            "test",
            "--package",
            "integration-tests",
            "--test",
            "main",
            "--no-run",
        ]);
        build.env("CARGO_TARGET_DIR", self.checkout.join("target"));
        build.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = build.output().context("cannot run cargo")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "the tests do not build in {}:\n{said}",
            self.checkout.display()
        );
        let line = said
            .lines()
            .rev()
            .find(|line| line.trim_start().starts_with("Executable"));
        let binary = line
            .and_then(|line| line.rsplit_once('('))
            .and_then(|(_, rest)| rest.strip_suffix(')'))
            .context("cargo does not say where the tests lie")?;
        Ok(self.checkout.join(binary))
    }

    /// Puts a mutant into the copy, judges it, and takes it out again.
    fn with_mutant(&self, path: &str, mutant: &Mutant, test: &Path) -> anyhow::Result<Outcome> {
        let file = self.checkout.join(path);
        let text = read(&file)?;
        write(&file, &mutant.apply(&text))?;
        let outcome = self.outcome(test);
        write(&file, &text)?;
        outcome
    }

    fn outcome(&self, test: &Path) -> anyhow::Result<Outcome> {
        let Some(objects) = self.build_objects()? else {
            return Ok(Outcome::NotBuilt);
        };
        let mut run = Command::new(test);
        run.args([TEST, "--exact", "--test-threads=1"])
            .current_dir(self.checkout.join("tests"))
            .env(OBJECTS_VARIABLE, objects)
            .stdin(Stdio::null());
        let output = run
            .output()
            .with_context(|| format!("cannot run {}", test.display()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(said.contains("running 1 test"), "there is no test {TEST}");
        Ok(if output.status.success() {
            Outcome::Survived
        } else {
            Outcome::Killed
        })
    }

    /// Builds the objects as the build script of `probe-userspace` does; gives their directory. `None`: they do not
    /// build.
    fn build_objects(&self) -> anyhow::Result<Option<PathBuf>> {
        let mut build = if self.toolchain.starts_with('/') {
            Command::new(Path::new(&self.toolchain).join("bin/cargo"))
        } else {
            let mut rustup = Command::new("rustup");
            rustup.args(["run", &self.toolchain, "cargo"]);
            rustup
        };
        let arch = env::consts::ARCH;
        let target = if cfg!(target_endian = "little") {
            "bpfel-unknown-none"
        } else {
            "bpfeb-unknown-none"
        };
        build
            .args(["build", "--quiet", "--package", "probe-ebpf", "--release"])
            .args(EMBEDDED.iter().flat_map(|(_, file)| ["--bin", *file]))
            .args(["-Z", "build-std=core", "--target", target, "--target-dir"])
            .arg(&self.bpf_target)
            .current_dir(&self.checkout)
            .env("RUSTC_BOOTSTRAP", "1")
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                format!("--cfg=bpf_target_arch=\"{arch}\"\u{1f}-Cdebuginfo=2\u{1f}-Clink-arg=--btf"),
            )
            .env("PATH", process::search_path())
            .env_remove("RUSTC")
            .env_remove("RUSTUP_TOOLCHAIN")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status = build
            .status()
            .with_context(|| format!("cannot run {}", process::shown(&build)))?;
        let objects = self.bpf_target.join(target).join("release");
        Ok(status.success().then_some(objects))
    }

    fn cargo(&self, args: &[&str]) -> Command {
        let mut cargo = process::cargo(args);
        cargo.current_dir(&self.checkout).stdin(Stdio::null());
        cargo
    }
}

/// The text with a static's name, where it is used and not part of a path, turned into a call.
fn called(text: &str, name: &str, call: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut called = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let (before, from) = rest.split_at(at);
        let behind = &from[name.len()..];
        called.push_str(before);
        let is_defined = before.ends_with("static ");
        if is_defined || before.ends_with(is_part) || behind.starts_with(is_part) {
            called.push_str(name);
        } else {
            called.push_str(call);
        }
        rest = behind;
    }
    called.push_str(rest);
    called
}

#[cfg(test)]
mod tests {
    use super::called;

    #[test]
    fn only_the_static_itself_is_called() {
        assert_eq!(
            called(
                "static GENERATION: u8; load(GENERATION, program::GENERATION, GENERATIONS)",
                "GENERATION",
                "mutant()"
            ),
            "static GENERATION: u8; load(mutant(), program::GENERATION, GENERATIONS)"
        );
    }
}
