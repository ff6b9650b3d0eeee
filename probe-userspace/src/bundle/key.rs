//! Public and secret keys in minisign's formats.

use std::{fmt, io::Cursor, str::FromStr};

use serde::{Serialize, Serializer};

use super::signature::{Signature, base64, decode_base64};

/// Key id, as minisign shows it: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u64);

impl KeyId {
    /// The id in the byte order of files.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    /// The bytes as files have them.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl FromStr for KeyId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u64::from_str_radix(text, 16) {
            Ok(id) if is_plain => Ok(Self(id)),
            _ => Err("a key id is 16 hexadecimal digits".to_owned()),
        }
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A public key.
#[derive(Clone, Debug)]
pub struct PublicKey {
    id: KeyId,
    material: [u8; 32],
    inner: minisign::PublicKey,
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        (self.id, self.material) == (other.id, other.material)
    }
}

impl Eq for PublicKey {}

const COMMENT: &str = "untrusted comment: ";

impl PublicKey {
    /// Reads the one line that people pass around, `RWQ...`.
    pub fn from_base64(text: &str) -> Result<Self, String> {
        let wrong = || "a public key is a line of 56 characters that begins with `RW`".to_owned();
        let bytes: [u8; 42] = decode_base64(text).ok_or_else(wrong)?;
        let inner = minisign::PublicKey::from_bytes(&bytes).map_err(|_| wrong())?;
        let [b'E', b'd', rest @ ..] = bytes else {
            return Err("the key is for another signature algorithm than minisign's Ed25519".to_owned());
        };
        let (id, material) = rest.split_at(8);
        let material: [u8; 32] = material.try_into().map_err(|_| wrong())?;
        if material == [0; 32] {
            return Err("the key is all zeros".to_owned());
        }
        Ok(Self {
            id: KeyId::from_bytes(id.try_into().map_err(|_| wrong())?),
            material,
            inner,
        })
    }

    /// Reads a `.pub` file: a comment and the key.
    pub fn from_file_text(text: &str) -> Result<Self, String> {
        let lines: Vec<&str> = text.lines().collect();
        match lines[..] {
            [key] => Self::from_base64(key),
            [comment, key] if comment.starts_with(COMMENT) => Self::from_base64(key),
            [first, ..] if first.starts_with(COMMENT) && first.contains("secret key") => Err(
                "this is a secret key: name the `.pub` file beside it, and keep this one to yourself"
                    .to_owned(),
            ),
            _ => Err(format!(
                "a public key file has two lines: `{COMMENT}...` and the key"
            )),
        }
    }

    /// The text of a `.pub` file.
    pub fn to_file_text(&self) -> String {
        format!("{COMMENT}minisign public key {}\n{}\n", self.id, self.to_base64())
    }

    /// The one line that people pass around.
    pub fn to_base64(&self) -> String {
        base64(&self.inner.to_bytes())
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The Ed25519 key: two keys with the same material are one, whatever their ids say.
    pub fn material(&self) -> &[u8; 32] {
        &self.material
    }

    pub(crate) fn minisign(&self) -> &minisign::PublicKey {
        &self.inner
    }
}

const SECRET_KEY_BYTES: usize = 158;

/// A secret key that can sign. It has no text form but that of its file.
pub struct SecretKey(minisign::SecretKey);

/// Why a secret key file gives no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretKeyError {
    /// A password is needed.
    #[error("the secret key is protected by a password")]
    PasswordNeeded,
    /// Something else.
    #[error("{0}")]
    Unusable(String),
}

impl SecretKey {
    /// Makes a key. With a password the file can be used only by those who know it.
    pub fn generate(password: Option<&str>) -> Result<(Self, String), String> {
        let failed = |error: minisign::PError| format!("cannot make a key: {error}");
        let pair = match password {
            None => minisign::KeyPair::generate_unencrypted_keypair(),
            Some(password) => minisign::KeyPair::generate_encrypted_keypair(Some(password.to_owned())),
        };
        let boxed = pair
            .map_err(failed)?
            .sk
            .to_box(Some("minisign secret key"))
            .map_err(failed)?;
        let text = boxed.into_string();
        let key = Self::from_file_text(&text, password).map_err(|error| error.to_string())?;
        Ok((key, text))
    }

    /// Reads a secret key file, as minisign writes it.
    pub fn from_file_text(text: &str, password: Option<&str>) -> Result<Self, SecretKeyError> {
        let unusable = |why: String| SecretKeyError::Unusable(why);
        let key_line = text.lines().nth(1).unwrap_or_default();
        let Some(bytes) = decode_base64::<SECRET_KEY_BYTES>(key_line) else {
            return Err(unusable("this is no secret key of minisign".to_owned()));
        };
        let failed = |error: minisign::PError| unusable(format!("the secret key is damaged: {error}"));
        let boxed = minisign::SecretKeyBox::from(text.to_owned());
        let key = match (&bytes[2..4], password) {
            // Minisign up to 0.11 leaves the checksum out where there is no password. What is damaged shows when a
            // signature is checked, right after it is made.
            ([0, 0], _) if bytes[SECRET_KEY_BYTES - 32..] == [0; 32] => {
                minisign::SecretKey::from_bytes(&bytes).map_err(failed)?
            }
            ([0, 0], _) => boxed.into_unencrypted_secret_key().map_err(failed)?,
            (b"Sc", None) => return Err(SecretKeyError::PasswordNeeded),
            (b"Sc", Some(password)) => boxed
                .into_secret_key(Some(password.to_owned()))
                .map_err(|error| unusable(error.to_string()))?,
            _ => {
                return Err(unusable(
                    "the secret key is protected in a way that cordon does not know".to_owned(),
                ));
            }
        };
        Ok(Self(key))
    }

    /// Its public half.
    pub fn public(&self) -> Result<PublicKey, String> {
        let key = minisign::PublicKey::from_secret_key(&self.0).map_err(|error| error.to_string())?;
        PublicKey::from_base64(&key.to_base64())
    }

    /// Signs a payload; `comment` is signed too.
    pub fn sign(&self, payload: &[u8], comment: &str) -> Result<Signature, String> {
        let public = self.public()?;
        let boxed = minisign::sign(
            Some(public.minisign()),
            &self.0,
            Cursor::new(payload),
            Some(comment),
            None,
        );
        let text = boxed
            .map_err(|error| format!("cannot sign: {error}"))?
            .into_string();
        let signature = Signature::from_minisig(&text).map_err(|error| error.message)?;
        match signature.is_valid(payload, &public) {
            true => Ok(signature),
            false => Err("the secret key does not belong to the public key in its own file".to_owned()),
        }
    }
}
