//! What this machine has.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    TOOLCHAIN_VARIABLE,
    plan::{DEBIAN_PACKAGES, DEBIAN_PREFIX, LINKED_TOOLCHAIN},
};
use crate::process;

/// As far as `setup` cares.
#[derive(Debug, Default)]
pub struct Machine {
    /// The toolchain that the user named.
    pub named_toolchain: Option<String>,
    /// rustup is on `PATH`.
    pub has_rustup: bool,
    /// rustup's nightlies.
    pub nightlies: Vec<Nightly>,
    /// `cordon-bpf` is a rustup toolchain and leads to `/usr`.
    pub is_linked: bool,
    /// apt-get and dpkg-query are there.
    pub has_apt: bool,
    /// Those of [`DEBIAN_PACKAGES`] that are completely installed.
    pub packages: Vec<String>,
    /// Debian's compiler, if it runs.
    pub debian_compiler: Option<Compiler>,
    /// Version of bpf-linker, if it runs.
    pub linker_version: Option<String>,
}

/// A nightly toolchain of rustup.
#[derive(Debug, Clone)]
pub struct Nightly {
    /// As rustup calls it.
    pub name: String,
    /// Its standard library's source is there.
    pub has_rust_src: bool,
    /// 98 for `rustc 1.98.0-nightly`; `None` if it does not run.
    pub rustc_minor: Option<u32>,
}

/// A compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compiler {
    /// 96 for 1.96.
    pub minor: u32,
    /// 22 for LLVM 22.1.8.
    pub llvm_major: u32,
}

impl Machine {
    /// Looks at this machine.
    pub fn look() -> Self {
        let path = process::search_path();
        let rustup_home = process::find_in(&path, "rustup").and_then(rustup_home);
        let has_apt =
            process::find_in(&path, "apt-get").is_some() && process::find_in(&path, "dpkg-query").is_some();
        Self {
            named_toolchain: env::var(TOOLCHAIN_VARIABLE).ok().filter(|name| !name.is_empty()),
            has_rustup: rustup_home.is_some(),
            nightlies: rustup_home.as_deref().map(nightlies).unwrap_or_default(),
            is_linked: rustup_home.as_deref().is_some_and(is_linked),
            has_apt,
            packages: if has_apt { installed_packages() } else { Vec::new() },
            debian_compiler: compiler(&Path::new(DEBIAN_PREFIX).join("bin/rustc")),
            linker_version: linker_version(&path),
        }
    }
}

fn rustup_home(rustup: PathBuf) -> Option<PathBuf> {
    let home = process::output_of(Command::new(rustup).args(["show", "home"]))?;
    Some(PathBuf::from(home.trim()))
}

fn nightlies(rustup_home: &Path) -> Vec<Nightly> {
    let Ok(entries) = fs::read_dir(rustup_home.join("toolchains")) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let dir = entry.path();
            name.starts_with("nightly").then(|| Nightly {
                has_rust_src: dir.join("lib/rustlib/src/rust/library/core").is_dir(),
                rustc_minor: compiler(&dir.join("bin/rustc")).map(|compiler| compiler.minor),
                name,
            })
        })
        .collect()
}

fn is_linked(rustup_home: &Path) -> bool {
    let link = rustup_home.join("toolchains").join(LINKED_TOOLCHAIN);
    fs::read_link(link).is_ok_and(|target| target == Path::new(DEBIAN_PREFIX))
}

fn installed_packages() -> Vec<String> {
    // One name at a time: dpkg-query fails as a whole if it does not know one of several.
    let is_installed = |name: &str| {
        let query = ["--show", "--showformat=${db:Status-Status}", name];
        process::output_of(Command::new("dpkg-query").args(query)).is_some_and(|status| status == "installed")
    };
    DEBIAN_PACKAGES
        .iter()
        .filter(|(name, _why)| is_installed(name))
        .map(|(name, _why)| (*name).to_owned())
        .collect()
}

fn compiler(rustc: &Path) -> Option<Compiler> {
    parse_compiler(&process::output_of(Command::new(rustc).arg("-vV"))?)
}

fn parse_compiler(text: &str) -> Option<Compiler> {
    let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
    Some(Compiler {
        minor: field("release: 1.")?.split('.').next()?.parse().ok()?,
        llvm_major: field("LLVM version: ")?.split('.').next()?.parse().ok()?,
    })
}

fn linker_version(path: &OsString) -> Option<String> {
    let linker = process::find_in(path, "bpf-linker")?;
    let text = process::output_of(Command::new(linker).arg("--version"))?;
    text.split_whitespace().nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compilers_own_words_are_understood() {
        let text = "rustc 1.98.0-nightly (f53b654a8 2026-05-30)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n\
                    release: 1.98.0-nightly\nLLVM version: 22.1.4\n";
        let expected = Compiler {
            minor: 98,
            llvm_major: 22,
        };
        assert_eq!(parse_compiler(text), Some(expected));
        assert_eq!(parse_compiler("sh: rustc: not found"), None);
    }
}
