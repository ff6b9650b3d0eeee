//! The overrides of an address: profiles that stand in for the one of all orders.

use aya_ebpf::btf_maps::{LpmTrie, lpm_trie::Key};
use probe_common::{FOREVER, OverrideValue, RuntimeValue, limits::OVERRIDE_MAX_LEVELS, profile};

use probe_ebpf::parse::Address;

use crate::{
    env::Env,
    generation_maps::{HAS_OVERRIDES, OVERRIDES_V4, OVERRIDES_V6, RUNTIME_PROFILES, RUNTIME_V4, RUNTIME_V6},
};

/// The profiles that live overrides give an address; `ALL_ORDERS` where there is none. A deny in either trie
/// wins over an exemption in the other; among the policy's the longest live prefix decides.
#[derive(Clone, Copy)]
pub struct Overrides {
    /// Whether either says deny.
    pub deny: bool,
    /// The policy's.
    pub policy: u8,
    /// The one made at run time.
    pub runtime: u8,
}

impl Overrides {
    /// Asks both tries; `None` if neither holds anything.
    #[inline(always)]
    pub fn of(address: Address, env: &Env) -> Option<Self> {
        if HAS_OVERRIDES.load() == 0 && !env.has_runtime() {
            return None;
        }
        let [high, low] = address.halves();
        let profiles = cordon_overrides(high, low, env.word_for(address.is_v4()));
        let policy = profiles as u8;
        let runtime = (profiles >> RUNTIME_SHIFT) as u8;
        Some(Self {
            deny: policy == profile::DENY || runtime == profile::DENY,
            policy,
            runtime,
        })
    }
}

const RUNTIME_SHIFT: u32 = 8;

impl Overrides {
    /// Whether neither says anything.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.policy == profile::ALL_ORDERS && self.runtime == profile::ALL_ORDERS
    }
}

/// The profiles of the policy and of run-time overrides for an address: the words of [`Address::halves`] and
/// [`Env::word_for`].
///
/// A function of its own for the verifier: it would go through all that follows once for every entry that is over.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cordon_overrides(high: u64, low: u64, env: u64) -> u32 {
    let address = Address::from_halves(Env::is_v4(env), [high, low]);
    let env = &mut Env::from_word(env);
    let mut policy = profile::ALL_ORDERS;
    if HAS_OVERRIDES.load() != 0 {
        policy = if address.is_v4() {
            live_profile(&OVERRIDES_V4, Key::new(32, address.v4()), env)
        } else {
            live_profile(&OVERRIDES_V6, Key::new(128, address.v6()), env)
        };
    }
    let mut runtime = profile::ALL_ORDERS;
    if env.has_runtime() {
        let value: Option<&RuntimeValue> = if address.is_v4() {
            RUNTIME_V4.get(&Key::new(32, address.v4()))
        } else {
            RUNTIME_V6.get(&Key::new(128, address.v6()))
        };
        if let Some(value) = value {
            let key = value.key_at(env.now_s());
            runtime = RUNTIME_PROFILES[usize::from(key)].load();
        }
    }
    u32::from(policy) | u32::from(runtime) << RUNTIME_SHIFT
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
