//! A crash or an error at every system call of an apply, or of the push of a bundle: afterwards exactly the old or the new
//! policy is in force, nothing is left over, and a restart or the next apply heals what is not as it should be.
//!
//! One point of each call is tried; the long run tries many, and `CORDON_CRASH_POINTS` says how many.

/// Between the kernel that keeps a policy and the disk that does.
mod confirm;
/// System calls of a running daemon, counted, and made to fail.
mod strace;

use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use cordon::instant::Instant as Moment;
use integration_tests::{
    bundle_writer::{Draft, RawSection, Signer},
    cordon_process::{Answer, Cordon, HostFile},
    lab::{EDGE_IFNAME, Lab},
    mmdb_writer::MmdbWriter,
    probes::{Outcome, Probe, Protocol},
    scratch::Scratch,
};
use serde_json::Value;

use self::strace::{Fault, Strace, calls_of};

/// The two policies that are applied in turn: each blocks one of the two countries.
const COUNTRIES: [&str; 2] = ["RU", "NL"];
const SOURCES: [&str; 2] = ["81.0.7.7", "82.0.7.7"];

/// Points of each call that are tried unless the environment says otherwise: one takes some seconds.
const POINTS: usize = 1;
/// The same in the long run.
const POINTS_FULL: usize = 45;
/// Faults that must have come in the long run: two hundred of an apply, and as many of a push.
const N_KILLED_FULL: usize = 80;
const N_FAILED_FULL: usize = 120;

/// System calls that change what is kept, in the kernel and on the disk.
const CALLS: [&str; 8] = [
    "bpf",
    "rename",
    "fsync",
    "fdatasync",
    "openat",
    "write",
    "unlink",
    "ftruncate",
];

/// What each call is made to fail with.
fn errors_of(call: &str) -> &'static [&'static str] {
    match call {
        "bpf" => &["ENOMEM", "EPERM"],
        "openat" => &["EMFILE"],
        "fsync" | "fdatasync" => &["EIO"],
        "unlink" => &["EACCES"],
        _ => &["ENOSPC"],
    }
}

fn policy(blocked: usize) -> String {
    format!(
        "version = 1\nname = \"block-{0}\"\ndefault = \"pass\"\nunknown = \"pass\"\nreplies = false\n\
         [[order]]\nid = \"test-{0}\"\nauthority = \"Test Authority\"\n\
         [[order.rule]]\naction = \"drop\"\ncountries = [\"{0}\"]\n",
        COUNTRIES[blocked]
    )
}

/// A bundle with one of the policies, valid from an hour ago for a day.
fn bundle(revision: u64, blocked: usize) -> Vec<u8> {
    let now = Moment::now().0;
    let (issued, expires) = (Moment(now - 3600), Moment(now + 86_400));
    let draft = Draft {
        manifest: format!(
            "format = 1\nkind = \"policy\"\nname = \"edge\"\nrevision = {revision}\nissued = {issued}\n\
             min_cordon = \"0.0.0\"\nchange = \"test\"\nexpires = {expires}\n"
        ),
        sections: vec![RawSection::raw("policy", policy(blocked))],
        ..Draft::policy()
    };
    draft.signed(&[&Signer::named("one")]).to_bytes()
}

struct Edge {
    lab: Lab,
    host: HostFile,
    _scratch: Scratch,
}

impl Edge {
    fn new() -> Self {
        let scratch = Scratch::new().unwrap();
        let database = scratch.path().join("countries.mmdb");
        MmdbWriter::new()
            .country("81.0.0.0/16", COUNTRIES[0])
            .country("82.0.0.0/16", COUNTRIES[1])
            .write(&database)
            .unwrap();
        Self {
            lab: Lab::new().unwrap(),
            host: HostFile {
                interfaces: vec![EDGE_IFNAME.to_owned()],
                database: Some(database),
                ..HostFile::default()
            },
            _scratch: scratch,
        }
    }

    /// The policy that packets meet: the number of the country that is blocked.
    fn enforced(&self, context: &str) -> usize {
        let probes = SOURCES.map(|source| Probe {
            source: source.parse::<IpAddr>().unwrap(),
            protocol: Protocol::Udp,
        });
        match *self.lab.probe(&probes).unwrap() {
            [Outcome::Blocked, Outcome::Passed] => 0,
            [Outcome::Passed, Outcome::Blocked] => 1,
            ref other => panic!("{context}: neither the old policy nor the new one: {other:?}"),
        }
    }
}

/// How a policy comes to the host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// A plain file.
    Apply,
    /// A signed bundle.
    Push,
}

/// A daemon with one of the two policies in force.
struct Subject<'lab> {
    edge: &'lab Edge,
    cordon: Cordon<'lab>,
    by: By,
    in_force: usize,
    /// Of the bundle that was made last.
    revision: u64,
    /// The pins of a host at rest, without numbers.
    pins: Vec<PathBuf>,
}

impl<'lab> Subject<'lab> {
    fn new(edge: &'lab Edge, by: By) -> Self {
        let cordon = Cordon::start(&edge.lab, &edge.host).unwrap();
        if by == By::Push {
            let key = cordon.dir().join("one.pub");
            fs::write(&key, Signer::public("one")).unwrap();
            cordon
                .cordon_ok(&["key", "trust", key.to_str().unwrap()])
                .unwrap();
        }
        let mut subject = Self {
            edge,
            cordon,
            by,
            in_force: 0,
            revision: 0,
            pins: Vec::new(),
        };
        // Twice: then a generation has been replaced, as in every change that follows.
        for blocked in [1, 0] {
            subject.put_in_force(blocked);
        }
        subject.cordon.wait_attached().unwrap();
        thread::sleep(Duration::from_secs(3));
        subject.pins = subject.shape_of_pins();
        subject
    }

    /// Brings a policy to the host; whatever the answer is.
    fn bring(&mut self, blocked: usize) -> Answer {
        if self.by == By::Apply {
            let path = self.cordon.write_policy(&policy(blocked)).unwrap();
            let args = ["apply", "--no-confirm", "--override-lockout", &path];
            return self.cordon.cordon(&args).unwrap();
        }
        self.revision += 1;
        let path = self.cordon.dir().join("edge.cordon");
        fs::write(&path, bundle(self.revision, blocked)).unwrap();
        let args = ["bundle", "push", path.to_str().unwrap()];
        self.cordon.cordon(&args).unwrap()
    }

    /// As [`Self::bring`]; it must be taken.
    fn put_in_force(&mut self, blocked: usize) {
        let answer = self.bring(blocked);
        assert_eq!(answer.status, 0, "{answer:?}\n{}", self.cordon.log());
        self.in_force = blocked;
    }

    /// The pins with numbers left out: slots and generations differ from one apply to the next.
    fn shape_of_pins(&self) -> Vec<PathBuf> {
        let pins = self.cordon.pins().unwrap().into_iter();
        let mut shape: Vec<PathBuf> = pins
            .map(|pin| {
                let text = pin.to_string_lossy();
                let dir = self.cordon.dir().to_string_lossy().into_owned();
                let text = text.strip_prefix(&dir).unwrap_or(&text);
                PathBuf::from(without_numbers(text))
            })
            .collect();
        shape.sort();
        shape
    }

    /// Whether the daemon says what packets say, and nothing is left over.
    fn check_settled(&self, context: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let status = self.cordon.status().unwrap();
            let is_calm = status["busy"].is_null() && self.shape_of_pins() == self.pins;
            if is_calm && is_ok(&status, self.in_force) {
                return;
            }
            if Instant::now() > deadline {
                let pins = self.shape_of_pins();
                let extra: Vec<_> = pins.iter().filter(|pin| !self.pins.contains(pin)).collect();
                let missing: Vec<_> = self.pins.iter().filter(|pin| !pins.contains(pin)).collect();
                panic!(
                    "{context}: {} should be in force: {status:#}\n{} pins instead of {}: left over {extra:?}, missing {missing:?}\n{}",
                    COUNTRIES[self.in_force],
                    pins.len(),
                    self.pins.len(),
                    self.cordon.log()
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Brings the other policy while a fault waits for it; whether that was answered with success, and whether the
    /// fault came.
    fn change_under(&mut self, fault: &Fault) -> (bool, bool) {
        // The daemon tells by whole seconds whether a policy was published after it was accepted.
        thread::sleep(Duration::from_millis(1100));
        let strace = Strace::attach(self.cordon.pid().unwrap(), fault).unwrap();
        let answer = self.bring(1 - self.in_force);
        let came = strace.detach().unwrap();
        (answer.status == 0, came)
    }

    /// Whether the daemon is gone, or about to be.
    fn has_ended(&mut self) -> bool {
        for _ in 0..50 {
            if !self.cordon.is_running() {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// SIGKILL at one call.
    fn crash(&mut self, call: &str, when: usize) -> bool {
        let context = format!("SIGKILL at {call} {when}");
        let (is_applied, _) = self.change_under(&Fault::kill(call, when));
        let came = self.has_ended();
        if !came {
            assert!(is_applied, "{context}: refused without a fault");
            self.in_force = 1 - self.in_force;
            return false;
        }
        self.cordon.forget().unwrap();
        let enforced = self.edge.enforced(&context);
        self.cordon.run().unwrap();
        // The kernel may enforce the new one before the disk has it for good: a restart settles that, and changes nothing.
        assert_eq!(
            self.edge.enforced(&context),
            enforced,
            "{context}: the restart changed it"
        );
        self.in_force = enforced;
        self.check_settled(&context);
        self.heal(&context);
        true
    }

    /// One call fails.
    fn fail(&mut self, call: &str, error: &str, when: usize) -> bool {
        let context = format!("{error} at {call} {when}");
        let (is_applied, came) = self.change_under(&Fault::error(call, error, when));
        let enforced = self.edge.enforced(&context);
        if !self.has_ended() {
            let wanted = if is_applied {
                1 - self.in_force
            } else {
                self.in_force
            };
            assert_eq!(enforced, wanted, "{context}: applied: {is_applied}");
        } else {
            // A wake-up between threads that fails, which no kernel does, ends the daemon: as a crash does.
            self.cordon.forget().unwrap();
            self.cordon.run().unwrap();
            assert_eq!(
                self.edge.enforced(&context),
                enforced,
                "{context}: the restart changed it"
            );
        }
        self.in_force = enforced;
        self.heal(&context);
        came
    }

    /// The other policy can be brought, and then all is well.
    fn heal(&mut self, context: &str) {
        self.put_in_force(1 - self.in_force);
        self.check_settled(&format!("{context}, healed"));
    }
}

fn without_numbers(text: &str) -> String {
    let mut without = String::new();
    for c in text.chars() {
        match c.is_ascii_digit() {
            false => without.push(c),
            true if without.ends_with('N') => {}
            true => without.push('N'),
        }
    }
    without
}

fn is_ok(status: &Value, in_force: usize) -> bool {
    status["state"] == "ok" && status["policy"]["name"] == format!("block-{}", COUNTRIES[in_force]).as_str()
}

/// Whether this is the long run.
fn is_full() -> bool {
    std::env::var_os("CORDON_TEST_FULL").is_some()
}

/// How many points of each call are tried.
fn n_points() -> usize {
    let wanted = std::env::var("CORDON_CRASH_POINTS").ok();
    let wanted = wanted.and_then(|points| points.parse().ok());
    wanted.unwrap_or(if is_full() { POINTS_FULL } else { POINTS })
}

/// Some of `n` points: the first ones, the last ones, where most is at stake, and as many spread between them.
fn chosen(n: usize) -> Vec<usize> {
    let n_wanted = n_points();
    let third = n_wanted / 3;
    let first = 1..=third.min(n);
    let last = (n + 1).saturating_sub(third).max(1)..=n;
    let n_between = n_wanted - 2 * third;
    let between = (1..=n_between).map(|idx| (idx * n / (n_between + 1)).max(1));
    let points: BTreeSet<usize> = first.chain(last).chain(between).collect();
    points.into_iter().collect()
}

/// How often each call is made by a change, at most, by one thread.
fn calls(subject: &mut Subject<'_>) -> Vec<(&'static str, usize)> {
    let strace = Strace::count(subject.cordon.pid().unwrap(), &CALLS).unwrap();
    subject.put_in_force(1 - subject.in_force);
    let counted = calls_of(&strace.trace().unwrap());
    subject.check_settled("counting");
    let calls = CALLS.map(|call| (call, counted.get(call).copied().unwrap_or(0)));
    calls.into_iter().filter(|(_, n)| *n > 0).collect()
}

/// What came of the points that were tried.
#[derive(Default)]
struct Tally {
    n_tried: usize,
    n_came: usize,
}

impl Tally {
    fn add(&mut self, what: &str, when: usize, n: usize, came: bool) {
        self.n_tried += 1;
        self.n_came += usize::from(came);
        eprintln!(
            "{what} {when} of {n}: {}",
            if came { "came" } else { "did not come" }
        );
    }

    fn check(&self, n_full: usize) {
        let Self { n_tried, n_came } = *self;
        eprintln!("{n_came} faults came at {n_tried} points");
        // Not each change makes every call as often as the one that was counted.
        assert!(n_came * 10 >= n_tried * 7, "{n_came} of {n_tried} came");
        assert!(!is_full() || n_came >= n_full, "only {n_came} came");
    }
}

/// SIGKILL at the calls of a change.
fn kill_at_calls(by: By) {
    let edge = Edge::new();
    let mut subject = Subject::new(&edge, by);
    let mut tally = Tally::default();
    for (call, n) in calls(&mut subject) {
        for when in chosen(n) {
            let came = subject.crash(call, when);
            tally.add(&format!("SIGKILL at {call}"), when, n, came);
        }
    }
    tally.check(N_KILLED_FULL);
}

/// Errors of the calls of a change.
fn fail_calls(by: By) {
    let edge = Edge::new();
    let mut subject = Subject::new(&edge, by);
    let mut tally = Tally::default();
    for (call, n) in calls(&mut subject) {
        for error in errors_of(call) {
            for when in chosen(n) {
                let came = subject.fail(call, error, when);
                tally.add(&format!("{error} at {call}"), when, n, came);
            }
        }
    }
    tally.check(N_FAILED_FULL);
}

#[test]
fn killed_at_any_call_the_old_policy_holds_or_the_new_one() {
    kill_at_calls(By::Apply);
}

#[test]
fn whatever_call_fails_the_old_policy_holds_or_the_new_one() {
    fail_calls(By::Apply);
}

#[test]
fn killed_at_any_call_of_a_push_the_old_policy_holds_or_the_new_one() {
    kill_at_calls(By::Push);
}

#[test]
fn whatever_call_of_a_push_fails_the_old_policy_holds_or_the_new_one() {
    fail_calls(By::Push);
}
