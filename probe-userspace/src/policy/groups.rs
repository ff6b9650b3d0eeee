//! Named country groups that ship with cordon.

use std::sync::LazyLock;

use serde::Deserialize;

/// A named group of countries.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuiltInGroup {
    /// Name, as policies write it.
    pub name: String,
    /// Country codes, sorted.
    pub countries: Vec<String>,
    /// The day that the list was right, `2026-07-23`.
    pub as_of: String,
    /// What the list was taken from.
    pub source: String,
    /// What a user should know about it; empty if there is nothing.
    pub note: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    group: Vec<BuiltInGroup>,
}

const FILES: [&str; 3] = [
    include_str!("../../../policies/groups/export-controls.toml"),
    include_str!("../../../policies/groups/europe.toml"),
    include_str!("../../../policies/groups/alliances.toml"),
];

/// The groups that ship with cordon.
pub static BUILT_IN_GROUPS: LazyLock<Vec<BuiltInGroup>> = LazyLock::new(|| {
    let files = FILES.iter().map(|text| {
        toml::from_str::<File>(text).expect("the group files are part of the binary and read by a test")
    });
    files.flat_map(|file| file.group).collect()
});

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::policy::find_country;

    #[test]
    fn groups_have_the_sizes_of_their_sources() {
        let sizes: Vec<(&str, usize)> = BUILT_IN_GROUPS
            .iter()
            .map(|group| (group.name.as_str(), group.countries.len()))
            .collect();
        assert_eq!(
            sizes,
            [
                ("E:1", 3),
                ("E:2", 1),
                ("D:1", 24),
                ("D:2", 10),
                ("D:3", 36),
                ("D:4", 21),
                ("D:5", 22),
                ("A:1", 40),
                ("A:5", 38),
                ("A:6", 8),
                ("EU27", 27),
                ("EEA", 30),
                ("EFTA", 4),
                ("Schengen", 29),
                ("FVEY", 5),
                ("G7", 7),
                ("NATO", 32),
            ]
        );
    }

    #[test]
    fn groups_hold_iso_codes_each_once_and_name_their_source() {
        for group in BUILT_IN_GROUPS.iter() {
            let distinct: BTreeSet<&String> = group.countries.iter().collect();
            assert_eq!(
                distinct.len(),
                group.countries.len(),
                "{} repeats a code",
                group.name
            );
            assert!(group.countries.is_sorted(), "{} is not sorted", group.name);
            for code in &group.countries {
                let country =
                    find_country(code).unwrap_or_else(|| panic!("{}: {code} is no code", group.name));
                assert!(country.is_iso, "{}: {code} is no ISO code", group.name);
            }
            assert!(!group.source.is_empty());
            assert!(group.as_of.parse::<jiff::civil::Date>().is_ok(), "{}", group.name);
        }
    }

    #[test]
    fn european_groups_are_what_their_members_make_them() {
        let find = |name: &str| -> BTreeSet<&str> {
            let group = BUILT_IN_GROUPS.iter().find(|group| group.name == name).unwrap();
            group.countries.iter().map(String::as_str).collect()
        };
        let (eu, eea, efta, schengen) = (find("EU27"), find("EEA"), find("EFTA"), find("Schengen"));
        assert_eq!(eea, &eu | &BTreeSet::from(["IS", "LI", "NO"]));
        assert_eq!(schengen, &(&eu - &BTreeSet::from(["CY", "IE"])) | &efta);
    }
}
