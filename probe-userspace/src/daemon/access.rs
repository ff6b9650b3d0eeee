//! Who may do what: callers, their roles, and how many of them are served at a time.

use std::{
    collections::BTreeMap,
    io,
    os::fd::AsRawFd as _,
    sync::{Arc, Mutex, PoisonError},
};

use nix::{
    libc,
    unistd::{Group, User, geteuid},
};
use tokio::net::UnixStream;

use super::Refusal;
use crate::{
    audit::Actor,
    host::{self, Principal, Role},
};

/// Group whose members may read, where it exists. The socket belongs to it.
pub const GROUP: &str = "cordon";
/// Connections served at a time.
pub const MAX_CONNECTIONS: usize = 64;
/// Of those, only root gets the last few: whatever others do, root gets in.
pub const RESERVED_FOR_ROOT: usize = 4;
/// Connections of one user at a time; root has no such limit.
pub const MAX_PER_USER: usize = 16;
/// Most supplementary groups of a process (`NGROUPS_MAX`).
const MAX_GROUPS: usize = 65_536;

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// No role.
    pub const NONE: Self = Self(0);

    /// Every role.
    pub fn all() -> Self {
        Role::ALL.into_iter().collect()
    }

    /// Whether the role is among them.
    pub fn has(self, role: Role) -> bool {
        self.0 & bit(role) != 0
    }

    fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

fn bit(role: Role) -> u8 {
    1 << role as u8
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |set, role| set | bit(role)))
    }
}

/// The host file's `[[access]]`, with names turned into numbers.
#[derive(Clone, Debug, Default)]
pub struct Access {
    users: BTreeMap<u32, Roles>,
    groups: BTreeMap<u32, Roles>,
    own_user: u32,
}

impl Access {
    /// Looks up the names. Those that do not exist are given besides: they have no roles.
    pub fn resolve(access: &[host::Access]) -> (Self, Vec<String>) {
        let mut resolved = Self {
            own_user: geteuid().as_raw(),
            ..Self::default()
        };
        let mut unknown = Vec::new();
        if let Ok(Some(group)) = Group::from_name(GROUP) {
            let read = Roles::from_iter([Role::Read]);
            resolved.groups.entry(group.gid.as_raw()).or_default().add(read);
        }
        for entry in access {
            let roles: Roles = entry.roles.iter().copied().collect();
            for user in &entry.users {
                match user_id(&user.value) {
                    Some(id) => resolved.users.entry(id).or_default().add(roles),
                    None => unknown.push(format!("{}: there is no user {}", user.place, user.value)),
                }
            }
            for group in &entry.groups {
                match group_id(&group.value) {
                    Some(id) => resolved.groups.entry(id).or_default().add(roles),
                    None => unknown.push(format!("{}: there is no group {}", group.place, group.value)),
                }
            }
        }
        (resolved, unknown)
    }

    /// The roles of a process.
    pub fn roles(&self, user: u32, groups: &[u32]) -> Roles {
        if user == 0 || user == self.own_user {
            return Roles::all();
        }
        let mut roles = self.users.get(&user).copied().unwrap_or_default();
        for group in groups {
            roles.add(self.groups.get(group).copied().unwrap_or_default());
        }
        roles
    }
}

fn user_id(user: &Principal) -> Option<u32> {
    match user {
        Principal::Id(id) => Some(*id),
        Principal::Name(name) => Some(User::from_name(name).ok()??.uid.as_raw()),
    }
}

fn group_id(group: &Principal) -> Option<u32> {
    match group {
        Principal::Id(id) => Some(*id),
        Principal::Name(name) => Some(Group::from_name(name).ok()??.gid.as_raw()),
    }
}

/// Who calls, as the kernel noted it when the connection was made.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    uid: u32,
    roles: Roles,
}

impl Caller {
    /// Asks the kernel.
    pub fn of(stream: &UnixStream, access: &Access) -> io::Result<Self> {
        let peer = stream.peer_cred()?;
        let mut groups = supplementary_groups(stream)?;
        groups.push(peer.gid());
        Ok(Self {
            uid: peer.uid(),
            roles: access.roles(peer.uid(), &groups),
        })
    }

    /// Its user.
    pub fn uid(self) -> u32 {
        self.uid
    }

    /// Who is to be named as the one that asked.
    pub fn actor(self) -> Actor {
        Actor::Local { uid: self.uid }
    }

    /// Who is to be named as the one that did it, if it may.
    pub fn may(self, role: Role) -> Result<Actor, Refusal> {
        if self.roles.has(role) {
            return Ok(self.actor());
        }
        Err(Refusal::denied(format!(
            "user {} has not the role `{role}` that this needs: run it as root, or add an `[[access]]` with \
             `roles = [\"{role}\"]` to the host file and restart the daemon",
            self.uid
        )))
    }
}

/// `SO_PEERGROUPS`: the peer's supplementary groups. Minimum kernel version 4.13.
fn supplementary_groups(stream: &UnixStream) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let n_bytes = groups.len() * size_of::<libc::gid_t>();
        let mut length = libc::socklen_t::try_from(n_bytes).map_err(io::Error::other)?;
        // SAFETY: `groups` has room for `length` bytes, which is what the kernel is told, and any bytes are valid
        // numbers. Both live longer than the call, and the descriptor is open: `stream` is borrowed.
        let result = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let n_groups = length as usize / size_of::<libc::gid_t>();
        if result == 0 {
            groups.truncate(n_groups);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // The kernel then says how much room it needs.
        if error.raw_os_error() != Some(libc::ERANGE) || n_groups <= groups.len() || n_groups > MAX_GROUPS {
            return Err(error);
        }
        groups.resize(n_groups, 0);
    }
}

/// Who is being served.
#[derive(Clone, Debug, Default)]
pub struct Places {
    by_user: Arc<Mutex<BTreeMap<u32, usize>>>,
}

/// A place of one connection, given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    uid: u32,
}

impl Places {
    /// A place for a user, if there is one.
    pub fn take(&self, uid: u32) -> Option<Place> {
        let mut by_user = self.by_user.lock().unwrap_or_else(PoisonError::into_inner);
        let n_all: usize = by_user.values().sum();
        let n_own = by_user.get(&uid).copied().unwrap_or_default();
        let has_place = if uid == 0 {
            n_all < MAX_CONNECTIONS
        } else {
            n_all < MAX_CONNECTIONS - RESERVED_FOR_ROOT && n_own < MAX_PER_USER
        };
        if !has_place {
            return None;
        }
        by_user.insert(uid, n_own + 1);
        Some(Place {
            places: self.clone(),
            uid,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_user = self.places.by_user.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = by_user.get_mut(&self.uid) {
            *n -= 1;
            if *n == 0 {
                by_user.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(text: &str) -> (Access, Vec<String>) {
        let (host, remarks) = host::parse("cordon.toml", text);
        Access::resolve(&host.unwrap_or_else(|| panic!("{remarks:?}")).access)
    }

    #[test]
    fn each_role_is_given_by_user_and_by_group_and_by_nothing_else() {
        for role in Role::ALL {
            let (access, unknown) = access(&format!(
                "[[access]]\nroles = [\"{role}\"]\nusers = [4001]\ngroups = [5001]\n"
            ));
            assert_eq!(unknown, [""; 0]);
            let only = Roles::from_iter([role]);
            assert_eq!(access.roles(4001, &[]), only);
            assert_eq!(access.roles(4002, &[7, 5001]), only);
            assert_eq!(access.roles(4002, &[7]), Roles::NONE, "nobody else");
            assert_eq!(access.roles(5001, &[4001]), Roles::NONE, "users are no groups");
            assert_eq!(access.roles(0, &[]), Roles::all());
            for other in Role::ALL {
                let caller = Caller {
                    uid: 4001,
                    roles: only,
                };
                assert_eq!(caller.may(other).is_ok(), other == role, "{role} {other}");
            }
        }
    }

    #[test]
    fn roles_of_several_entries_add_up_and_unknown_names_are_told() {
        let (access, unknown) = access(
            "[[access]]\nroles = [\"read\"]\nusers = [4001]\n\
             [[access]]\nroles = [\"halt\", \"lift\"]\nusers = [\"root\"]\ngroups = [5001, \"no-such-group\"]\n",
        );
        assert_eq!(unknown.len(), 1);
        assert!(
            unknown[0].contains("no-such-group") && unknown[0].contains("cordon.toml:7"),
            "{unknown:?}"
        );
        let roles = access.roles(4001, &[5001]);
        let has: Vec<Role> = Role::ALL.into_iter().filter(|role| roles.has(*role)).collect();
        assert_eq!(has, [Role::Read, Role::Halt, Role::Lift]);
    }

    #[test]
    fn a_refusal_names_the_role_and_where_to_get_it() {
        let caller = Caller {
            uid: 4001,
            roles: Roles::NONE,
        };
        let refusal = caller.may(Role::Lift).unwrap_err();
        assert_eq!(refusal.status, 403);
        assert!(refusal.error.contains("4001") && refusal.error.contains("roles = [\"lift\"]"));
    }

    #[test]
    fn others_leave_room_for_each_other_and_for_root() {
        let places = Places::default();
        let mut taken = Vec::new();
        for user in 1..=4 {
            for n in 0.. {
                match places.take(user) {
                    Some(place) => taken.push(place),
                    None => {
                        assert_eq!(n, if user < 4 { MAX_PER_USER } else { 12 });
                        break;
                    }
                }
            }
        }
        assert_eq!(taken.len(), MAX_CONNECTIONS - RESERVED_FOR_ROOT);
        for _ in 0..RESERVED_FOR_ROOT {
            taken.push(places.take(0).expect("root gets in"));
        }
        assert!(places.take(0).is_none(), "64 in all");
        taken.clear();
        assert!(places.take(4).is_some(), "what is given back can be taken again");
    }
}
