//! Facts to verdict: the order in which a generation and the host's state decide about a packet.
//!
//! The plain path pays for one location look-up and one cell; everything else is asked only if the verdict
//! would not be pass.

use aya_ebpf::{
    btf_maps::{LpmTrie, lpm_trie::Key},
    programs::XdpContext,
};
use probe_common::{
    Action, FOREVER, OverrideValue, Reason, Verdict, class, limits::OVERRIDE_MAX_LEVELS, profile,
};

use probe_ebpf::{
    clock,
    parse::{Address, Facts},
};

use crate::{
    generation_maps::{
        HAS_DENIES, HAS_OVERRIDES, HAS_STAGES, LOCATION_V4, LOCATION_V6, OVERRIDES_V4, OVERRIDES_V6,
        RUNTIME_V4, RUNTIME_V6, STAGES, cell,
    },
    shared_maps::{STATE, is_failsafe_source},
};

/// What a judgement assumes besides the generation: the host's state, and what time it is.
pub struct Env {
    halted_until_s: u32,
    n_runtime_denies: u64,
    wall_offset_ns: u64,
    /// 0: not read yet.
    now_s: u32,
    with_shared: bool,
}

impl Env {
    /// The state and time as they are. Each field of the state is one aligned word, read once.
    #[inline(always)]
    pub fn live() -> Self {
        let Some(state) = STATE.get_ptr(0) else {
            // Element 0 of an array of one always exists; the verifier wants to hear it.
            return Self::of_sample(0, FOREVER, true);
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
        }
    }

    /// The state and time that a sample asks for.
    #[inline(always)]
    pub fn of_sample(now_s: u32, halted_until_s: u32, with_shared: bool) -> Self {
        Self {
            halted_until_s,
            n_runtime_denies: u64::from(with_shared),
            wall_offset_ns: 0,
            now_s,
            with_shared,
        }
    }

    #[inline(always)]
    fn now_s(&mut self) -> u32 {
        if self.now_s == 0 {
            self.now_s = clock::unix_s(self.wall_offset_ns);
        }
        self.now_s
    }

    #[inline(always)]
    fn is_halted(&mut self) -> bool {
        self.halted_until_s != 0 && (self.halted_until_s == FOREVER || self.now_s() < self.halted_until_s)
    }
}

/// The verdict for a packet that says where it comes from.
#[inline(always)]
pub fn judge(ctx: &XdpContext, facts: &Facts, env: &mut Env) -> Verdict {
    if env.is_halted() {
        return if env.with_shared && is_failsafe_source(ctx, facts) {
            Verdict::without_class(Action::Pass, Reason::HaltedFailsafe)
        } else {
            Verdict::without_class(Action::Drop, Reason::Halted)
        };
    }

    let class = class_of(facts);
    let verdict = |action, reason| Verdict {
        action,
        reason,
        class,
    };
    let is_dropped = !cell_passes(profile::ALL_ORDERS, class, env);
    let mut overrides = Overrides::default();
    if HAS_DENIES.load() != 0 || env.n_runtime_denies != 0 {
        overrides = Overrides::of(facts, env);
    }
    if !is_dropped && !overrides.deny {
        return verdict(Action::Pass, Reason::PolicyPass);
    }

    if env.with_shared && is_failsafe_source(ctx, facts) {
        return verdict(Action::Pass, Reason::Failsafe);
    }
    if !overrides.asked {
        overrides = Overrides::of(facts, env);
    }
    if overrides.deny {
        return verdict(Action::Drop, Reason::Deny);
    }
    if overrides.policy != profile::ALL_ORDERS && cell_passes(overrides.policy, class, env)
        || overrides.runtime != profile::ALL_ORDERS && cell_passes(overrides.runtime, class, env)
    {
        return verdict(Action::Pass, Reason::Exempt);
    }
    verdict(Action::Drop, Reason::PolicyDrop)
}

/// The profiles that live overrides give a source; `ALL_ORDERS` where there is none. A deny in either trie
/// wins over an exemption in the other; within a trie the longest live prefix decides.
#[derive(Default)]
struct Overrides {
    asked: bool,
    deny: bool,
    policy: u8,
    runtime: u8,
}

impl Overrides {
    #[inline(always)]
    fn of(facts: &Facts, env: &mut Env) -> Self {
        let mut policy = profile::ALL_ORDERS;
        let mut runtime = profile::ALL_ORDERS;
        match &facts.source {
            Address::V4(source) => {
                if HAS_OVERRIDES.load() != 0 {
                    policy = live_profile(&OVERRIDES_V4, Key::new(32, *source), env);
                }
                if env.with_shared {
                    runtime = live_profile(&RUNTIME_V4, Key::new(32, *source), env);
                }
            }
            Address::V6(source) => {
                if HAS_OVERRIDES.load() != 0 {
                    policy = live_profile(&OVERRIDES_V6, Key::new(128, *source), env);
                }
                if env.with_shared {
                    runtime = live_profile(&RUNTIME_V6, Key::new(128, *source), env);
                }
            }
        }
        Self {
            asked: true,
            deny: policy == profile::DENY || runtime == profile::DENY,
            policy,
            runtime,
        }
    }
}

/// The profile of the longest prefix that still holds. An expired entry must not hide a shorter live one, so
/// the look-up is repeated with one bit less than what the expired entry says of itself.
#[inline(always)]
fn live_profile<K: Copy, const MAX: usize>(
    trie: &LpmTrie<K, OverrideValue, MAX>,
    mut key: Key<K>,
    env: &mut Env,
) -> u8 {
    for _ in 0..OVERRIDE_MAX_LEVELS {
        let Some(value) = trie.get(&key) else {
            return profile::ALL_ORDERS;
        };
        if value.until_s == FOREVER || env.now_s() < value.until_s {
            return value.profile;
        }
        if value.prefix_len == 0 {
            return profile::ALL_ORDERS;
        }
        key.prefix_len = u32::from(value.prefix_len) - 1;
    }
    profile::ALL_ORDERS
}

#[inline(always)]
fn class_of(facts: &Facts) -> u16 {
    let value = match &facts.source {
        Address::V4(source) => LOCATION_V4.get(&Key::new(32, *source)),
        Address::V6(source) => LOCATION_V6.get(&Key::new(128, *source)),
    };
    value.map_or(class::UNKNOWN, |value| value.class)
}

/// Whether a cell lets the class pass now. A cell that cannot be read, or an action that this program does not
/// know, drops: the tables were verified before they were published, so neither happens unless they were
/// tampered with.
#[inline(always)]
fn cell_passes(profile: u8, class: u16, env: &mut Env) -> bool {
    let Some(cell) = cell(profile, class) else {
        return false;
    };
    if HAS_STAGES.load() != 0
        && let Some(stages_idx) = cell.stages_idx()
    {
        let Some(stages) = STAGES.get(stages_idx) else {
            return false;
        };
        return stages.decision_at(env.now_s()).action_code() == Action::Pass as u8;
    }
    cell.0 == Action::Pass as u32
}
