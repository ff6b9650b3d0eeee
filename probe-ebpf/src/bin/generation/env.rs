//! What a judgement assumes besides the generation: the host's state, what time it is, where the packet came in.

use probe_common::FOREVER;
use probe_ebpf::clock;

use crate::shared_maps::STATE;

/// The host's state as a judgement sees it.
pub struct Env {
    halted_until_s: u32,
    n_runtime_denies: u64,
    wall_offset_ns: u64,
    /// 0: not read yet.
    now_s: u32,
    with_shared: bool,
    is_sample: bool,
    ifindex: u32,
}

const SAMPLE: u64 = 1 << 32;
const WITH_SHARED: u64 = 1 << 33;

impl Env {
    /// The state and time as they are, for a packet on an interface. Each field of the state is one aligned word,
    /// read once.
    #[inline(always)]
    pub fn live(ifindex: u32) -> Self {
        let Some(state) = STATE.get_ptr(0) else {
            // Element 0 of an array of one always exists; the verifier wants to hear it.
            return Self::of_sample(0, FOREVER, true, ifindex);
        };
        // SAFETY: element 0 of the `STATE` map lives as long as the program, and its fields are aligned words.
        // Volatile, because the daemon stores them meanwhile.
        let (halted_until_s, n_runtime_denies, wall_offset_ns) = unsafe {
            (
                (&raw const (*state).halted_until_s).read_volatile(),
                (&raw const (*state).n_runtime_denies).read_volatile(),
                (&raw const (*state).wall_offset_ns).read_volatile(),
            )
        };
        Self {
            halted_until_s: halted_until_s as u32,
            n_runtime_denies,
            wall_offset_ns,
            now_s: 0,
            with_shared: true,
            is_sample: false,
            ifindex,
        }
    }

    /// The state and time that a sample asks for.
    #[inline(always)]
    pub fn of_sample(now_s: u32, halted_until_s: u32, with_shared: bool, ifindex: u32) -> Self {
        Self {
            halted_until_s,
            n_runtime_denies: u64::from(with_shared),
            wall_offset_ns: 0,
            now_s,
            with_shared,
            is_sample: true,
            ifindex,
        }
    }

    /// What a judgement of the same packet elsewhere must know, in one word; the interface is not part of it.
    #[inline(always)]
    pub const fn word(&self) -> u64 {
        if !self.is_sample {
            return 0;
        }
        let with_shared = if self.with_shared { WITH_SHARED } else { 0 };
        SAMPLE | with_shared | self.now_s as u64
    }

    /// From such a word.
    #[inline(always)]
    pub fn from_word(word: u64) -> Self {
        if word & SAMPLE == 0 {
            Self::live(0)
        } else {
            Self::of_sample(word as u32, 0, word & WITH_SHARED != 0, 0)
        }
    }

    /// Unix time in seconds, read when it is first asked for.
    #[inline(always)]
    pub fn now_s(&mut self) -> u32 {
        if self.now_s == 0 {
            self.now_s = clock::unix_s(self.wall_offset_ns);
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
        self.n_runtime_denies != 0
    }

    /// Whether what all generations share counts: failsafe prefixes and run-time overrides.
    #[inline(always)]
    pub const fn with_shared(&self) -> bool {
        self.with_shared
    }

    /// The interface's index; 0: unknown.
    #[inline(always)]
    pub const fn ifindex(&self) -> u32 {
        self.ifindex
    }
}
