//! The Internet checksum (RFC 1071), and how it changes with one word of what it covers (RFC 1624).

/// Adds up 16-bit words in network order; an odd byte at the end counts as if a zero followed. Sums of parts that
/// begin at even offsets may be added. Holds the sums of 128 KiB.
#[inline(always)]
pub const fn words<const N: usize>(bytes: &[u8; N]) -> u32 {
    let mut sum = 0;
    let mut idx = 0;
    while idx + 1 < N {
        sum += (bytes[idx] as u32) << 8 | bytes[idx + 1] as u32;
        idx += 2;
    }
    if idx < N {
        sum += (bytes[idx] as u32) << 8;
    }
    sum
}

/// The checksum, as it stands in a header, of everything that was added up.
#[inline(always)]
pub const fn checksum(sum: u32) -> [u8; 2] {
    (!fold(sum)).to_be_bytes()
}

/// The checksum after a word of what it covers has changed (RFC 1624 equation 3).
#[inline(always)]
pub const fn updated(old_checksum: [u8; 2], old: [u8; 2], new: [u8; 2]) -> [u8; 2] {
    let sum = !u16::from_be_bytes(old_checksum) as u32
        + !u16::from_be_bytes(old) as u32
        + u16::from_be_bytes(new) as u32;
    checksum(sum)
}

#[inline(always)]
const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        // Section 3: the sum of these is 2ddf0, folded ddf2.
        let sum = words(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum, 0x2ddf0);
        assert_eq!(checksum(sum), (!0xddf2u16).to_be_bytes());
        assert_eq!(words(&[0x12, 0x34, 0x56]), 0x1234 + 0x5600);
    }

    #[test]
    fn the_example_of_rfc_1624() {
        // Section 4: the checksum dd2f, where a field changes from 5555 to 3285, becomes 0000.
        assert_eq!(updated([0xdd, 0x2f], [0x55, 0x55], [0x32, 0x85]), [0, 0]);
    }

    #[test]
    fn a_change_gives_what_counting_again_gives() {
        let mut header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0, 0, 192, 168, 0, 1, 192, 168, 0,
            199,
        ];
        let before = checksum(words(&header));
        assert_eq!(before, [0xb8, 0x61]);
        for tos in 0..=255 {
            header[1] = tos;
            assert_eq!(
                updated(before, [0x45, 0], [0x45, tos]),
                checksum(words(&header)),
                "type of service {tos}"
            );
        }
    }

    #[test]
    fn long_sums_fold_twice() {
        assert_eq!(fold(0xffff_ffff), 0xffff);
        assert_eq!(fold(0x1_ffff), 1);
    }
}
