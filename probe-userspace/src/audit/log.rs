//! The log on the disk: the only part that reads and writes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{Chain, Event, Head, Replay, Stamp};
use crate::{
    bundle::{
        Digest,
        key::{PublicKey, SecretKey},
    },
    dataplane::boot_ns,
    durable::{self, Existing},
};

/// Directory of the log, in the state directory.
const DIR: &str = "audit";
/// The host key, in the state directory: a copy of the log's directory must not hold it.
const KEY: &str = "host.key";
/// The public half, in the log's directory.
pub const PUBLIC_KEY: &str = "host.pub";
/// When the daemon was last alive, in the state directory.
const ALIVE: &str = "audit.alive";

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".ndjson";
const DIGITS: usize = 12;
/// A segment that is larger than this was not written here.
const MAX_READ_BYTES: u64 = 64 << 20;

/// Directory of the log in a state directory.
pub fn dir(state_dir: &Path) -> PathBuf {
    state_dir.join(DIR)
}

/// Path of the host key in a state directory.
pub fn key_path(state_dir: &Path) -> PathBuf {
    state_dir.join(KEY)
}

/// Name of the segment that begins with a record.
pub fn segment_name(first: u64) -> String {
    format!("{PREFIX}{first:0DIGITS$}{SUFFIX}")
}

/// The record that a segment of this name begins with; `None`: it is no segment.
pub fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let first = digits.parse().ok()?;
    (segment_name(first) == name).then_some(first)
}

impl Stamp {
    /// Now.
    pub fn now() -> Self {
        Self {
            at: format!("{:.3}", jiff::Timestamp::now()),
            boot: boot_id(),
            mono_ms: boot_ns() / 1_000_000,
        }
    }
}

/// The kernel's random id of this boot.
pub fn boot_id() -> String {
    read_line("/proc/sys/kernel/random/boot_id")
}

/// Name of this host.
pub fn host_name() -> String {
    read_line("/proc/sys/kernel/hostname")
}

fn read_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.trim().replace(char::is_control, "");
    match line.is_empty() {
        true => "unknown".to_owned(),
        false => line,
    }
}

/// The segments in a directory, oldest first.
pub fn segments(dir: &Path) -> io::Result<Vec<String>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(first) = first_of(&name) {
            segments.push((first, name));
        }
    }
    segments.sort();
    Ok(segments.into_iter().map(|(_, name)| name).collect())
}

/// The bytes of a segment.
pub fn read_segment(dir: &Path, name: &str) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(dir.join(name))?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_READ_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_READ_BYTES {
        let message = format!("it is larger than {MAX_READ_BYTES} bytes: this is no segment of cordon");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}

/// Reads the host key.
pub fn read_key(state_dir: &Path) -> io::Result<SecretKey> {
    let text = fs::read_to_string(key_path(state_dir))?;
    SecretKey::from_file_text(&text, None)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

/// Reads the host key, or makes one where there is none.
fn read_or_make_key(state_dir: &Path) -> io::Result<SecretKey> {
    match read_key(state_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (key, text) = SecretKey::generate(None).map_err(io::Error::other)?;
            durable::write(&key_path(state_dir), text.as_bytes(), 0o600, Existing::Keep)?;
            Ok(key)
        }
        other => other,
    }
}

/// Notes that the daemon is alive. Not synced: after a power loss the newest record counts.
pub fn set_alive(state_dir: &Path, now: &str) -> io::Result<()> {
    fs::write(state_dir.join(ALIVE), now)
}

/// When the daemon was last alive, as far as was noted.
fn alive(state_dir: &Path) -> Option<jiff::Timestamp> {
    fs::read_to_string(state_dir.join(ALIVE)).ok()?.parse().ok()
}

/// What is known of the log when it is opened.
#[derive(Debug)]
pub struct Found {
    /// The newest record.
    pub chain: Chain,
    /// When the log was written last, or the daemon alive; `None`: the log is new.
    pub last_alive: Option<jiff::Timestamp>,
    /// What is wrong, to be recorded.
    pub events: Vec<Event>,
    /// The newest segment can be continued.
    pub is_whole: bool,
    /// The public key of the newest segment.
    pub public_key: Option<String>,
}

/// A log that can be written to.
#[derive(Debug)]
pub struct Log {
    dir: PathBuf,
    /// The newest segment and its length without anything that was written by half.
    segment: Option<(File, u64)>,
}

impl Log {
    /// Opens the log of a state directory, or makes its directory and the host key.
    pub fn open(state_dir: &Path) -> io::Result<(Self, SecretKey, Found)> {
        durable::make_dir(state_dir, 0o750)?;
        let key = read_or_make_key(state_dir)?;
        let dir = dir(state_dir);
        durable::make_dir(&dir, 0o750)?;
        durable::remove_leftovers(&dir)?;
        let public = key.public().map_err(io::Error::other)?;
        write_public_key(&dir, &public)?;
        let (mut found, segment) = look(&dir)?;
        if found.chain != Chain::START {
            found.last_alive = found.last_alive.max(alive(state_dir));
        }
        found.is_whole &= found.public_key.as_deref() == Some(&public.to_base64());
        let segment = segment.filter(|_| found.is_whole);
        Ok((Self { dir, segment }, key, found))
    }

    /// Length of the newest segment; `None`: there must be a new one.
    pub fn segment_len(&self) -> Option<u64> {
        self.segment.as_ref().map(|(_, len)| *len)
    }

    /// Appends whole lines: afterwards they are on the disk, or nothing is.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some((file, len)) = &mut self.segment else {
            return Err(io::Error::other("no segment was begun"));
        };
        let written = file.write_all_at(bytes, *len).and_then(|()| file.sync_data());
        match written {
            Ok(()) => {
                *len += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // What was written by half is written over the next time; should the process die before that, the next
                // one finds a torn line.
                drop(file.set_len(*len));
                Err(error)
            }
        }
    }

    /// Begins a segment; `line` is its first one.
    pub fn begin(&mut self, first: u64, line: &[u8]) -> io::Result<()> {
        let path = self.dir.join(segment_name(first));
        match durable::write(&path, line, 0o640, Existing::Keep) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Only a segment without a single record can have this name. It is kept, out of the way.
                durable::rename(&path, &path.with_extension(format!("damaged-{}", boot_ns())))?;
                durable::write(&path, line, 0o640, Existing::Keep)?;
            }
            written => written?,
        }
        let file = OpenOptions::new().write(true).open(&path)?;
        self.segment = Some((file, line.len() as u64));
        Ok(())
    }

    /// Deletes a segment.
    pub fn delete(&self, name: &str) -> io::Result<()> {
        durable::remove(&self.dir.join(name)).map(|_| ())
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> io::Result<Vec<String>> {
        segments(&self.dir)
    }

    /// The last record of a segment.
    pub fn last_of(&self, name: &str) -> io::Result<Option<Head>> {
        let newest = Replay::of(&read_segment(&self.dir, name)?).newest;
        Ok(newest.map(|newest| newest.head))
    }
}

fn write_public_key(dir: &Path, key: &PublicKey) -> io::Result<()> {
    let path = dir.join(PUBLIC_KEY);
    let text = key.to_file_text();
    if fs::read(&path).is_ok_and(|known| known == text.as_bytes()) {
        return Ok(());
    }
    durable::write(&path, text.as_bytes(), 0o644, Existing::Replace)
}

/// Looks at the newest segment, and cuts off a line that is incomplete.
fn look(dir: &Path) -> io::Result<(Found, Option<(File, u64)>)> {
    let mut found = Found {
        chain: Chain::START,
        last_alive: None,
        events: Vec::new(),
        is_whole: false,
        public_key: None,
    };
    let segments = segments(dir)?;
    let Some((name, older)) = segments.split_last() else {
        return Ok((found, None));
    };
    let bytes = read_segment(dir, name)?;
    let replay = Replay::of(&bytes);
    let len = replay.whole_bytes as u64;
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(dir.join(name))?;
    let torn = &bytes[replay.whole_bytes..];
    if !torn.is_empty() {
        file.set_len(len)?;
        file.sync_all()?;
        found.events.push(Event::Torn {
            file: name.clone(),
            n_bytes: torn.len(),
            sha256: Digest::of(torn).to_string(),
        });
    }
    found.is_whole = replay.fault.is_none();
    found.public_key = replay.public_key;
    if let Some((line, what)) = replay.fault {
        let file = name.clone();
        found.events.push(Event::Damaged { file, line, what });
    }
    // A segment without a single record cannot be what was written: the newest one before it counts.
    let mut newest = replay.newest;
    for name in older.iter().rev() {
        if newest.is_some() {
            break;
        }
        newest = Replay::of(&read_segment(dir, name)?).newest;
    }
    if let Some(newest) = newest {
        found.chain = Chain {
            // Lines behind it that cannot be read were records: their numbers are not given again.
            head: Head {
                seq: newest.head.seq.saturating_add(replay.n_unread),
                ..newest.head
            },
            n_unsigned: replay.n_unsigned,
        };
        found.last_alive = newest.at.parse().ok();
    }
    Ok((found, Some((file, len))))
}
