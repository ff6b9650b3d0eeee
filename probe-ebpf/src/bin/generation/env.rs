//! What a judgement assumes besides the generation: the host's state, and what time it is.

use probe_common::FOREVER;
use probe_ebpf::clock;

use crate::shared_maps::STATE;

/// The host's state as a judgement sees it.
pub struct Env {
    halted_until_s: u32,
    has_runtime_denies: bool,
    has_runtime: bool,
    /// 0: not read yet.
    now_s: u32,
    with_shared: bool,
    is_sample: bool,
}

const SAMPLE: u64 = 1 << 32;
const WITH_SHARED: u64 = 1 << 33;
const RUNTIME_DENIES: u64 = 1 << 34;
const RUNTIME: u64 = 1 << 35;
const V4: u64 = 1 << 36;

impl Env {
    /// The state as it is. Each field is one aligned word, read once.
    #[inline(always)]
    pub fn live() -> Self {
        // Element 0 of an array of one always exists; the verifier wants to hear it.
        let (halted_until_s, n_runtime) = match STATE.get_ptr(0) {
            // SAFETY: element 0 of the `STATE` map lives as long as the program, and its fields are aligned words.
            // Volatile, because the daemon stores them meanwhile.
            Some(state) => unsafe {
                (
                    (&raw const (*state).halted_until_s).read_volatile(),
                    (&raw const (*state).n_runtime).read_volatile(),
                )
            },
            None => (u64::from(FOREVER), 0),
        };
        Self {
            halted_until_s: halted_until_s as u32,
            has_runtime_denies: n_runtime as u32 != 0,
            has_runtime: n_runtime != 0,
            now_s: 0,
            with_shared: true,
            is_sample: false,
        }
    }

    /// The state and time that a sample asks for.
    #[inline(always)]
    pub const fn of_sample(now_s: u32, halted_until_s: u32, with_shared: bool) -> Self {
        Self {
            halted_until_s,
            has_runtime_denies: with_shared,
            has_runtime: with_shared,
            now_s,
            with_shared,
            is_sample: true,
        }
    }

    /// What the rest of a judgement must know, in one word: all but whether the host is halted.
    #[inline(always)]
    pub const fn word(&self) -> u64 {
        let with_shared = if self.with_shared { WITH_SHARED } else { 0 };
        let sample = if self.is_sample { SAMPLE } else { 0 };
        let denies = if self.has_runtime_denies {
            RUNTIME_DENIES
        } else {
            0
        };
        let runtime = if self.has_runtime { RUNTIME } else { 0 };
        with_shared | sample | denies | runtime | self.now_s as u64
    }

    /// [`Env::word`] with the family of an address.
    #[inline(always)]
    pub const fn word_for(&self, is_v4: bool) -> u64 {
        self.word() | if is_v4 { V4 } else { 0 }
    }

    /// The family in such a word.
    #[inline(always)]
    pub const fn is_v4(word: u64) -> bool {
        word & V4 != 0
    }

    /// From such a word.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self {
            halted_until_s: 0,
            has_runtime_denies: word & RUNTIME_DENIES != 0,
            has_runtime: word & RUNTIME != 0,
            now_s: word as u32,
            with_shared: word & WITH_SHARED != 0,
            is_sample: word & SAMPLE != 0,
        }
    }

    /// Unix time in seconds, read when it is first asked for.
    #[inline(always)]
    pub fn now_s(&mut self) -> u32 {
        if self.now_s == 0 && !self.is_sample {
            self.now_s = clock::unix_s(wall_offset_ns());
        }
        self.now_s
    }

    /// Whether the host is halted now.
    #[inline(always)]
    pub fn is_halted(&mut self) -> bool {
        self.halted_until_s != 0 && (self.halted_until_s == FOREVER || self.now_s() < self.halted_until_s)
    }

    /// Whether there may be denies made at run time.
    #[inline(always)]
    pub const fn has_runtime_denies(&self) -> bool {
        self.has_runtime_denies
    }

    /// Whether there may be overrides made at run time.
    #[inline(always)]
    pub const fn has_runtime(&self) -> bool {
        self.has_runtime
    }

    /// Whether what all generations share counts: failsafe prefixes and run-time overrides.
    #[inline(always)]
    pub const fn with_shared(&self) -> bool {
        self.with_shared
    }
}

#[inline(always)]
fn wall_offset_ns() -> u64 {
    match STATE.get_ptr(0) {
        // SAFETY: as in `Env::live`.
        Some(state) => unsafe { (&raw const (*state).wall_offset_ns).read_volatile() },
        None => 0,
    }
}
