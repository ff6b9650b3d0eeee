//! MaxMind DB bytes to [`Location`].

use std::collections::HashMap;

use maxminddb::Reader;
use probe_common::{class, limits::MAX_PREFIXES};
use sha2::{Digest, Sha256};

use super::{
    ClassTable, EMBEDDED_ATTRIBUTION, EMBEDDED_NAME, GeoSource, Location, Prefix, Ranges,
    address::Address,
    format::likely_instead,
    lan::mark_lan,
    ortc,
    record::{NotACode, Record},
    tree::{Leaf, Tree, TreeError},
};
use crate::host::FieldChoice;

/// Most different countries of a database: a class is a `u16`, and two are taken.
const MAX_PLACES: usize = u16::MAX as usize - class::FIRST_PLACE as usize;

/// Most different records of a database. Country databases have some hundreds, city databases under a million.
const MAX_RECORDS: usize = 1 << 22;

/// Why a database cannot be used. The text names the file.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// The file could not be read.
    #[error("cannot read the database {path}: {error}")]
    Read {
        /// Path as configured.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The content is not a database that cordon can use.
    #[error("{path} is not a usable MaxMind DB: {reason}")]
    Content {
        /// Path as configured.
        path: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
}

/// Compiles the bytes of a MaxMind DB file. `origin` names the file in errors and in the status.
pub fn read_database(origin: &str, bytes: Vec<u8>, field: FieldChoice) -> Result<Location, GeoError> {
    read(origin, &bytes, field).map_err(|Unusable(reason)| GeoError::Content {
        path: origin.to_owned(),
        reason: likely_instead(&bytes).unwrap_or(reason),
    })
}

/// The reason why a database cannot be used.
struct Unusable(String);

impl From<TreeError> for Unusable {
    fn from(error: TreeError) -> Self {
        Self(damaged(match error {
            TreeError::Truncated => "its search tree ends early",
            TreeError::Tangled => "its search tree contradicts itself",
        }))
    }
}

impl From<maxminddb::MaxMindDbError> for Unusable {
    fn from(error: maxminddb::MaxMindDbError) -> Self {
        Self(damaged(&error.to_string()))
    }
}

fn damaged(what: &str) -> String {
    format!("{what}; the file is damaged or of another kind, fetch it again")
}

fn read(origin: &str, bytes: &[u8], field: FieldChoice) -> Result<Location, Unusable> {
    let reader = Reader::from_source(bytes)?;
    let metadata = reader.metadata();
    let tree = Tree::new(bytes, metadata)?;
    let mut places = Places {
        reader: &reader,
        field,
        class_of_record: HashMap::new(),
        last: (0, class::UNKNOWN),
        class_of_code: HashMap::new(),
    };

    let mut ranges_v4 = Ranges::default();
    let mut n_networks_v4 = 0;
    tree.walk_v4(|addr, _, leaf| places.push(&mut ranges_v4, &mut n_networks_v4, addr, leaf))?;
    let mut ranges_v6 = Ranges::default();
    let mut n_networks_v6 = 0;
    tree.walk_v6(|addr, _, leaf| places.push(&mut ranges_v6, &mut n_networks_v6, addr, leaf))?;

    if places.class_of_code.is_empty() {
        return Err(Unusable(format!(
            "none of its {} networks names a country (type `{}`, fields looked for: country_code, \
             country.iso_code, registered_country.iso_code); take a country or city database",
            n_networks_v4 + n_networks_v6,
            printable(&metadata.database_type),
        )));
    }
    let (classes, new_class) = places.class_table();
    ranges_v4.map_classes(|class| new_class[usize::from(class)]);
    ranges_v6.map_classes(|class| new_class[usize::from(class)]);
    mark_lan(&mut ranges_v4, &mut ranges_v6);

    let prefixes_v4 = ortc::prefixes(&ranges_v4);
    let prefixes_v6 = ortc::prefixes(&ranges_v6);
    for (family, n_prefixes) in [("IPv4", prefixes_v4.len()), ("IPv6", prefixes_v6.len())] {
        if n_prefixes > MAX_PREFIXES as usize {
            return Err(Unusable(format!(
                "its {family} table needs {n_prefixes} prefixes, more than the {MAX_PREFIXES} that a table holds"
            )));
        }
    }
    let digest = digest(&classes, &prefixes_v4, &prefixes_v6);
    Ok(Location {
        classes,
        prefixes_v4,
        prefixes_v6,
        ranges_v4,
        ranges_v6,
        source: GeoSource {
            origin: origin.to_owned(),
            database_type: printable(&metadata.database_type),
            built_s: metadata.build_epoch,
            sha256: hex(&Sha256::digest(bytes)),
            n_networks_v4,
            n_networks_v6,
            attribution: (origin == EMBEDDED_NAME || metadata.database_type.starts_with("DBIP"))
                .then(|| EMBEDDED_ATTRIBUTION.to_owned()),
        },
        digest,
    })
}

/// Records to classes, each record decoded once. Until all codes are known, a class is numbered by the order in
/// which its code was met.
struct Places<'a> {
    reader: &'a Reader<&'a [u8]>,
    field: FieldChoice,
    class_of_record: HashMap<u32, u16>,
    /// The record looked up last: neighbours often share theirs.
    last: (u32, u16),
    class_of_code: HashMap<String, u16>,
}

impl Places<'_> {
    fn push<A: Address>(
        &mut self,
        ranges: &mut Ranges<A>,
        n_networks: &mut usize,
        addr: A,
        leaf: Leaf,
    ) -> Result<(), Unusable> {
        let class = match leaf {
            Leaf::NoData => class::UNKNOWN,
            Leaf::Record(record) => {
                *n_networks += 1;
                if record != self.last.0 {
                    self.last = (record, self.class_of(record, addr)?);
                }
                self.last.1
            }
        };
        ranges.push(addr, class);
        Ok(())
    }

    fn class_of<A: Address>(&mut self, record: u32, addr: A) -> Result<u16, Unusable> {
        if let Some(class) = self.class_of_record.get(&record) {
            return Ok(*class);
        }
        let decoded: Option<Record<'_>> = self.reader.lookup(addr.to_ip())?.decode()?;
        let code = match decoded {
            Some(decoded) => decoded.code(self.field).map_err(|NotACode(text)| {
                Unusable(format!(
                    "its record for {} has `{}` for a country code; take a database with ISO 3166 codes",
                    addr.to_ip(),
                    printable(&text),
                ))
            })?,
            None => None,
        };
        let class = match code {
            None => class::UNKNOWN,
            Some(code) => {
                let n_places = self.class_of_code.len();
                let class = *self
                    .class_of_code
                    .entry(code)
                    .or_insert(class::FIRST_PLACE.saturating_add(n_places as u16));
                if self.class_of_code.len() > MAX_PLACES {
                    return Err(Unusable(format!("it names more than {MAX_PLACES} countries")));
                }
                class
            }
        };
        if self.class_of_record.len() == MAX_RECORDS {
            return Err(Unusable(format!(
                "it has more than {MAX_RECORDS} different records"
            )));
        }
        self.class_of_record.insert(record, class);
        Ok(class)
    }

    /// The table of all codes met, and for each class as numbered so far its class in the table.
    fn class_table(self) -> (ClassTable, Vec<u16>) {
        let classes = ClassTable::new(self.class_of_code.keys().cloned());
        let mut new_class: Vec<u16> = (0..class::FIRST_PLACE).collect();
        new_class.resize(classes.len(), class::UNKNOWN);
        for (code, old_class) in &self.class_of_code {
            if let Some(class) = classes.class_of(code) {
                new_class[usize::from(*old_class)] = class;
            }
        }
        (classes, new_class)
    }
}

/// The digest of what the kernel is given. Lengths stand before every list, so that no two tables have one text.
fn digest(classes: &ClassTable, prefixes_v4: &[Prefix<u32>], prefixes_v6: &[Prefix<u128>]) -> [u8; 32] {
    let mut text = b"cordon location 1\n".to_vec();
    text.extend((classes.len() as u64).to_be_bytes());
    for (_, name) in classes.places() {
        text.extend((name.len() as u64).to_be_bytes());
        text.extend(name.as_bytes());
    }
    text.extend((prefixes_v4.len() as u64).to_be_bytes());
    for prefix in prefixes_v4 {
        text.extend(prefix.addr.to_be_bytes());
        text.push(prefix.prefix_len);
        text.extend(prefix.class.to_be_bytes());
    }
    text.extend((prefixes_v6.len() as u64).to_be_bytes());
    for prefix in prefixes_v6 {
        text.extend(prefix.addr.to_be_bytes());
        text.push(prefix.prefix_len);
        text.extend(prefix.class.to_be_bytes());
    }
    Sha256::digest(&text).into()
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text out of a file that may be damaged, fit for a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .take(64)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}
