//! Bundles at a running daemon. Real binary, real kernel.

/// What is taken, what is idle, what is refused, and what outlives the daemon.
mod accept;
/// Many at once.
mod concurrent;
/// Every bad bundle, at a running daemon.
mod corpus;
/// The daemon dies while it takes a bundle.
mod crash;
/// Signed directives.
mod directive;
/// Geo data: its marks and records. What a full disk leaves.
mod geo;
/// History and rollback.
mod history;
/// The incoming directory.
mod incoming;
/// Hosts that take signed policies only, and breaking the glass.
mod managed;
/// Very long lists.
mod many;
/// Bundles altered by chance and signed again, at a running daemon.
mod mutants;

use std::{fmt::Write as _, fs, time::Duration};

use cordon::{
    audit::{Record, log},
    instant::Instant,
};
use integration_tests::{
    bundle_writer::{Draft, GEO_MANIFEST, RawSection, Signer},
    cordon_process::{Answer, Cordon, HostFile},
    lab::{EDGE_IFNAME, Lab},
    mmdb_writer::MmdbWriter,
    scratch::Scratch,
};
use serde_json::Value;

const RU: &str = "81.0.7.7";
const NL: &str = "82.0.7.7";
/// Drops the gateway's answers too.
const CUT_OFF: &str =
    "version = 1\nname = \"cut-off\"\ndefault = \"drop\"\nunknown = \"drop\"\nreplies = false\n";

struct Edge {
    lab: Lab,
    host: HostFile,
    _scratch: Scratch,
}

fn edge() -> Edge {
    let scratch = Scratch::new().unwrap();
    let database = scratch.path().join("countries.mmdb");
    MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .country("82.0.0.0/16", "NL")
        .write(&database)
        .unwrap();
    Edge {
        lab: Lab::new().unwrap(),
        host: HostFile {
            interfaces: vec![EDGE_IFNAME.to_owned()],
            database: Some(database),
            settings: "host_name = \"edge-1\"\nlabels = { site = \"fra1\" }\n".to_owned(),
            ..HostFile::default()
        },
        _scratch: scratch,
    }
}

/// A daemon on a host that trusts these keys.
fn managed<'lab>(edge: &'lab Edge, keys: &[&str]) -> Cordon<'lab> {
    let cordon = Cordon::new(&edge.lab, &edge.host).unwrap();
    for key in keys {
        trust(&cordon, key);
    }
    let mut cordon = cordon;
    cordon.run().unwrap();
    cordon
}

fn trust(cordon: &Cordon<'_>, key: &str) {
    let file = cordon.dir().join(format!("{key}.pub"));
    fs::write(&file, Signer::public(key)).unwrap();
    cordon
        .cordon_ok(&["key", "trust", file.to_str().unwrap()])
        .unwrap();
}

/// A policy that drops these countries.
pub(crate) fn drops(countries: &[&str]) -> String {
    let name = countries.join("-").to_lowercase();
    format!(
        "version = 1\nname = \"drops-{name}\"\ndefault = \"pass\"\nunknown = \"pass\"\n\
         [[order]]\nid = \"test-1\"\nauthority = \"Test Authority\"\n\
         [[order.rule]]\naction = \"drop\"\ncountries = {countries:?}\n"
    )
}

/// A policy bundle to be.
#[derive(Clone)]
pub(crate) struct Issue {
    revision: u64,
    issued: Instant,
    expires: Instant,
    policy: String,
    lists: Vec<(&'static str, String)>,
    /// Further tables of the manifest.
    more: String,
}

impl Issue {
    /// Valid from an hour ago for a day.
    pub(crate) fn new(revision: u64, policy: &str) -> Self {
        let now = Instant::now().0;
        Self {
            revision,
            issued: Instant(now - 3600),
            expires: Instant(now + 86_400),
            policy: policy.to_owned(),
            lists: Vec::new(),
            more: String::new(),
        }
    }

    pub(crate) fn bytes(&self, signers: &[&str]) -> Vec<u8> {
        signed(&self.draft(), signers)
    }

    fn draft(&self) -> Draft {
        let Self {
            revision,
            issued,
            expires,
            more,
            ..
        } = self;
        let mut draft = Draft::policy();
        draft.manifest = format!(
            "format = 1\nkind = \"policy\"\nname = \"edge\"\nrevision = {revision}\nissued = {issued}\n\
             min_cordon = \"0.0.0\"\nchange = \"test\"\nexpires = {expires}\n{more}"
        );
        draft.sections = vec![RawSection::raw("policy", self.policy.as_bytes())];
        for (name, list) in &self.lists {
            draft
                .sections
                .push(RawSection::raw(&format!("list:{name}"), list.as_bytes()));
        }
        draft
    }

    /// Writes the file, signed by one key.
    pub(crate) fn write(&self, cordon: &Cordon<'_>) -> String {
        write(
            cordon,
            &format!("edge-{}.cordon", self.revision),
            &self.bytes(&["one"]),
        )
    }
}

/// A directive, valid from an hour ago for a day.
pub(crate) fn directive(revision: u64, text: &str, signers: &[&str]) -> Vec<u8> {
    let now = Instant::now().0;
    let (issued, expires) = (Instant(now - 3600), Instant(now + 86_400));
    let mut draft = Draft::directive();
    draft.manifest = format!(
        "format = 1\nkind = \"directive\"\nname = \"duty\"\nrevision = {revision}\nissued = {issued}\n\
         min_cordon = \"0.0.0\"\nchange = \"test\"\nexpires = {expires}\n"
    );
    let mut content = String::from("version = 1\nreason = \"drill\"\n");
    writeln!(content, "{text}").unwrap();
    draft.sections = vec![RawSection::raw("directive", content)];
    signed(&draft, signers)
}

/// Geo data, signed by one key.
fn geo_bundle(revision: u64) -> Vec<u8> {
    let database = MmdbWriter::new()
        .country("81.0.0.0/16", "RU")
        .country("82.0.0.0/16", "NL")
        .country(
            "84.0.0.0/16",
            if revision.is_multiple_of(2) { "BY" } else { "FR" },
        )
        .to_bytes();
    let draft = Draft {
        manifest: GEO_MANIFEST.replace("revision = 7", &format!("revision = {revision}")),
        sections: vec![RawSection::raw("database", database)],
        ..Draft::geo()
    };
    signed(&draft, &["one"])
}

/// The audit log, as far as it is written.
fn records(cordon: &Cordon<'_>) -> Vec<Record> {
    let dir = log::dir(&cordon.dir().join("state"));
    let mut records = Vec::new();
    for name in log::segments(&dir).unwrap() {
        let bytes = log::read_segment(&dir, &name).unwrap();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        records.extend(lines.map(|line| Record::from_line(line).unwrap().0));
    }
    records
}

fn signed(draft: &Draft, signers: &[&str]) -> Vec<u8> {
    let signers: Vec<Signer> = signers.iter().map(|name| Signer::named(name)).collect();
    let signers: Vec<&Signer> = signers.iter().collect();
    draft.signed(&signers).to_bytes()
}

fn write(cordon: &Cordon<'_>, name: &str, bytes: &[u8]) -> String {
    let path = cordon.dir().join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Pushes; the answer as JSON, and whether it was taken.
fn push(cordon: &Cordon<'_>, file: &str) -> Value {
    push_with(cordon, file, &[]).1
}

fn push_with(cordon: &Cordon<'_>, file: &str, more: &[&str]) -> (Answer, Value) {
    let mut args = vec!["bundle", "push", file, "-o", "json"];
    args.extend(more);
    let answer = cordon.cordon(&args).unwrap();
    let value = answer.json().unwrap();
    assert_eq!(answer.status == 0, value.get("outcome").is_some(), "{answer:?}");
    (answer, value)
}

/// Pushes what must be taken.
fn accepted(cordon: &Cordon<'_>, issue: &Issue) -> Value {
    let pushed = push(cordon, &issue.write(cordon));
    assert_eq!(pushed["outcome"], "accepted", "{pushed:#}\n{}", cordon.log());
    pushed
}

/// The status, once the daemon is not busy.
fn status(cordon: &Cordon<'_>) -> Value {
    for _ in 0..200 {
        let status = cordon.status().unwrap();
        if status["busy"].is_null() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the daemon stays busy:\n{}", cordon.log());
}

/// Waits until the status says so.
fn wait(cordon: &Cordon<'_>, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..400 {
        let status = status(cordon);
        if is_so(&status) {
            return status;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{what}: {:#}\n{}", status(cordon), cordon.log());
}

fn restart(cordon: &mut Cordon<'_>) {
    cordon.kill().unwrap();
    cordon.run().unwrap();
    status(cordon);
}

/// As after a boot: nothing is pinned.
fn restart_without_pins(cordon: &mut Cordon<'_>) {
    cordon.kill().unwrap();
    cordon.cordon_ok(&["detach", "--yes"]).unwrap();
    cordon.run().unwrap();
    status(cordon);
}

/// 0 pass, 10 drop, by the live program.
fn judged(cordon: &Cordon<'_>, address: &str) -> i32 {
    cordon.cordon(&["explain", address, "--quiet"]).unwrap().status
}

fn problems(cordon: &Cordon<'_>) -> String {
    let status = status(cordon);
    let problems = status["problems"].as_array().unwrap().iter();
    let texts: Vec<&str> = problems.map(|problem| problem.as_str().unwrap()).collect();
    texts.join("\n")
}
