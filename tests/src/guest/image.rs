//! What a guest boots into: an archive with the tests, what they read, and a script that runs them.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use tempfile::{NamedTempFile, TempDir};

use super::kernel::{Kernel, run};
use crate::cordon_process;

/// Before the release of the kernel.
pub(super) const RELEASE_MARK: &str = "guest: release ";
/// After the last test.
pub(super) const END_MARK: &str = "guest: end";

/// Modules that the tests need, in the order in which they are loaded.
const MODULES: [&str; 4] = [
    "drivers/net/veth",
    "drivers/net/dummy",
    "net/sched/sch_ingress",
    "net/sched/cls_bpf",
];

/// Programs that the tests run.
const PROGRAMS: [&str; 2] = ["/bin/busybox", "/sbin/ip"];

/// What the tests read, beside this file's package.
const FILES: [&str; 3] = ["tests/corpus", "tests/bundles", "policies"];

/// An initial file system (`newc` archive, Documentation/driver-api/early-userspace/buffer-format.rst).
pub(super) struct Image(NamedTempFile);

impl Image {
    /// Writes it into `dir`.
    pub fn write(
        dir: &Path,
        kernel: &Kernel,
        tests: &Path,
        filters: &[&str],
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let root = tempfile::tempdir_in(dir)?;
        for empty in ["bin", "proc", "sys", "dev", "tmp", "run", "etc", "root"] {
            fs::create_dir_all(root.path().join(empty))?;
        }
        let cordon = cordon_process::binary()?;
        for program in PROGRAMS.map(Path::new).into_iter().chain([tests, cordon]) {
            add_program(&root, program)?;
        }
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
        for file in FILES {
            let from = workspace.join(file);
            let to = place(&root, &from);
            fs::create_dir_all(to.parent().context("a file in a directory")?)?;
            run(Command::new("cp").arg("--archive").args([&from, &to]))?;
        }
        for path in MODULES {
            let from = kernel.module(path);
            let to = root.path().join(from.file_name().context("a module has a name")?);
            fs::copy(&from, to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        let init = root.path().join("init");
        fs::write(&init, script(&workspace, tests, cordon, filters, variables))?;
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
        let image = NamedTempFile::new_in(dir)?;
        archive(root.path(), &image)?;
        Ok(Self(image))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// The place of a file of this machine in the guest: the same path.
fn place(root: &TempDir, path: &Path) -> PathBuf {
    root.path().join(path.strip_prefix("/").unwrap_or(path))
}

/// Copies a program without its debug information, and the libraries that it names.
fn add_program(root: &TempDir, program: &Path) -> anyhow::Result<()> {
    let to = place(root, program);
    fs::create_dir_all(to.parent().context("a program in a directory")?)?;
    run(Command::new("strip")
        .arg("-o")
        .args([&to, &program.canonicalize()?]))?;
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("cannot run ldd")?;
    let libraries: BTreeSet<PathBuf> = String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect();
    for library in libraries {
        let to = place(root, &library);
        fs::create_dir_all(to.parent().context("a library in a directory")?)?;
        fs::copy(&library, to).with_context(|| format!("cannot copy {}", library.display()))?;
    }
    Ok(())
}

fn script(
    workspace: &Path,
    tests: &Path,
    cordon: &Path,
    filters: &[&str],
    variables: &[(&str, &str)],
) -> String {
    let modules: String = MODULES
        .iter()
        .filter_map(|path| path.rsplit('/').next())
        .map(|name| format!("insmod /{name}.ko\n"))
        .collect();
    let variables: String = variables
        .iter()
        .map(|(name, value)| format!("export {name}='{value}'\n"))
        .collect();
    format!(
        "#!/bin/busybox sh\n\
         export PATH=/sbin:/bin HOME=/root\n\
         /bin/busybox --install -s /bin\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sysfs /sys\n\
         mount -t devtmpfs devtmpfs /dev\n\
         mount -t tmpfs tmpfs /tmp\n\
         mount -t tmpfs tmpfs /run\n\
         mount -t bpf bpf /sys/fs/bpf\n\
         {modules}\
         ip link set lo up\n\
         echo \"{RELEASE_MARK}$(uname -r)\"\n\
         cd '{workspace}/tests'\n\
         export CORDON_BIN='{cordon}'\n\
         {variables}\
         '{tests}' {filters} --test-threads=1\n\
         dmesg\n\
         echo '{END_MARK}'\n\
         poweroff -f\n",
        workspace = workspace.display(),
        cordon = cordon.display(),
        tests = tests.display(),
        filters = filters.join(" "),
    )
}

/// Packs a directory.
fn archive(root: &Path, file: &NamedTempFile) -> anyhow::Result<()> {
    let mut find = Command::new("find")
        .arg(".")
        .current_dir(root)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run find")?;
    let names = find.stdout.take().context("find has an output")?;
    let status = Command::new("cpio")
        .args(["--create", "--format=newc", "--quiet"])
        .current_dir(root)
        .stdin(names)
        .stdout(file.reopen()?)
        .status()
        .context("cannot run cpio")?;
    ensure!(
        status.success() && find.wait()?.success(),
        "cpio failed ({status})"
    );
    Ok(())
}
