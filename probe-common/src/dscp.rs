//! Rewriting the differentiated services code point (RFC 2474); the two bits of ECN (RFC 3168) stay.

/// First two bytes of an IPv4 header with another code point.
#[inline(always)]
pub const fn with_dscp_v4(start: [u8; 2], dscp: u8) -> [u8; 2] {
    [start[0], dscp << 2 | start[1] & 3]
}

/// First two bytes of an IPv6 header with another code point: it stands across the byte boundary.
#[inline(always)]
pub const fn with_dscp_v6(start: [u8; 2], dscp: u8) -> [u8; 2] {
    [start[0] & 0xf0 | (dscp & 0x3f) >> 2, dscp << 6 | start[1] & 0x3f]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_code_point_changes() {
        for dscp in 0..64u8 {
            for ecn in 0..4u8 {
                assert_eq!(with_dscp_v4([0x46, 0xfc | ecn], dscp), [0x46, dscp << 2 | ecn]);
                // Version 6, traffic class, four bits of the flow label.
                let start = 6u16 << 12 | 0x3f << 6 | u16::from(ecn) << 4 | 0xa;
                let want = 6u16 << 12 | u16::from(dscp) << 6 | u16::from(ecn) << 4 | 0xa;
                assert_eq!(with_dscp_v6(start.to_be_bytes(), dscp), want.to_be_bytes());
            }
        }
    }
}
