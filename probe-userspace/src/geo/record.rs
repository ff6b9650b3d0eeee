//! The country codes of one record.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use crate::{host::FieldChoice, policy};

/// Longest code that is believed to be one.
const MAX_CODE_LEN: usize = 16;

/// The fields of a record that may name its country.
#[derive(Deserialize)]
#[serde(expecting = "a record with named fields")]
pub(super) struct Record<'a> {
    #[serde(borrow, default)]
    country_code: Option<&'a str>,
    #[serde(borrow, default)]
    country: Place<'a>,
    #[serde(borrow, default)]
    registered_country: Place<'a>,
}

/// A country as MaxMind writes it (`{"iso_code": "US", ..}`), or a bare text: some databases put the English name
/// there, others the code.
#[derive(Default)]
struct Place<'a>(Option<&'a str>);

impl<'de: 'a, 'a> Deserialize<'de> for Place<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PlaceVisitor;

        impl<'de> Visitor<'de> for PlaceVisitor {
            type Value = Place<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a country")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Place(Some(text).filter(|text| text.len() == 2)))
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut code = None;
                while let Some(key) = map.next_key::<&str>()? {
                    if key == "iso_code" {
                        code = Some(map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Place(code))
            }
        }

        deserializer.deserialize_any(PlaceVisitor)
    }
}

/// A text that stands where a country code should and cannot be one.
pub(super) struct NotACode(pub(super) String);

impl Record<'_> {
    /// The code that counts, in the form policies use; `None` if the record names no country.
    pub(super) fn code(&self, field: FieldChoice) -> Result<Option<String>, NotACode> {
        let country = [self.country_code, self.country.0];
        let registered = [None, self.registered_country.0];
        let order = match field {
            FieldChoice::CountryFirst => [country, registered],
            FieldChoice::RegisteredFirst => [registered, country],
        };
        for code in order.into_iter().flatten().flatten() {
            if let Some(code) = canonical(code, alias)? {
                return Ok(Some(code));
            }
        }
        Ok(None)
    }
}

fn alias(code: &str) -> Option<&'static str> {
    policy::find_country(code)?.alias_of.as_deref()
}

/// A code in capital letters, its alias resolved as policies resolve it (UK is GB). `None` for a text that says
/// "not known": empty, or without a letter or digit (`-`, `??`).
fn canonical(code: &str, alias: impl Fn(&str) -> Option<&'static str>) -> Result<Option<String>, NotACode> {
    let code = code.trim();
    if code.len() > MAX_CODE_LEN || !code.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(NotACode(code.chars().take(MAX_CODE_LEN).collect()));
    }
    if !code.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(None);
    }
    let code = code.to_ascii_uppercase();
    Ok(Some(alias(&code).map_or(code, str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<Option<String>> {
        canonical(text, |code| (code == "UK").then_some("GB")).ok()
    }

    #[test]
    fn codes_are_kept_as_written_but_for_case_and_alias() {
        for kept in ["US", "XK", "EU", "AP", "A1", "ZZ"] {
            assert_eq!(code(kept), Some(Some(kept.to_owned())));
        }
        assert_eq!(code("us"), Some(Some("US".to_owned())));
        assert_eq!(code("uk"), Some(Some("GB".to_owned())));
    }

    #[test]
    fn placeholders_are_no_country_and_prose_is_an_error() {
        for nothing in ["", " ", "-", "??"] {
            assert_eq!(code(nothing), Some(None), "{nothing:?}");
        }
        for wrong in ["United Kingdom", "Österreich", "AAAAAAAAAAAAAAAAA", "U\0S"] {
            assert_eq!(code(wrong), None, "{wrong:?}");
        }
    }
}
