//! `xdp-filter status`: the list of addresses.

use super::{Imported, Set, place, spans, unreadable};
use crate::diagnostic::{Diagnostic, Place};

const HEADING: &str = "Filtered IP addresses:";
/// Programs of this name drop what is on no list.
const DENIES: &str = "xdpfilt_dny";

pub(super) fn read(file: &str, text: &str) -> Imported {
    let mut imported = Imported::default();
    let mut set = Set {
        name: "xdp-filter".to_owned(),
        ..Set::default()
    };
    let mut lines = text.lines().enumerate();
    if !text.contains("XDP-FILTER STATUS") {
        imported.remarks.push(Diagnostic::error(
            Place::file(file),
            "",
            "this is not what `xdp-filter status` prints",
            "run `xdp-filter status > FILE` as root",
        ));
        return imported;
    }
    if let Some((idx, line)) = lines.clone().find(|(_, line)| line.contains(DENIES)) {
        imported.remarks.push(Diagnostic::error(
            place(file, idx + 1, line, DENIES),
            line.trim(),
            "this xdp-filter drops by default, and its list is what passes",
            "write `default = \"drop\"` and `[[allow]]` yourself: cordon denies what a list names",
        ));
    }
    lines.find(|(_, line)| line.trim() == HEADING);
    // The heading of the table, then a row for each address, until an empty line.
    for (idx, line) in lines.skip(1) {
        let mut words = line.split_whitespace();
        let (Some(address), Some(mode)) = (words.next(), words.next()) else {
            break;
        };
        let at = || place(file, idx + 1, line, address);
        if !mode.split(',').any(|end| end == "src") {
            imported.remarks.push(Diagnostic::warning(
                at(),
                address,
                format!("xdp-filter matches this as a destination ({mode}): left out, a list is of sources"),
                "use a service with `to` for a destination",
            ));
            continue;
        }
        match spans::parse(address) {
            Ok(span) => set.spans.add(span),
            Err(why) => imported.remarks.push(unreadable(at(), address, &why)),
        }
    }
    imported.sets.push(set);
    imported
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "CURRENT XDP-FILTER STATUS:\n\nLoaded on interfaces:\n  Enabled features\nxdpfilt_alw_all\n  \
        a0 (skb mode)  tcp\n\nFiltered IP addresses:\n    Mode      Hit counter\n  2001:db8::7   src   0\n  \
        198.51.100.9   dst   0\n  192.0.2.1  src,dst   0\n\nFiltered MAC addresses:\n  Mode  Hit\n  \
        02:00:00:00:00:01  dst  0\n";

    #[test]
    fn sources_are_read_and_destinations_told() {
        let imported = read("f", STATUS);
        let prefixes: Vec<String> = imported.prefixes().iter().map(ToString::to_string).collect();
        assert_eq!(prefixes, ["192.0.2.1/32", "2001:db8::7/128"]);
        assert!(
            imported.remarks[0].to_string().starts_with("f:11:3: warning"),
            "{:?}",
            imported.remarks
        );
        let denies = read("f", &STATUS.replace("_alw_", "_dny_"));
        assert!(denies.remarks[0].to_string().contains("drops by default"));
        assert!(read("f", "nothing").remarks[0].to_string().contains("as root"));
    }
}
