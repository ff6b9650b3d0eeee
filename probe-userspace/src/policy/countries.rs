//! Country codes.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

/// A country code that policies and databases may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Country {
    /// Two capital letters.
    pub code: String,
    /// English short name.
    pub name: String,
    /// The code that this one stands for (UK is an alias of GB).
    pub alias_of: Option<String>,
    /// Whether ISO 3166-1 assigns the code; XK, EU, AP and the aliases are not ISO codes.
    pub is_iso: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    iso: BTreeMap<String, String>,
    extra: BTreeMap<String, String>,
    alias: BTreeMap<String, String>,
}

static COUNTRIES: LazyLock<Vec<Country>> = LazyLock::new(|| {
    let text = include_str!("../../../policies/countries.toml");
    let file: File = toml::from_str(text).expect("countries.toml is part of the binary and read by a test");
    let mut countries: Vec<Country> = Vec::new();
    for (is_iso, table) in [(true, &file.iso), (false, &file.extra)] {
        countries.extend(table.iter().map(|(code, name)| Country {
            code: code.clone(),
            name: name.clone(),
            alias_of: None,
            is_iso,
        }));
    }
    countries.extend(file.alias.iter().map(|(code, target)| Country {
        code: code.clone(),
        name: file.iso.get(target).cloned().unwrap_or_default(),
        alias_of: Some(target.clone()),
        is_iso: false,
    }));
    countries.sort_by(|a, b| a.code.cmp(&b.code));
    countries
});

/// All countries, sorted by code.
pub fn countries() -> &'static [Country] {
    &COUNTRIES
}

/// The country of a code.
pub fn find_country(code: &str) -> Option<&'static Country> {
    let idx = COUNTRIES
        .binary_search_by(|country| country.code.as_str().cmp(code))
        .ok()?;
    COUNTRIES.get(idx)
}

const MAX_SIMILAR: usize = 5;

/// Codes that the user may have meant by a word that is none, the likeliest first.
pub(crate) fn similar_countries(word: &str) -> Vec<&'static Country> {
    let upper = word.to_uppercase();
    let mut found: Vec<(u8, &Country)> = countries()
        .iter()
        .filter(|country| country.alias_of.is_none())
        .filter_map(|country| Some((likeness(&upper, country)?, country)))
        .collect();
    found.sort_by_key(|(rank, _)| *rank);
    if let Some((best, _)) = found.first().copied() {
        found.retain(|(rank, _)| *rank == best);
    }
    found
        .into_iter()
        .take(MAX_SIMILAR)
        .map(|(_, country)| country)
        .collect()
}

/// How alike a word in capitals and a country are, smaller is closer; `None` if they are not.
fn likeness(word: &str, country: &Country) -> Option<u8> {
    let code = country.code.as_str();
    let mut letters = word.chars();
    if let (Some(first), Some(second), None) = (letters.next(), letters.next(), letters.next()) {
        let swapped = code.starts_with(second) && code.ends_with(first);
        return match (swapped, code.starts_with(first)) {
            (true, _) => Some(0),
            (false, true) => Some(1),
            (false, false) => None,
        };
    }
    if word.len() < 3 || word.len() > 64 {
        return None;
    }
    let name = country.name.to_uppercase();
    if name == word {
        Some(0)
    } else if name.starts_with(word) {
        Some(1)
    } else if strsim::osa_distance(word, &name) <= word.chars().count() / 4 {
        Some(2)
    } else if word.len() == 3 && word.is_char_boundary(2) && code == &word[..2] {
        // Most three-letter codes begin like the two-letter one.
        Some(3)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_holds_iso_3166_and_the_marked_extras() {
        assert_eq!(countries().iter().filter(|country| country.is_iso).count(), 249);
        let others: Vec<&str> = countries()
            .iter()
            .filter(|country| !country.is_iso)
            .map(|country| country.code.as_str())
            .collect();
        assert_eq!(others, ["AP", "EU", "UK", "XK"]);
        for pair in countries().windows(2) {
            assert!(pair[0].code < pair[1].code, "{} is there twice", pair[1].code);
        }
        for country in countries() {
            assert!(country.code.len() == 2 && country.code.bytes().all(|byte| byte.is_ascii_uppercase()));
            assert!(!country.name.is_empty(), "{} has no name", country.code);
        }
        let uk = find_country("UK").unwrap();
        assert_eq!(uk.alias_of.as_deref(), Some("GB"));
        assert!(find_country("GB").unwrap().alias_of.is_none());
        assert!(find_country("ru").is_none());
    }

    #[test]
    fn words_that_are_no_code_lead_to_one() {
        for (word, code) in [
            ("UR", "RU"),
            ("Russia", "RU"),
            ("Germny", "DE"),
            ("RUS", "RU"),
            ("USA", "US"),
            ("iran", "IR"),
        ] {
            let similar = similar_countries(word);
            assert_eq!(similar.first().unwrap().code, code, "{word}");
        }
        assert_eq!(similar_countries("RX").len(), 5);
        assert!(similar_countries("qqqqqqq").is_empty());
        assert!(similar_countries("").is_empty());
    }
}
