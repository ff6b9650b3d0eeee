//! The corpus on disk.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use ipnet::{IpNet, Ipv6Net};
use probe_common::{Fate, Reason};
use serde::Deserialize;

use super::{Case, Settings, Target};

/// `tests/corpus` of this checkout.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The text of a policy.
pub fn policy(name: &str) -> anyhow::Result<String> {
    let path = directory().join("policies").join(format!("{name}.toml"));
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// One file of `rows/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Row of the table of the specification.
    pub number: u8,
    /// What the table says.
    pub says: String,
    /// Its cases.
    pub cases: Vec<Case>,
}

impl Row {
    /// Name of its file.
    pub fn file_name(&self) -> String {
        format!("row-{:02}.toml", self.number)
    }
}

/// All rows on disk, in order. Names of cases are unique.
pub fn load() -> anyhow::Result<Vec<Row>> {
    let dir = directory().join("rows");
    let mut rows = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        rows.push(parse(&text).with_context(|| format!("in {}", path.display()))?);
    }
    rows.sort_by_key(|row| row.number);
    let mut names = BTreeSet::new();
    for case in rows.iter().flat_map(|row| &row.cases) {
        ensure!(
            names.insert(case.full_name()),
            "two cases are called {:?}",
            case.full_name()
        );
    }
    Ok(rows)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileOnDisk {
    row: u8,
    says: String,
    #[serde(default)]
    case: Vec<CaseOnDisk>,
}

/// What is absent is the default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseOnDisk {
    name: String,
    policy: Option<String>,
    icmp_error: Option<String>,
    inspect_inner: Option<bool>,
    martians: Option<String>,
    #[serde(default)]
    nat64_prefixes: Vec<Ipv6Net>,
    #[serde(default)]
    failsafe: Vec<IpNet>,
    target: Option<String>,
    #[serde(default)]
    vlans: Vec<u16>,
    lengths: Option<[usize; 2]>,
    linear: Option<[usize; 2]>,
    wire: Option<bool>,
    fate: String,
    reason: String,
    frame: String,
}

/// Reads one file.
pub fn parse(text: &str) -> anyhow::Result<Row> {
    let file: FileOnDisk = toml::from_str(text)?;
    let cases = file.case.into_iter().map(|case| {
        let name = case.name.clone();
        from_disk(file.row, case).with_context(|| format!("in the case {name:?}"))
    });
    Ok(Row {
        number: file.row,
        says: file.says,
        cases: cases.collect::<anyhow::Result<Vec<Case>>>()?,
    })
}

fn from_disk(row: u8, case: CaseOnDisk) -> anyhow::Result<Case> {
    let default = Settings::default();
    let switch = |value: Option<String>, default: bool, if_true: &str, if_false: &str| match value {
        None => Ok(default),
        Some(value) if value == if_true => Ok(true),
        Some(value) if value == if_false => Ok(false),
        Some(value) => bail!("{value:?} is neither {if_true:?} nor {if_false:?}"),
    };
    let target = match case.target {
        None => default.target,
        Some(name) => Target::ALL
            .into_iter()
            .find(|target| target.name() == name)
            .with_context(|| format!("no target is {name:?}"))?,
    };
    let settings = Settings {
        policy: case.policy.unwrap_or(default.policy),
        icmp_error_pass: switch(case.icmp_error, default.icmp_error_pass, "pass", "drop")?,
        inspect_inner: case.inspect_inner.unwrap_or(default.inspect_inner),
        martians_drop: switch(case.martians, default.martians_drop, "drop", "pass")?,
        nat64_prefixes: case.nat64_prefixes,
        failsafe: case.failsafe,
        target,
        vlans: case.vlans,
    };
    let range = |range: Option<[usize; 2]>| range.map(|[first, last]| first..=last);
    Ok(Case {
        row,
        name: case.name,
        frame: from_dump(&case.frame)?,
        lengths: range(case.lengths),
        linear: range(case.linear),
        settings,
        on_wire: case.wire.unwrap_or(true),
        fate: FATES
            .into_iter()
            .find(|(name, _)| *name == case.fate)
            .with_context(|| format!("no fate is {:?}", case.fate))?
            .1,
        reason: *Reason::ALL
            .iter()
            .find(|reason| reason.name() == case.reason)
            .with_context(|| format!("no reason is {:?}", case.reason))?,
    })
}

const FATES: [(&str, Fate); 4] = [
    ("pass", Fate::Passed),
    ("drop", Fate::Dropped),
    ("answer", Fate::Answered),
    ("redirect", Fate::Redirected),
];

/// The name of a fate in the data.
pub fn fate_name(fate: Fate) -> &'static str {
    FATES
        .into_iter()
        .find(|(_, its_fate)| *its_fate == fate)
        .map_or("", |(name, _)| name)
}

/// The text of a file.
pub fn to_text(row: &Row) -> anyhow::Result<String> {
    let mut text = format!(
        "# Written by `cargo run -p integration-tests --bin corpus -- write`.\nrow = {}\nsays = {:?}\n",
        row.number, row.says
    );
    for case in &row.cases {
        write_case(&mut text, case)?;
    }
    Ok(text)
}

fn write_case(text: &mut String, case: &Case) -> anyhow::Result<()> {
    let (settings, default) = (&case.settings, Settings::default());
    writeln!(text, "\n[[case]]\nname = {:?}", case.name)?;
    if settings.policy != default.policy {
        writeln!(text, "policy = {:?}", settings.policy)?;
    }
    if !settings.icmp_error_pass {
        writeln!(text, "icmp_error = \"drop\"")?;
    }
    if settings.inspect_inner {
        writeln!(text, "inspect_inner = true")?;
    }
    if !settings.martians_drop {
        writeln!(text, "martians = \"pass\"")?;
    }
    write_list(text, "nat64_prefixes", &settings.nat64_prefixes)?;
    write_list(text, "failsafe", &settings.failsafe)?;
    if settings.target != default.target {
        writeln!(text, "target = {:?}", settings.target.name())?;
    }
    if !settings.vlans.is_empty() {
        writeln!(text, "vlans = {:?}", settings.vlans)?;
    }
    write_range(text, "lengths", case.lengths.as_ref())?;
    write_range(text, "linear", case.linear.as_ref())?;
    if !case.on_wire {
        writeln!(text, "wire = false")?;
    }
    writeln!(text, "fate = {:?}", fate_name(case.fate))?;
    writeln!(text, "reason = {:?}", case.reason.name())?;
    writeln!(text, "frame = '''\n{}'''", to_dump(&case.frame))?;
    Ok(())
}

fn write_list(text: &mut String, key: &str, values: &[impl ToString]) -> anyhow::Result<()> {
    if !values.is_empty() {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        writeln!(text, "{key} = {values:?}")?;
    }
    Ok(())
}

fn write_range(text: &mut String, key: &str, range: Option<&RangeInclusive<usize>>) -> anyhow::Result<()> {
    if let Some(range) = range {
        writeln!(text, "{key} = [{}, {}]", range.start(), range.end())?;
    }
    Ok(())
}

/// A hex dump: offset, then 16 bytes, in the form that `text2pcap` reads.
pub fn to_dump(frame: &[u8]) -> String {
    let mut dump = String::new();
    for (idx, line) in frame.chunks(16).enumerate() {
        let bytes: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        dump.push_str(&format!("{:04x}  {}\n", idx * 16, bytes.join(" ")));
    }
    dump
}

fn from_dump(dump: &str) -> anyhow::Result<Vec<u8>> {
    let mut frame = Vec::new();
    for line in dump.lines() {
        let mut words = line.split_whitespace();
        let offset = words.next().context("a line of the dump is empty")?;
        ensure!(
            usize::from_str_radix(offset, 16).ok() == Some(frame.len()),
            "the dump has {offset} where {:04x} bytes stand before",
            frame.len()
        );
        for word in words {
            let byte = u8::from_str_radix(word, 16).with_context(|| format!("{word:?} is no byte"))?;
            frame.push(byte);
        }
    }
    Ok(frame)
}

/// A capture file (pcap, Ethernet) with every frame of the corpus, in order, one second apart.
pub fn to_pcap(rows: &[Row]) -> Vec<u8> {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const ETHERNET: u32 = 1;
    let mut capture = Vec::new();
    for word in [MAGIC, 2 | 4 << 16, 0, 0, 65_535, ETHERNET] {
        capture.extend(word.to_le_bytes());
    }
    let runs = rows.iter().flat_map(|row| &row.cases).flat_map(Case::runs);
    for (second, run) in runs.enumerate() {
        let len = run.frame.len() as u32;
        for word in [second as u32, 0, len, len] {
            capture.extend(word.to_le_bytes());
        }
        capture.extend(run.frame);
    }
    capture
}
