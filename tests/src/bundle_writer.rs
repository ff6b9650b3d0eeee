//! Bundles byte by byte, right or wrong. Written from docs/bundle.md and not with cordon's own code, so that an error made
//! twice in the same way does not hide.

use std::path::Path;

use cordon::bundle::Digest;
use ct_codecs::{Base64, Decoder as _};

/// A key of stock minisign.
pub struct Signer {
    key: minisign::SecretKey,
}

/// One signature, as it is written.
#[derive(Clone, Debug)]
pub struct RawSignature {
    /// `ED`.
    pub algorithm: [u8; 2],
    /// Key id.
    pub id: [u8; 8],
    /// Signature of the payload's digest.
    pub signature: [u8; 64],
    /// Signature of signature and comment.
    pub global: [u8; 64],
    /// What the length says; `None`: the truth.
    pub comment_len: Option<u16>,
    /// Trusted comment.
    pub comment: Vec<u8>,
}

impl Signer {
    /// A test key by its name, `one`, `two` or `three`.
    pub fn named(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("bundles/keys/{name}.key"));
        let text = std::fs::read_to_string(path).expect("the test keys are in the repository");
        let line = text.lines().nth(1).expect("a key file has two lines");
        let bytes = Base64::decode_to_vec(line, None).expect("a key is base64");
        Self {
            key: minisign::SecretKey::from_bytes(&bytes).expect("a key of minisign"),
        }
    }

    /// The text of its `.pub` file.
    pub fn public(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("bundles/keys/{name}.pub"));
        std::fs::read_to_string(path).expect("the test keys are in the repository")
    }

    /// Signs a payload.
    pub fn sign(&self, payload: &[u8]) -> RawSignature {
        let boxed = minisign::sign(None, &self.key, payload, Some("test"), None).expect("a key can sign");
        let text = boxed.into_string();
        let lines: Vec<&str> = text.lines().collect();
        let decode = |line: &str| Base64::decode_to_vec(line, None).expect("minisign writes base64");
        let (first, global) = (decode(lines[1]), decode(lines[3]));
        let take = |range: std::ops::Range<usize>| first[range].to_vec();
        RawSignature {
            algorithm: take(0..2).try_into().expect("2 bytes"),
            id: take(2..10).try_into().expect("8 bytes"),
            signature: take(10..74).try_into().expect("64 bytes"),
            global: global.try_into().expect("64 bytes"),
            comment_len: None,
            comment: b"test".to_vec(),
        }
    }
}

impl RawSignature {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.algorithm);
        bytes.extend(self.id);
        bytes.extend(self.signature);
        bytes.extend(self.global);
        let n_bytes = self.comment_len.unwrap_or(self.comment.len() as u16);
        bytes.extend(n_bytes.to_le_bytes());
        bytes.extend(&self.comment);
    }
}

/// The outer form.
#[derive(Clone, Debug)]
pub struct RawBundle {
    /// First eight bytes.
    pub magic: [u8; 8],
    /// Version of the envelope.
    pub version: u16,
    /// 1 policy, 2 geo, 3 directive.
    pub kind: u8,
    /// What the header says; `None`: the truth.
    pub n_signatures: Option<u8>,
    /// What the header says; `None`: the truth.
    pub payload_len: Option<u32>,
    /// Signatures.
    pub signatures: Vec<RawSignature>,
    /// What is signed.
    pub payload: Vec<u8>,
    /// What follows.
    pub tail: Vec<u8>,
}

impl RawBundle {
    /// A bundle with good signatures, in their order.
    pub fn signed(kind: u8, payload: Vec<u8>, signers: &[&Signer]) -> Self {
        let mut signatures: Vec<RawSignature> = signers.iter().map(|signer| signer.sign(&payload)).collect();
        signatures.sort_by_key(|signature| u64::from_le_bytes(signature.id));
        Self {
            magic: *b"\x89CORDON\n",
            version: 1,
            kind,
            n_signatures: None,
            payload_len: None,
            signatures,
            payload,
            tail: Vec::new(),
        }
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.push(self.kind);
        bytes.push(self.n_signatures.unwrap_or(self.signatures.len() as u8));
        bytes.extend(
            self.payload_len
                .unwrap_or(self.payload.len() as u32)
                .to_le_bytes(),
        );
        for signature in &self.signatures {
            signature.write(&mut bytes);
        }
        bytes.extend(&self.payload);
        bytes.extend(&self.tail);
        bytes
    }
}

/// One section, as it is written.
#[derive(Clone, Debug)]
pub struct RawSection {
    /// Name.
    pub name: String,
    /// `raw` or `zstd`.
    pub encoding: String,
    /// What the header says; `None`: the truth.
    pub size: Option<String>,
    /// Content as stored.
    pub stored: Vec<u8>,
    /// Content as the manifest names it, if it is stored in another form.
    pub expanded: Option<Vec<u8>>,
}

impl RawSection {
    /// A section that is stored as it is.
    pub fn raw(name: &str, content: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.to_owned(),
            encoding: "raw".to_owned(),
            size: None,
            stored: content.into(),
            expanded: None,
        }
    }
}

/// The inner form.
#[derive(Clone, Debug)]
pub struct Draft {
    /// `policy`, `geo` or `directive`, in the first line.
    pub kind: String,
    /// The first line; `None`: what the kind says.
    pub first_line: Option<String>,
    /// The manifest without its sections.
    pub manifest: String,
    /// The `[[section]]` tables; `None`: the truth.
    pub named: Option<String>,
    /// The other sections, in the order in which they are written.
    pub sections: Vec<RawSection>,
    /// What follows the last section.
    pub end: Vec<u8>,
}

impl Draft {
    /// A policy bundle with all that it can have.
    pub fn policy() -> Self {
        Self {
            kind: "policy".to_owned(),
            first_line: None,
            manifest: POLICY_MANIFEST.to_owned(),
            named: None,
            sections: vec![
                RawSection::raw("policy", POLICY),
                RawSection::raw("groups", GROUPS),
                RawSection::raw("list:lab", "2001:db8::/32\n"),
                RawSection::raw("list:office", "# ours\n203.0.113.0/24\n198.51.100.0/24\n"),
            ],
            end: b"end\n".to_vec(),
        }
    }

    /// A geo bundle.
    pub fn geo() -> Self {
        let stored = zstd::bulk::compress(&database(), 3).expect("zstd compresses");
        Self {
            kind: "geo".to_owned(),
            manifest: GEO_MANIFEST.to_owned(),
            sections: vec![RawSection {
                encoding: "zstd".to_owned(),
                expanded: Some(database()),
                ..RawSection::raw("database", stored)
            }],
            ..Self::policy()
        }
    }

    /// A directive.
    pub fn directive() -> Self {
        Self {
            kind: "directive".to_owned(),
            manifest: DIRECTIVE_MANIFEST.to_owned(),
            sections: vec![RawSection::raw("directive", DIRECTIVE)],
            ..Self::policy()
        }
    }

    /// The code of the kind in the envelope.
    pub fn kind_code(&self) -> u8 {
        match self.kind.as_str() {
            "geo" => 2,
            "directive" => 3,
            _ => 1,
        }
    }

    /// The `[[section]]` tables that fit the sections.
    pub fn tables(&self) -> String {
        let table = |section: &RawSection| {
            let content = section.expanded.as_ref().unwrap_or(&section.stored);
            format!(
                "\n[[section]]\nname = \"{}\"\nbytes = {}\nsha256 = \"{}\"\n",
                section.name,
                content.len(),
                Digest::of(content)
            )
        };
        self.sections.iter().map(table).collect()
    }

    /// The bytes that are signed.
    pub fn payload(&self) -> Vec<u8> {
        let tables = self.named.clone().unwrap_or_else(|| self.tables());
        let manifest = RawSection::raw("manifest", format!("{}{tables}", self.manifest));
        let mut bytes = match &self.first_line {
            Some(line) => line.clone().into_bytes(),
            None => format!("cordon {} 1\n", self.kind).into_bytes(),
        };
        for section in std::iter::once(&manifest).chain(&self.sections) {
            let size = section
                .size
                .clone()
                .unwrap_or_else(|| section.stored.len().to_string());
            bytes.extend(format!("section {} {} {size}\n", section.name, section.encoding).bytes());
            bytes.extend(&section.stored);
            bytes.push(b'\n');
        }
        bytes.extend(&self.end);
        bytes
    }

    /// A bundle of it with good signatures.
    pub fn signed(&self, signers: &[&Signer]) -> RawBundle {
        RawBundle::signed(self.kind_code(), self.payload(), signers)
    }
}

/// Something that looks like a database.
pub fn database() -> Vec<u8> {
    let mut bytes = b"networks ".repeat(40);
    bytes.extend(b"\xab\xcd\xefMaxMind.com");
    bytes.extend(b"metadata");
    bytes
}

/// A manifest without its sections.
pub const POLICY_MANIFEST: &str = "\
format = 1
kind = \"policy\"
name = \"edge\"
revision = 7
issued = 2026-11-01T00:00:00Z
min_cordon = \"0.0.0\"
change = \"order 2026/17\"
not_before = 2026-11-02T00:00:00Z
expires = 2027-02-01T00:00:00Z

[target]
hosts = [\"edge-*\", \"gw\"]
labels = { site = \"fra*\" }

[database]
name = \"country\"
oldest_build = 2026-10-01T00:00:00Z
max_age_days = 45
";

/// A manifest without its sections.
pub const GEO_MANIFEST: &str = "\
format = 1
kind = \"geo\"
name = \"country\"
revision = 7
issued = 2026-11-01T00:00:00Z
min_cordon = \"0.0.0\"
change = \"November\"
built = 2026-10-31T00:00:00Z
licence = \"CC-BY-4.0\"
";

/// A policy that names a group of the bundle.
pub const POLICY: &str = "\
version = 1
default = \"pass\"
unknown = \"pass\"

[[order]]
id = \"order-17\"
authority = \"test\"

[[order.rule]]
action = \"drop\"
groups = [\"near\"]

[[allow]]
list = \"office\"
reason = \"ours\"

[[deny]]
list = \"lab\"
reason = \"test\"
";

/// A manifest without its sections.
pub const DIRECTIVE_MANIFEST: &str = "\
format = 1
kind = \"directive\"
name = \"duty\"
revision = 7
issued = 2026-11-01T00:00:00Z
min_cordon = \"0.0.0\"
change = \"drill\"
expires = 2027-02-01T00:00:00Z

[target]
hosts = [\"edge-*\", \"gw\"]
";

/// What a host is to do.
pub const DIRECTIVE: &str = "\
version = 1
verb = \"halt\"
until = 2027-03-01T00:00:00Z
reason = \"drill\"
";

/// Groups that the policy names.
pub const GROUPS: &str = "[[group]]\nname = \"near\"\ncountries = [\"DE\", \"FR\"]\n";
