//! Nothing is left behind: not by a demo that ran to its end, not by one that was interrupted, not by one that
//! was killed.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use integration_tests::{cordon_process, scratch::Scratch};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Starts the demo and waits until its daemon enforces a policy.
fn demo_in_full_swing() -> Child {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_demo"))
        .env("CORDON_BIN", cordon_process::binary().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    assert!(
        lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("in force on")),
        "the demo reaches its first policy"
    );
    // Nobody reads on; the pipe must not fill up.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    demo
}

/// Directories, mounts and processes that belong to a demo, whose directories carry its process id.
fn belongings(pid: u32) -> Vec<String> {
    let mark = format!("cordon-lab-{pid}-");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&mark) {
            found.push(format!("directory {name}"));
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    found.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&mark))
            .map(|line| format!("mount {line}")),
    );
    found.extend(processes_with(&mark).map(|pid| format!("process {pid}")));
    found
}

/// Living processes with this text in their command line.
fn processes_with(mark: &str) -> impl Iterator<Item = String> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(move |entry| {
            let pid = entry.file_name().to_string_lossy().into_owned();
            pid.parse::<u32>().ok()?;
            let command_line = std::fs::read(Path::new("/proc").join(&pid).join("cmdline")).ok()?;
            String::from_utf8_lossy(&command_line)
                .contains(mark)
                .then_some(pid)
        })
}

#[test]
fn a_demo_that_runs_to_its_end_leaves_nothing() {
    let demo = Command::new(env!("CARGO_BIN_EXE_demo"))
        .env("CORDON_BIN", cordon_process::binary().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = demo.id();
    let output = demo.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert_eq!(belongings(pid), Vec::<String>::new());
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    let mut demo = demo_in_full_swing();
    assert!(
        !belongings(demo.id()).is_empty(),
        "there is something to clean up"
    );
    kill(Pid::from_raw(demo.id() as i32), Signal::SIGINT).unwrap();
    let status = demo.wait().unwrap();
    assert_eq!(status.code(), Some(1), "it ends by itself, and not with success");
    assert_eq!(belongings(demo.id()), Vec::<String>::new());
}

#[test]
fn what_a_killed_demo_leaves_is_swept_by_the_next_user_of_the_harness() {
    let mut demo = demo_in_full_swing();
    demo.kill().unwrap();
    demo.wait().unwrap();
    // The kernel kills the daemon when its parent is gone; that takes a moment.
    let mark = format!("cordon-lab-{}-", demo.id());
    let patience = Instant::now() + Duration::from_secs(10);
    while processes_with(&mark).next().is_some() && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(10));
    }
    let _next = Scratch::new().unwrap();
    assert_eq!(belongings(demo.id()), Vec::<String>::new());
}
