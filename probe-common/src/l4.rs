//! What stands behind the IP header: extension headers of IPv6, and what opens a connection.

/// Extension headers that are walked; what stands behind more of them is unknown.
pub const MAX_EXTENSION_HEADERS: usize = 10;

/// How the length of an IPv6 extension header is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Its second byte counts units of eight bytes, the first one not included.
    Options,
    /// The fragment header: eight bytes.
    Fragment,
    /// The authentication header: its second byte counts units of four bytes, the first two not included.
    Authentication,
}

/// The kind of extension header that a next-header number names; `None` ends the chain. ESP (50) does, because what
/// is behind it cannot be read, and so does "no next header" (59).
#[inline(always)]
pub const fn extension(next_header: u8) -> Option<Extension> {
    match next_header {
        // Hop-by-hop and destination options, routing (RFC 8200), mobility (RFC 6275), HIP (RFC 7401), Shim6 (RFC 5533).
        0 | 43 | 60 | 135 | 139 | 140 => Some(Extension::Options),
        44 => Some(Extension::Fragment),
        // RFC 4302 section 2.2.
        51 => Some(Extension::Authentication),
        _ => None,
    }
}

impl Extension {
    /// Length in bytes, from the header's second byte.
    #[inline(always)]
    pub const fn len(self, second_byte: u8) -> u32 {
        match self {
            Self::Options => (second_byte as u32 + 1) * 8,
            Self::Fragment => 8,
            Self::Authentication => (second_byte as u32 + 2) * 4,
        }
    }
}

/// Whether a UDP payload that begins so is a QUIC Initial packet, version 1 (RFC 9000 section 17.2) or 2 (RFC 9369
/// section 3.2).
#[inline(always)]
pub const fn is_quic_initial(start: [u8; 5]) -> bool {
    let version = u32::from_be_bytes([start[1], start[2], start[3], start[4]]);
    // Long header, fixed bit, and the type behind them.
    match start[0] & 0xf0 {
        0xc0 => version == 1,
        0xd0 => version == 0x6b33_43cf,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_extension_headers() {
        assert_eq!(extension(0).map(|header| header.len(0)), Some(8));
        assert_eq!(extension(60).map(|header| header.len(255)), Some(2048));
        assert_eq!(extension(44).map(|header| header.len(255)), Some(8));
        // 24 bytes with a check value of 96 bits (RFC 4302 section 2.2).
        assert_eq!(extension(51).map(|header| header.len(4)), Some(24));
        let walked = (0..=255).filter(|next_header| extension(*next_header).is_some());
        assert!(walked.eq([0, 43, 44, 51, 60, 135, 139, 140]));
    }

    #[test]
    fn initials_of_both_versions() {
        assert!(is_quic_initial([0xc3, 0, 0, 0, 1]));
        assert!(is_quic_initial([0xd0, 0x6b, 0x33, 0x43, 0xcf]));
        for start in [
            // Retry of version 2, 0-RTT of version 1, a short header, without the fixed bit, version negotiation.
            [0xc0, 0x6b, 0x33, 0x43, 0xcf],
            [0xd0, 0, 0, 0, 1],
            [0x40, 0, 0, 0, 1],
            [0x80, 0, 0, 0, 1],
            [0xc0, 0, 0, 0, 0],
        ] {
            assert!(!is_quic_initial(start), "{start:02x?}");
        }
    }
}
