//! Lists of prefixes: one in each line, nothing else but empty lines and comments that begin with `#`.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::limits::MAX_PREFIXES;
use crate::{
    diagnostic::{Diagnostic, Place},
    policy::{NamedLists, document::shorten, limits::MAX_REMARKS, prefix::parse_prefix},
};

/// Prefixes read so far, over all lists of a bundle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    n_v4: usize,
    n_v6: usize,
}

/// Reads the lists of a plain policy file, by name and text.
pub fn read_texts(texts: &BTreeMap<String, String>) -> Result<NamedLists, Vec<Diagnostic>> {
    let mut budget = Budget::default();
    let mut lists = NamedLists::new();
    for (name, text) in texts {
        let prefixes = read(&format!("lists/{name}.txt"), text, &mut budget)?;
        lists.insert(name.clone(), prefixes);
    }
    Ok(lists)
}

/// Reads a list. Gives all remarks in one pass; no prefixes if there is one. Prefixes come out in ascending order.
pub fn read(file: &str, text: &str, budget: &mut Budget) -> Result<Vec<IpNet>, Vec<Diagnostic>> {
    let mut remarks = Vec::new();
    let mut prefixes: Vec<(IpNet, u32)> = Vec::new();
    for (line, written) in (1u32..).zip(text.lines()) {
        let content = written.split('#').next().unwrap_or_default().trim();
        if content.is_empty() {
            continue;
        }
        if remarks.len() == MAX_REMARKS {
            break;
        }
        let prefix = match parse_prefix(content) {
            Ok(prefix) => prefix,
            Err((message, fix)) => {
                remarks.push(remark(file, line, content, message, fix));
                continue;
            }
        };
        let n_prefixes = match prefix.addr() {
            IpAddr::V4(_) => &mut budget.n_v4,
            IpAddr::V6(_) => &mut budget.n_v6,
        };
        *n_prefixes += 1;
        if *n_prefixes > MAX_PREFIXES {
            let message = format!("more than {MAX_PREFIXES} prefixes of this family");
            remarks.push(remark(file, line, content, message, "join prefixes"));
            break;
        }
        prefixes.push((prefix, line));
    }
    prefixes.sort_unstable();
    for pair in prefixes.windows(2) {
        if let [(first, first_line), (second, line)] = pair
            && first == second
            && remarks.len() < MAX_REMARKS
        {
            let message = format!("the prefix is already in line {first_line}");
            remarks.push(remark(
                file,
                *line,
                &second.to_string(),
                message,
                "remove one of the two",
            ));
        }
    }
    remarks.sort_by(|a, b| a.place.cmp(&b.place));
    match remarks.is_empty() {
        true => Ok(prefixes.into_iter().map(|(prefix, _)| prefix).collect()),
        false => Err(remarks),
    }
}

fn remark(
    file: &str,
    line: u32,
    value: &str,
    message: impl Into<String>,
    fix: impl Into<String>,
) -> Diagnostic {
    let place = Place {
        file: file.to_owned(),
        line,
        column: 1,
    };
    Diagnostic::error(place, shorten(value), message, fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_with_its_comments() {
        let text = "# office\n203.0.113.0/24\n\n2001:db8::/32 # lab\n";
        let prefixes = read("office", text, &mut Budget::default()).unwrap();
        let written: Vec<String> = prefixes.iter().map(IpNet::to_string).collect();
        assert_eq!(written, ["203.0.113.0/24", "2001:db8::/32"]);
    }

    #[test]
    fn every_bad_line_is_named() {
        let text = "203.0.113.7/24\n\n10.0.0.0/8\nx\n10.0.0.0/8\n";
        let remarks = read("office", text, &mut Budget::default()).unwrap_err();
        let lines: Vec<u32> = remarks.iter().map(|remark| remark.place.line).collect();
        assert_eq!(lines, [1, 4, 5], "{remarks:?}");
        assert_eq!(remarks[2].message, "the prefix is already in line 3");
    }

    #[test]
    fn the_prefixes_of_all_lists_are_counted() {
        let mut budget = Budget {
            n_v4: MAX_PREFIXES - 1,
            n_v6: 0,
        };
        assert!(read("one", "10.0.0.0/8\n2001:db8::/32\n", &mut budget).is_ok());
        let remarks = read("two", "2001:db8::/33\n11.0.0.0/8\n", &mut budget).unwrap_err();
        assert_eq!(remarks[0].place.line, 2, "{remarks:?}");
    }
}
