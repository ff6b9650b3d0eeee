//! Damaged files: an error or a table, but never a panic, an endless walk or a table that contradicts itself.

use super::*;

/// Trees whose nodes share children: a walk without a bound would visit 2^95 and more places.
#[test]
fn tangled_trees_end_in_an_error() {
    let mut bytes = database(BOTH_FAMILIES, &[("2001:db8::/126", flat("AU"))]);
    let n_nodes = 126u32;
    let set = |bytes: &mut Vec<u8>, node: u32, left: u32, right: u32| {
        let (l, r) = (left.to_be_bytes(), right.to_be_bytes());
        let at = node as usize * 7;
        bytes[at..at + 7].copy_from_slice(&[l[1], l[2], l[3], l[0] << 4 | r[0], r[1], r[2], r[3]]);
    };
    let tangled =
        "its search tree contradicts itself; the file is damaged or of another kind, fetch it again";
    for node in 0..n_nodes {
        set(&mut bytes, node, (node + 1).min(n_nodes), (node + 1).min(n_nodes));
    }
    assert_eq!(
        reason(bytes.clone()),
        tangled,
        "every node twice the parent of the next"
    );
    for node in 0..n_nodes {
        set(&mut bytes, node, 0, n_nodes);
    }
    assert_eq!(reason(bytes), tangled, "every node its own ancestor");
}

/// Damaged files: an error or a table, but never a panic, an endless walk or a table that contradicts itself.
#[test]
fn mutants_of_a_database_are_read_or_refused() {
    let bytes = database(
        BOTH_FAMILIES,
        &[
            ("1.0.0.0/24", flat("AU")),
            (
                "1.0.1.0/25",
                nested(&[("country", "CN"), ("registered_country", "US")]),
            ),
            ("2.0.0.0/8", nested(&[("registered_country", "JP")])),
            ("2001:db8::/32", flat("XK")),
            ("2400::/12", nested(&[("country", "FR")])),
        ],
    );
    read(bytes.clone());
    let (mut n_read, mut n_refused) = (0, 0);
    let mut judge = |mutant: Vec<u8>| match read_database("mutant", mutant, FieldChoice::CountryFirst) {
        Ok(location) => {
            n_read += 1;
            let (v4, v6) = tries(&location);
            for (start, class) in location.ranges_v4.iter() {
                assert_eq!(by_trie_v4(&v4, start), class);
            }
            for (start, class) in location.ranges_v6.iter() {
                assert_eq!(by_trie_v6(&v6, start), class);
            }
        }
        Err(error) => {
            n_refused += 1;
            assert!(
                error
                    .to_string()
                    .starts_with("mutant is not a usable MaxMind DB: "),
                "{error}"
            );
        }
    };
    for len in 0..bytes.len() {
        judge(bytes[..len].to_vec());
    }
    for at in 0..bytes.len() {
        for flip in [0x01, 0x20, 0x80, 0xff] {
            let mut mutant = bytes.clone();
            mutant[at] ^= flip;
            judge(mutant);
        }
    }
    let mut random = Random(7);
    for _ in 0..5_000 {
        let mut mutant = bytes.clone();
        for _ in 0..1 + random.below(6) {
            let at = random.below(mutant.len() as u64) as usize;
            mutant[at] = random.next() as u8;
        }
        judge(mutant);
    }
    assert!(
        n_read > 1_000 && n_refused > 1_000,
        "{n_read} read, {n_refused} refused"
    );
}

/// The same for the world database, where counts are large enough to hurt.
#[test]
fn mutants_of_the_world_database_are_read_or_refused() {
    let bytes = embedded_database().unwrap();
    let metadata_at = bytes
        .windows(14)
        .rposition(|window| window == b"\xab\xcd\xefMaxMind.com")
        .unwrap();
    let mut random = Random(11);
    for _ in 0..500 {
        let len = random.below(bytes.len() as u64) as usize;
        reason(bytes[..len].to_vec());
    }
    // The tail of the file has metadata, but its tree and records are shifted or missing.
    for _ in 0..20 {
        let from = 1 + random.below(metadata_at as u64 - 1) as usize;
        reason(bytes[from..].to_vec());
    }
    let mut n_refused = 0;
    for round in 0..40 {
        let mut mutant = bytes.clone();
        for _ in 0..1 << (round % 12) {
            let at = random.below(metadata_at as u64) as usize;
            mutant[at] = random.next() as u8;
        }
        n_refused += u32::from(read_database("mutant", mutant, FieldChoice::CountryFirst).is_err());
    }
    assert!(n_refused > 10, "{n_refused} refused");
}

#[test]
fn random_bytes_are_refused() {
    let mut random = Random(3);
    for len in 0..2_000 {
        let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        reason(bytes.clone());
        bytes.extend(b"\xab\xcd\xefMaxMind.com");
        bytes.extend((0..len % 97).map(|_| random.next() as u8));
        reason(bytes);
    }
}

/// xorshift64*: the same mutants on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}
