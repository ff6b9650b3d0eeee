//! What the service manager is told: READY when what is stored is in force, signs of life from the engine.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use integration_tests::{
    cordon_process::{Cordon, HostFile},
    netns::spawn_bound,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    halt::{DROP, POLICY, met},
    traffic::edge::{Edge, RU},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon whose service manager is this test.
struct Service {
    socket: UnixDatagram,
    child: Child,
    /// Everything it said so far, a line each.
    said: Vec<String>,
}

impl Service {
    fn start(cordon: &Cordon<'_>) -> Self {
        let path = cordon.dir().join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut command = cordon.command(&["run"]).unwrap();
        let log = fs::File::create(cordon.dir().join("daemon.log")).unwrap();
        command
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "10000000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = spawn_bound(command).unwrap();
        Self {
            socket,
            child,
            said: Vec::new(),
        }
    }

    /// Waits until so many of its lines begin like this, counted from the start.
    fn hear(&mut self, begin: &str, n_times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.count(begin) < n_times {
            assert!(
                Instant::now() < deadline,
                "no {begin} within a minute: {:?}",
                self.said
            );
            self.listen();
        }
    }

    fn listen(&mut self) {
        let mut message = [0; 8192];
        if let Ok(len) = self.socket.recv(&mut message) {
            let text = String::from_utf8(message[..len].to_vec()).unwrap();
            self.said.extend(text.lines().map(str::to_owned));
        }
    }

    fn count(&self, begin: &str) -> usize {
        self.said.iter().filter(|line| line.starts_with(begin)).count()
    }

    fn stop(mut self) -> Vec<String> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        self.socket.set_nonblocking(true).unwrap();
        let n_before = self.said.len();
        loop {
            let n_said = self.said.len();
            self.listen();
            if self.said.len() == n_said {
                break;
            }
        }
        self.said.split_off(n_before)
    }
}

#[test]
fn a_host_that_attaches_to_nothing_is_ready() {
    let edge = Edge::new();
    let host_file = HostFile {
        interfaces: Vec::new(),
        ..edge.host_file()
    };
    let cordon = Cordon::new(&edge.lab, &host_file).unwrap();
    let mut service = Service::start(&cordon);
    service.hear("READY=1", 1);
    service.hear("STATUS=not enforcing", 1);
    service.hear("WATCHDOG=1", 3);
    let farewell = service.stop();
    assert!(farewell.iter().any(|line| line == "STOPPING=1"), "{farewell:?}");
}

#[test]
fn ready_comes_when_the_stored_policy_is_in_force_and_stopping_leaves_it_there() {
    let edge = Edge::new();
    let mut cordon = edge.start(POLICY);
    cordon.kill().unwrap();
    crate::halt::forget_the_boot(&cordon);
    let mut service = Service::start(&cordon);
    service.hear("READY=1", 1);
    assert_eq!(met(&edge, RU[0]), [DROP; 3], "in force before READY");
    service.hear("STATUS=enforcing policy two-services", 1);
    service.stop();
    assert_eq!(met(&edge, RU[0]), [DROP; 3], "in force after the stop");
}

/// The daemon answers all the same, and the first policy that is in force ends the start.
#[test]
fn a_stored_policy_that_cannot_be_read_keeps_the_start_open() {
    let edge = Edge::new();
    let mut cordon = edge.start(POLICY);
    cordon.kill().unwrap();
    crate::halt::forget_the_boot(&cordon);
    fs::write(cordon.dir().join("state/policy.toml"), "version = ").unwrap();
    let mut service = Service::start(&cordon);
    service.hear("EXTEND_TIMEOUT_USEC=", 3);
    assert_eq!(service.count("READY=1"), 0, "{:?}", service.said);
    let why = service.said.iter().find(|line| line.starts_with("STATUS="));
    assert!(why.unwrap().contains("policy.toml"), "{why:?}");

    cordon.apply(POLICY).unwrap();
    service.hear("READY=1", 1);
    assert_eq!(met(&edge, RU[0]), [DROP; 3]);
    service.stop();
}

/// The watchdog waits longer while a policy is published, and not for ever.
#[test]
fn a_publish_has_more_time_and_gives_it_back() {
    let edge = Edge::new();
    let cordon = Cordon::new(&edge.lab, &edge.host_file()).unwrap();
    let mut service = Service::start(&cordon);
    service.hear("READY=1", 1);
    cordon.apply(POLICY).unwrap();
    service.hear("WATCHDOG_USEC=", 2);
    let patience: Vec<&String> = service
        .said
        .iter()
        .filter(|line| line.starts_with("WATCHDOG_USEC="))
        .collect();
    assert_eq!(
        patience[..2],
        ["WATCHDOG_USEC=300000000", "WATCHDOG_USEC=10000000"]
    );
    service.stop();
}
