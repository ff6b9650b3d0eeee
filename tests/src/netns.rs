//! Unnamed network namespaces. They are held by file descriptors only, so they end with the process, however
//! it ends.

use std::{
    fs::File,
    io::Write as _,
    os::{
        fd::{AsRawFd as _, OwnedFd, RawFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock, mpsc},
    thread,
};

use anyhow::{Context as _, anyhow, bail};
use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace.
#[derive(Debug)]
pub struct Netns {
    file: OwnedFd,
}

impl Netns {
    /// Makes a namespace with its loopback interface up.
    pub fn new() -> anyhow::Result<Self> {
        let file = thread::spawn(|| -> anyhow::Result<File> {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace: is this root?")?;
            File::open("/proc/thread-self/ns/net").context("cannot open the new network namespace")
        })
        .join()
        .map_err(|_| anyhow!("the thread that makes a network namespace panicked"))??;
        let netns = Self { file: file.into() };
        netns.ip_batch("link set lo up\n")?;
        Ok(netns)
    }

    /// A path that stands for the namespace as long as this process lives, for `ip link .. netns PATH`.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Runs a closure on a thread inside the namespace. Sockets that it opens stay in the namespace.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET).expect("entering a namespace that is held open");
                body()
            });
            match inside.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// A command that will run inside the namespace. Mounts are those of this process: unlike `ip netns exec`,
    /// which hides every bpffs.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let fd: RawFd = self.file.as_raw_fd();
        let mut command = Command::new(program);
        // SAFETY: the closure makes one system call and allocates nothing, as is required between fork and
        // exec. The descriptor belongs to `self`; a command that outlives `self` fails with EBADF.
        unsafe {
            command.pre_exec(move || {
                let held = std::os::fd::BorrowedFd::borrow_raw(fd);
                setns(held, CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from)
            });
        }
        command
    }

    /// Runs `ip` inside the namespace, one command a line.
    pub fn ip_batch(&self, lines: &str) -> anyhow::Result<()> {
        self.ip_batch_with(&[], lines)
    }

    /// As [`Self::ip_batch`], for `ip -6`.
    pub fn ip6_batch(&self, lines: &str) -> anyhow::Result<()> {
        self.ip_batch_with(&["-6"], lines)
    }

    fn ip_batch_with(&self, flags: &[&str], lines: &str) -> anyhow::Result<()> {
        let mut child = self
            .command("ip")
            .args(flags)
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run `ip` (package iproute2)")?;
        child
            .stdin
            .take()
            .context("ip has no standard input")?
            .write_all(lines.as_bytes())
            .context("cannot write to ip")?;
        let output = child.wait_with_output().context("cannot wait for ip")?;
        if !output.status.success() {
            bail!(
                "ip failed: {}\nin:\n{lines}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    /// Sets a sysctl of the namespace, named by its path below `/proc/sys/net`.
    pub fn sysctl(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let path = format!("/proc/sys/net/{name}");
        self.run(|| std::fs::write(&path, value))
            .with_context(|| format!("cannot write {value} to {path}"))
    }

    /// What `ip` prints for these arguments inside the namespace.
    pub fn ip(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self
            .command("ip")
            .args(args)
            .stdin(Stdio::null())
            .output()
            .context("cannot run `ip` (package iproute2)")?;
        if !output.status.success() {
            bail!(
                "ip {} failed: {}",
                args.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

type Spawned = std::io::Result<Child>;
type Starter = mpsc::Sender<(Command, mpsc::Sender<Spawned>)>;

/// Starts a command that is killed when this process ends, however it ends.
///
/// The kernel sends the death signal when the *thread* that started the child ends, so one thread that lives as
/// long as the process starts them all.
pub fn spawn_bound(mut command: Command) -> anyhow::Result<Child> {
    static STARTER: OnceLock<Mutex<Starter>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<(Command, mpsc::Sender<Spawned>)>();
        thread::spawn(move || {
            while let Ok((mut command, answer)) = receiver.recv() {
                // The asker waits for the answer; if it is gone, nobody wants the child.
                if let Err(mpsc::SendError(Ok(mut orphan))) = answer.send(command.spawn()) {
                    orphan.kill().ok();
                }
            }
        });
        Mutex::new(sender)
    });
    // SAFETY: one system call, no allocation, as is required between fork and exec.
    unsafe {
        command.pre_exec(|| {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).map_err(std::io::Error::from)
        });
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let (answer, spawned) = mpsc::channel();
    starter
        .lock()
        .map_err(|_| anyhow!("the thread that starts children panicked"))?
        .send((command, answer))
        .map_err(|_| anyhow!("the thread that starts children is gone"))?;
    spawned
        .recv()
        .context("the thread that starts children is gone")?
        .with_context(|| format!("cannot start {program}"))
}
