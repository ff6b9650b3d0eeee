//! Where a member of a kernel structure lies, from the kernel's own type information (BTF, include/uapi/linux/btf.h).
//!
//! One number is wanted. The crates that read BTF turn all of it into maps: 60 MB and a tenth of a second for this
//! kernel's, in a process that is to rest at a few MB.

const MAGIC: u32 = 0xeb9f;
const TYPE_LEN: usize = 12;
const MEMBER_LEN: usize = 12;
const KIND_STRUCT: u32 = 4;

/// Offset in bits of a structure's member; `None` if there is no such member, or the text is none of this machine's.
pub fn member_bit(btf: &[u8], structure: &str, member: &str) -> Option<u32> {
    if word(btf, 0)? & 0xffff != MAGIC {
        return None;
    }
    let section = |offset_at: usize| {
        let start = word(btf, 4)?.checked_add(word(btf, offset_at)?)? as usize;
        btf.get(start..start.checked_add(word(btf, offset_at + 4)? as usize)?)
    };
    let types = section(8)?;
    let strings = section(16)?;
    let mut at = 0;
    while at < types.len() {
        let info = word(types, at + 4)?;
        let (kind, n) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let members = at + TYPE_LEN;
        if kind == KIND_STRUCT && is_name(strings, word(types, at)?, structure) {
            for idx in 0..n {
                let its = members + idx * MEMBER_LEN;
                if is_name(strings, word(types, its)?, member) {
                    let offset = word(types, its + 8)?;
                    // With the flag, the upper eight bits are the width of a bit field.
                    let has_widths = info >> 31 != 0;
                    return Some(if has_widths { offset & 0xff_ffff } else { offset });
                }
            }
        }
        at = members + trailer_len(kind, n)?;
    }
    None
}

/// Bytes that follow a type; `None` for a kind that this program does not know.
fn trailer_len(kind: u32, n: usize) -> Option<usize> {
    match kind {
        // Pointer, forward, typedef, volatile, const, restrict, function, float, type tag.
        2 | 7..=12 | 16 | 18 => Some(0),
        // Integer, variable, declaration tag.
        1 | 14 | 17 => Some(4),
        // Array.
        3 => Some(12),
        // Enumeration, function prototype.
        6 | 13 => Some(n * 8),
        // Structure, union, section, enumeration of 64 bits.
        KIND_STRUCT | 5 | 15 | 19 => Some(n * MEMBER_LEN),
        _ => None,
    }
}

fn is_name(strings: &[u8], offset: u32, name: &str) -> bool {
    strings
        .get(offset as usize..)
        .and_then(|rest| rest.strip_prefix(name.as_bytes()))
        .is_some_and(|rest| rest.first() == Some(&0))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(word.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An integer, then `struct sock { a; b }`; `flag` sets the flag of widths.
    fn example(flag: bool) -> Vec<u8> {
        let strings = b"\0int\0sock\0a\0bb\0";
        let types: [u32; 13] = [
            1,
            1 << 24,
            4,
            32, // int
            5,
            KIND_STRUCT << 24 | 2 | u32::from(flag) << 31,
            8, // sock
            10,
            1,
            7, // a
            12,
            1,
            4 << 24 | 44, // bb, four bits wide if the flag is set
        ];
        let header = [MAGIC | 1 << 16, 24, 0, 52, 52, strings.len() as u32];
        let mut btf: Vec<u8> = header
            .iter()
            .chain(&types)
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        btf.extend(strings);
        btf
    }

    #[test]
    fn a_member_is_found_with_and_without_widths() {
        assert_eq!(member_bit(&example(true), "sock", "bb"), Some(44));
        assert_eq!(member_bit(&example(false), "sock", "bb"), Some(4 << 24 | 44));
        assert_eq!(member_bit(&example(true), "sock", "a"), Some(7));
        assert_eq!(
            member_bit(&example(true), "sock", "b"),
            None,
            "a prefix is no name"
        );
        assert_eq!(member_bit(&example(true), "int", "a"), None);
    }

    #[test]
    fn what_is_cut_or_foreign_has_no_members() {
        let btf = example(true);
        for len in 0..btf.len() - 3 {
            assert_eq!(member_bit(&btf[..len], "sock", "bb"), None, "{len} bytes");
        }
        let mut unknown_kind = btf.clone();
        unknown_kind[24 + 4 + 3] = 31;
        assert_eq!(member_bit(&unknown_kind, "sock", "bb"), None);
    }
}
