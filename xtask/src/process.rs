//! Running other programs.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

/// Root of the workspace.
pub fn workspace_root() -> PathBuf {
    // At run time first: the checkout may have been moved since this was compiled.
    let manifest_dir = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let manifest_dir = PathBuf::from(manifest_dir);
    manifest_dir
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or(manifest_dir)
}

/// Where this build's `cordon` lies, for harness and lab: they need not look for it, nor cargo be there as root.
pub fn cordon_variable(profile_dir: &str) -> anyhow::Result<(&'static str, String)> {
    let this = env::current_exe().context("cannot tell where xtask itself lies")?;
    let target_dir = this
        .ancestors()
        .nth(2)
        .context("xtask lies outside a target directory")?;
    let cordon = target_dir.join(profile_dir).join("cordon");
    let cordon = cordon.into_os_string().into_string();
    match cordon {
        Ok(cordon) => Ok(("CORDON_BIN", cordon)),
        Err(cordon) => bail!("the path {} is not UTF-8", cordon.display()),
    }
}

/// The cargo that runs this, in the workspace root.
pub fn cargo(args: &[&str]) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(args).current_dir(workspace_root());
    command
}

/// Another program, in the workspace root.
pub fn tool(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(workspace_root());
    command
}

/// Runs a command with our own output; fails unless it exits with 0.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// What a command prints on standard output; `None` if it cannot be run or fails.
pub fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    if !output.status.success() {
        return None;
    }
    String::from_utf8(output.stdout).ok()
}

/// A command as one would type it.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or_default().to_string_lossy()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy()));
    format!("`{}`", words.join(" "))
}

/// The first file of this name in the directories of a `PATH`.
pub fn find_in(path: &OsString, program: &str) -> Option<PathBuf> {
    env::split_paths(path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Where `cargo install` puts binaries.
pub fn cargo_bin_dir() -> Option<PathBuf> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))?;
    Some(cargo_home.join("bin"))
}

/// `PATH` with cargo's own directory of binaries at the end: Debian's cargo does not put it there.
pub fn search_path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(cargo_bin_dir());
    env::join_paths(dirs).unwrap_or(path)
}
