//! Machines that were not at hand, each as a value.

use super::*;
use crate::setup::machine::{Compiler, Nightly};

fn bare_debian() -> Machine {
    Machine {
        has_apt: true,
        has_rustup: true,
        ..Machine::default()
    }
}

fn complete_debian() -> Machine {
    Machine {
        packages: DEBIAN_PACKAGES
            .iter()
            .map(|(name, _why)| (*name).to_owned())
            .collect(),
        debian_compiler: Some(Compiler {
            minor: 96,
            llvm_major: 22,
        }),
        is_linked: true,
        linker_version: Some(LINKER_VERSION.to_owned()),
        ..bare_debian()
    }
}

fn nightly(name: &str) -> Nightly {
    Nightly {
        name: name.to_owned(),
        has_rust_src: true,
        rustc_minor: Some(98),
    }
}

/// Fedora, say: rustup's nightly with rust-src, and a linker.
fn nightly_machine() -> Machine {
    Machine {
        has_rustup: true,
        nightlies: vec![nightly("nightly-x86_64-unknown-linux-gnu")],
        linker_version: Some("0.14.1".to_owned()),
        ..Machine::default()
    }
}

#[test]
fn a_complete_machine_needs_no_step() {
    let plan = plan(&complete_debian()).unwrap();
    assert_eq!(plan.toolchain, Toolchain::DebianLinked);
    assert_eq!(plan.steps, []);
}

#[test]
fn a_bare_debian_needs_everything_in_this_order() {
    let plan = plan(&bare_debian()).unwrap();
    let all = DEBIAN_PACKAGES.iter().map(|(name, _why)| *name).collect();
    assert_eq!(plan.steps, [Step::Packages(all), Step::Link, Step::Linker]);
}

#[test]
fn without_rustup_the_compiler_is_named_by_its_prefix_and_not_linked() {
    let machine = Machine {
        has_rustup: false,
        is_linked: false,
        ..complete_debian()
    };
    let plan = plan(&machine).unwrap();
    assert_eq!(plan.toolchain.name(), "/usr");
    assert_eq!(plan.steps, []);
}

#[test]
fn only_missing_packages_are_installed() {
    let mut machine = complete_debian();
    machine.packages.retain(|name| name != "rust-web-src");
    assert_eq!(
        plan(&machine).unwrap().steps,
        [Step::Packages(vec!["rust-web-src"])]
    );
}

#[test]
fn a_link_whose_package_is_gone_is_healed_by_the_package() {
    let mut machine = complete_debian();
    machine.packages.retain(|name| name != "rustc-web");
    machine.debian_compiler = None;
    assert_eq!(plan(&machine).unwrap().steps, [Step::Packages(vec!["rustc-web"])]);
}

#[test]
fn a_linker_of_another_version_is_replaced() {
    for version in [None, Some("0.12.0".to_owned())] {
        let machine = Machine {
            linker_version: version,
            ..complete_debian()
        };
        assert_eq!(plan(&machine).unwrap().steps, [Step::Linker]);
    }
}

#[test]
fn a_nightly_with_rust_src_and_a_linker_comes_before_debian() {
    let plan = plan(&Machine {
        nightlies: nightly_machine().nightlies,
        ..complete_debian()
    })
    .unwrap();
    assert_eq!(plan.toolchain.name(), "nightly-x86_64-unknown-linux-gnu");
    assert_eq!(plan.steps, []);
}

#[test]
fn a_nightly_works_where_there_is_no_apt() {
    let plan = plan(&nightly_machine()).unwrap();
    assert_eq!(
        plan.toolchain,
        Toolchain::Nightly("nightly-x86_64-unknown-linux-gnu".to_owned())
    );
}

#[test]
fn the_undated_nightly_wins_then_the_latest() {
    let dated = vec![
        nightly("nightly-2026-04-01-x86_64-unknown-linux-gnu"),
        nightly("nightly-2026-05-01-x86_64-unknown-linux-gnu"),
    ];
    let mut machine = Machine {
        nightlies: dated,
        ..nightly_machine()
    };
    assert_eq!(
        plan(&machine).unwrap().toolchain.name(),
        "nightly-2026-05-01-x86_64-unknown-linux-gnu"
    );
    machine
        .nightlies
        .push(nightly("nightly-x86_64-unknown-linux-gnu"));
    assert_eq!(
        plan(&machine).unwrap().toolchain.name(),
        "nightly-x86_64-unknown-linux-gnu"
    );
}

#[test]
fn an_unusable_nightly_is_passed_over() {
    let no_source = Nightly {
        has_rust_src: false,
        ..nightly("nightly")
    };
    let too_old = Nightly {
        rustc_minor: Some(OLDEST_RUSTC_MINOR - 1),
        ..nightly("nightly")
    };
    let broken = Nightly {
        rustc_minor: None,
        ..nightly("nightly")
    };
    for unusable in [no_source, too_old, broken] {
        let machine = Machine {
            nightlies: vec![unusable.clone()],
            ..complete_debian()
        };
        assert_eq!(
            plan(&machine).unwrap().toolchain,
            Toolchain::DebianLinked,
            "{unusable:?} cannot build the eBPF side"
        );
    }
}

#[test]
fn the_variable_overrides_everything_but_needs_a_linker() {
    let mut machine = Machine {
        named_toolchain: Some("mine".to_owned()),
        ..complete_debian()
    };
    assert_eq!(plan(&machine).unwrap().toolchain.name(), "mine");
    machine.linker_version = None;
    let error = plan(&machine).unwrap_err().to_string();
    assert!(error.contains("cargo install bpf-linker"), "no fix in: {error}");
}

#[test]
fn a_machine_that_is_not_debian_is_told_what_to_run() {
    let error = plan(&Machine::default()).unwrap_err().to_string();
    assert!(
        error.contains("rustup toolchain install nightly --component rust-src"),
        "no command in: {error}"
    );
}

#[test]
fn a_debian_compiler_that_cannot_do_is_refused_with_the_reason() {
    let with = |debian_compiler| Machine {
        debian_compiler,
        ..complete_debian()
    };
    let old = Compiler {
        minor: 85,
        llvm_major: 19,
    };
    let new = Compiler {
        minor: 99,
        llvm_major: 23,
    };
    for (compiler, expected) in [
        (None, "does not run"),
        (Some(old), "too old"),
        (Some(new), "LLVM 23"),
    ] {
        let error = plan(&with(compiler)).unwrap_err().to_string();
        assert!(error.contains(expected), "expected `{expected}` in: {error}");
    }
}
