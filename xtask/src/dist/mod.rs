//! `dist`: a .deb, an .rpm and a tarball, from one tree that is laid out once.
//!
//! The formats' own tools pack it (`dpkg-deb`, `rpmbuild`, `tar`): what they do is checked by `lintian` and `rpm`, and
//! content and scripts cannot differ between the packages.

mod deb;
mod rpm;
mod scripts;
mod stage;
mod tarball;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::{process, setup};

/// Arguments of `dist`.
#[derive(clap::Args)]
pub struct DistArgs {
    /// Where the packages go
    #[arg(long, value_name = "DIR", default_value = "target/dist")]
    out: PathBuf,
    /// Pack this `cordon`, with the `manual` beside it, instead of building a static one for release. Compressed
    /// quickly: for tests
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Version of the packages [default: that of Cargo.toml]
    #[arg(long, value_name = "VERSION")]
    package_version: Option<String>,
    /// Only these formats: `deb`, `rpm`, `tar`
    #[arg(
        long,
        value_name = "FORMAT",
        value_delimiter = ',',
        default_value = "deb,rpm,tar"
    )]
    formats: Vec<String>,
}

/// What the packers need to know.
struct Release {
    version: String,
    /// Seconds since 1970 of the commit: the same commit gives the same packages.
    epoch_s: String,
    /// Whether to save time rather than bytes.
    is_quick: bool,
    /// `packaging/` beside the binary's source.
    packaging: PathBuf,
    /// Where work in progress lies.
    work: PathBuf,
    /// The tree.
    stage: PathBuf,
    out: PathBuf,
}

/// Target of the static build. Named, so that build scripts and macros are linked as always.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds the packages and their checksums.
pub fn run(args: &DistArgs) -> anyhow::Result<()> {
    for format in &args.formats {
        if !["deb", "rpm", "tar"].contains(&format.as_str()) {
            bail!("there is no format `{format}`: deb, rpm, tar");
        }
    }
    let root = process::workspace_root();
    let out = root.join(&args.out);
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let work = out.join("work");
    remove_dir(&work)?;
    let release = Release {
        version: args
            .package_version
            .clone()
            .unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
        epoch_s: epoch_s(),
        is_quick: args.binary.is_some(),
        packaging: root.join("probe-userspace/packaging"),
        stage: work.join("tree"),
        work,
        out,
    };
    let binaries = match &args.binary {
        Some(cordon) => cordon.parent().context("the binary has no directory")?.to_owned(),
        None => build()?,
    };
    stage::lay_out(&release, &root, &binaries)?;
    let mut packages = Vec::new();
    for format in &args.formats {
        packages.push(match format.as_str() {
            "deb" => deb::pack(&release)?,
            "rpm" => rpm::pack(&release)?,
            _ => tarball::pack(&release)?,
        });
    }
    checksums(&release.out, &packages)?;
    remove_dir(&release.work)?;
    for package in &packages {
        println!("{}", package.display());
    }
    Ok(())
}

/// A static program runs on any distribution, whatever its C library is.
fn build() -> anyhow::Result<PathBuf> {
    setup::run()?;
    let mut command = process::cargo(&["build", "--release", "--target", TARGET]);
    command.args(["--package", "probe-userspace", "--package", "integration-tests"]);
    command.args(["--bin", "cordon", "--bin", "manual"]);
    command.env(
        format!(
            "CARGO_TARGET_{}_RUSTFLAGS",
            TARGET.to_uppercase().replace('-', "_")
        ),
        "-C target-feature=+crt-static",
    );
    process::run(&mut command)?;
    let (_, cordon) = process::cordon_variable(&format!("{TARGET}/release"))?;
    let dir = Path::new(&cordon)
        .parent()
        .context("the binary has no directory")?;
    Ok(dir.to_owned())
}

fn epoch_s() -> String {
    let mut command = process::tool("git", &["log", "-1", "--format=%ct"]);
    process::output_of(&mut command).map_or_else(|| "0".to_owned(), |text| text.trim().to_owned())
}

/// `SHA256SUMS`, as `sha256sum --check` takes it.
fn checksums(out: &Path, packages: &[PathBuf]) -> anyhow::Result<()> {
    let names = packages.iter().filter_map(|path| path.file_name());
    let mut command = Command::new("sha256sum");
    command.args(names).current_dir(out);
    let text = process::output_of(&mut command).context("sha256sum failed")?;
    write(&out.join("SHA256SUMS"), &text)
}

fn remove_dir(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file, with the directories above it.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

impl Release {
    /// A template of `packaging/` with its `@words@` filled in.
    fn fill(&self, template: &str, words: &[(&str, &str)]) -> anyhow::Result<String> {
        let mut text = read(&self.packaging.join(template))?;
        for (word, value) in words {
            text = text.replace(&format!("@{word}@"), value);
        }
        Ok(text)
    }
}
