//! System calls that aya does not offer: freezing, mapping and filling a map, reading a program array, asking a link
//! for its interface, waiting for readers, a bpffs of one's own. The only unsafe code of the user side.

use std::{
    ffi::{CString, c_long, c_void},
    fs::File,
    io,
    mem::offset_of,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use aya::Pod;
use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_link_info};
use probe_common::State;

/// Refuses writes from user space from now on (`BPF_MAP_FREEZE`, Linux 5.2).
pub fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = zeroed_attr();
    attr.__bindgen_anon_2.map_fd = map.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_MAP_FREEZE, &mut attr).map(drop)
}

/// Reads an element of a map with four-byte keys and values; of a program array, the program's id.
pub fn lookup_u32(map: BorrowedFd<'_>, key: u32) -> io::Result<Option<u32>> {
    let mut value = 0u32;
    let mut attr = element_attr(map, &key, &raw mut value as u64);
    match bpf(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr) {
        Ok(_) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes the first elements of an array in one call (`BPF_MAP_UPDATE_BATCH`, Linux 5.6).
pub fn fill_array<V: Pod>(map: BorrowedFd<'_>, values: &[V]) -> io::Result<()> {
    let count = u32::try_from(values.len()).map_err(io::Error::other)?;
    let keys: Vec<u32> = (0..count).collect();
    let mut attr = zeroed_attr();
    attr.batch.keys = keys.as_ptr() as u64;
    attr.batch.values = values.as_ptr() as u64;
    attr.batch.count = count;
    attr.batch.map_fd = map.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_MAP_UPDATE_BATCH, &mut attr).map(drop)
}

/// Number of keys of a map, by asking for one after the other (`BPF_MAP_GET_NEXT_KEY`); of one that is written meanwhile,
/// about. Gives up at `most`: a key that goes makes the kernel begin anew.
pub fn count_keys(map: BorrowedFd<'_>, key_size: u32, most: u32) -> io::Result<u64> {
    let mut keys = [vec![0u8; key_size as usize], vec![0u8; key_size as usize]];
    for n in 0..u64::from(most) {
        let [key, next] = &mut keys;
        let mut attr = zeroed_attr();
        attr.__bindgen_anon_2.map_fd = map.as_raw_fd() as u32;
        // Without a key, the first one is meant.
        attr.__bindgen_anon_2.key = if n == 0 { 0 } else { key.as_ptr() as u64 };
        attr.__bindgen_anon_2.__bindgen_anon_1.next_key = next.as_mut_ptr() as u64;
        match bpf(bpf_cmd::BPF_MAP_GET_NEXT_KEY, &mut attr) {
            Ok(_) => keys.swap(0, 1),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(n),
            Err(error) => return Err(error),
        }
    }
    Ok(u64::from(most))
}

/// The bytes of a value.
pub fn bytes_of<T: Pod>(value: &T) -> &[u8] {
    // SAFETY: `Pod` values have no padding, so each of their bytes is initialised.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// The value of these bytes; `None` if they are too few.
pub fn value_of<T: Pod>(bytes: &[u8]) -> Option<T> {
    // SAFETY: there are enough bytes, every bit pattern is a `Pod` value, and the read asks for no alignment.
    (bytes.len() >= size_of::<T>()).then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// Empties an element of a program array.
pub fn delete_u32(map: BorrowedFd<'_>, key: u32) -> io::Result<()> {
    let mut attr = element_attr(map, &key, 0);
    match bpf(bpf_cmd::BPF_MAP_DELETE_ELEM, &mut attr) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// Opens a pinned object.
pub fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    use std::os::unix::ffi::OsStrExt as _;
    let c_path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = zeroed_attr();
    attr.__bindgen_anon_4.pathname = c_path.as_ptr() as u64;
    let fd = bpf(bpf_cmd::BPF_OBJ_GET, &mut attr)?;
    // SAFETY: the call succeeded, so `fd` is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Pins an object, which must not be pinned there already.
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    let c_path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = zeroed_attr();
    attr.__bindgen_anon_4.pathname = c_path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = object.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr).map(drop)
}

/// What the kernel says about an XDP or tcx link.
#[derive(Clone, Copy, Debug)]
pub struct LinkInfo {
    /// Id of the program it runs.
    pub prog_id: u32,
    /// Interface; 0 if it is gone.
    pub ifindex: u32,
}

/// Asks the kernel about an XDP or tcx link.
pub fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    // SAFETY: `bpf_link_info` is made of integers and unions of integers: all zeroes is a value of it.
    let mut info: bpf_link_info = unsafe { std::mem::zeroed() };
    let mut attr = zeroed_attr();
    attr.info.bpf_fd = link.as_raw_fd() as u32;
    attr.info.info_len = size_of::<bpf_link_info>() as u32;
    attr.info.info = &raw mut info as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    // SAFETY: the caller hands in an XDP link, for which the kernel fills the `xdp` member, or a tcx link, whose
    // member begins with the interface too; for any other, the bytes read are integers all the same.
    let ifindex = unsafe { info.__bindgen_anon_1.xdp.ifindex };
    Ok(LinkInfo {
        prog_id: info.prog_id,
        ifindex,
    })
}

/// Takes a link's program off its interface (`BPF_LINK_DETACH`, Linux 5.9), whoever else holds the link.
pub fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = zeroed_attr();
    attr.link_detach.link_fd = link.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_LINK_DETACH, &mut attr).map(drop)
}

/// Returns after every program that was running when it was called has ended: `MEMBARRIER_CMD_GLOBAL` waits for
/// a grace period of RCU (`kernel/sched/membarrier.c`). Kernels that run with `nohz_full` refuse it; there, a
/// pause does, long against the microseconds that a program runs. The kernel itself frees nothing that is in
/// use: what is at stake is only that the last packets are counted.
pub fn wait_for_readers() {
    const MEMBARRIER_CMD_GLOBAL: c_long = 1;
    const PAUSE: Duration = Duration::from_millis(100);
    // SAFETY: the call takes integers only.
    let res = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if res != 0 {
        std::thread::sleep(PAUSE);
    }
}

/// A bpffs that no path leads to but the one returned, and that is gone when the descriptor is closed: pins in
/// it end with the process, however it ends.
pub fn private_bpffs() -> io::Result<(OwnedFd, PathBuf)> {
    const FSCONFIG_CMD_CREATE: c_long = 6;
    const CLOEXEC: c_long = 1;
    let owned = |fd: c_long| match fd {
        ..0 => Err(io::Error::last_os_error()),
        // SAFETY: the call succeeded, so `fd` is a new descriptor that nobody else owns.
        _ => Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
    };
    // SAFETY: the name is a C string; the call keeps no pointer to it.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, c"bpf".as_ptr(), CLOEXEC) })?;
    let null = std::ptr::null::<c_void>();
    // SAFETY: the command takes no key and no value.
    let res = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            FSCONFIG_CMD_CREATE,
            null,
            null,
            0,
        )
    };
    if res != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call takes integers only.
    let mount = owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), CLOEXEC, 0) })?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
    Ok((mount, path))
}

/// Nanoseconds since boot, suspended time included: what `bpf_ktime_get_boot_ns` reads.
pub fn boot_ns() -> u64 {
    clock_ns(libc::CLOCK_BOOTTIME)
}

/// Unix time in nanoseconds.
pub fn unix_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

/// Whether something keeps the system's clock right (`STA_UNSYNC` is not set); `None`: the kernel does not say.
pub fn is_clock_kept() -> Option<bool> {
    // SAFETY: `timex` is made of integers: all zeroes is a value of it, which asks for nothing to be set.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `timex` is writable.
    let state = unsafe { libc::adjtimex(&mut timex) };
    (state >= 0).then_some(timex.status & libc::STA_UNSYNC == 0)
}

/// Whether a directory lies on a bpffs.
pub fn is_bpffs(directory: &File) -> io::Result<bool> {
    // SAFETY: `statfs` is made of integers: all zeroes is a value of it.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open and `stat` is writable.
    match unsafe { libc::fstatfs(directory.as_raw_fd(), &mut stat) } {
        0 => Ok(stat.f_type == libc::BPF_FS_MAGIC),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Name of an interface in this network namespace.
pub fn interface_name(ifindex: u32) -> Option<String> {
    let mut name = [0u8; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the call asks for.
    let res = unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr().cast()) };
    if res.is_null() {
        return None;
    }
    let len = name.iter().position(|byte| *byte == 0)?;
    String::from_utf8(name[..len].to_vec()).ok()
}

/// Index of an interface in this network namespace.
pub fn interface_index(ifname: &str) -> Option<u32> {
    let c_name = CString::new(ifname).ok()?;
    // SAFETY: the argument is a C string.
    match unsafe { libc::if_nametoindex(c_name.as_ptr()) } {
        0 => None,
        ifindex => Some(ifindex),
    }
}

/// The `STATE` map, mapped: each field is read and stored as one word.
#[derive(Debug)]
pub struct StatePage {
    page: NonNull<State>,
}

// SAFETY: the page is reached through atomics only.
unsafe impl Send for StatePage {}

impl StatePage {
    /// Maps the one element of a `BPF_F_MMAPABLE` array (Linux 5.5).
    pub fn map(map: BorrowedFd<'_>) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; the descriptor is open.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<State>(),
                protection,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(page.cast())
            .map(|page| Self { page })
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// The state word.
    pub fn word(&self) -> &AtomicU64 {
        self.field(offset_of!(State, word))
    }

    /// See [`State::wall_offset_ns`].
    pub fn wall_offset_ns(&self) -> &AtomicU64 {
        self.field(offset_of!(State, wall_offset_ns))
    }

    /// See [`State::halted_until_s`].
    pub fn halted_until_s(&self) -> &AtomicU64 {
        self.field(offset_of!(State, halted_until_s))
    }

    /// See [`State::n_runtime`].
    pub fn n_runtime(&self) -> &AtomicU64 {
        self.field(offset_of!(State, n_runtime))
    }

    /// See [`State::own_filter`]; `idx` below four.
    pub fn own_filter(&self, idx: usize) -> &AtomicU64 {
        assert!(idx < 4, "the filter has four words");
        self.field(offset_of!(State, own_filter) + idx * size_of::<u64>())
    }

    /// All fields, each read once.
    pub fn read(&self) -> State {
        let load = |field: &AtomicU64| field.load(Ordering::Acquire);
        State {
            word: load(self.word()),
            wall_offset_ns: load(self.wall_offset_ns()),
            halted_until_s: load(self.halted_until_s()),
            n_runtime: load(self.n_runtime()),
            own_filter: std::array::from_fn(|idx| load(self.own_filter(idx))),
        }
    }

    fn field(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: `offset` is that of an aligned `u64` field of the mapped `State`, which lives as long as `self`;
        // kernel and daemon both access it as one word.
        unsafe { AtomicU64::from_ptr(self.page.as_ptr().byte_add(offset).cast()) }
    }
}

impl Drop for StatePage {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `map` with this size, and no reference to it outlives `self`.
        unsafe { libc::munmap(self.page.as_ptr().cast(), size_of::<State>()) };
    }
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable; both clocks exist on every supported kernel, so the call does not fail.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn zeroed_attr() -> bpf_attr {
    // SAFETY: `bpf_attr` is a union of structs of integers: all zeroes is a value of it.
    unsafe { std::mem::zeroed() }
}

fn element_attr(map: BorrowedFd<'_>, key: &u32, value: u64) -> bpf_attr {
    let mut attr = zeroed_attr();
    attr.__bindgen_anon_2.map_fd = map.as_raw_fd() as u32;
    attr.__bindgen_anon_2.key = std::ptr::from_ref(key) as u64;
    attr.__bindgen_anon_2.__bindgen_anon_1.value = value;
    attr
}

fn bpf(cmd: bpf_cmd, attr: &mut bpf_attr) -> io::Result<c_long> {
    // SAFETY: `attr` is a whole, initialised attribute; what it points to lives until the call returns.
    let res = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            cmd as c_long,
            std::ptr::from_mut(attr),
            size_of::<bpf_attr>(),
        )
    };
    if res < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(res)
    }
}
