//! [`Builder`]: how a process is to be started, and what it is to be.

mod starting;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::function::Function;
use super::protocol::Limits;
use super::stdio::Stdio;

/// How a new process comes to be (Python's start methods).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// A small server process with one thread, which is started at first use, forks: fast whatever this process's size,
    /// and safe with threads. If the server dies, the processes it forked die with it.
    #[default]
    ForkServer,
    /// The program is executed anew for each process: slower (about a millisecond), and independent of a server.
    Spawn,
    /// This process forks. Only while it has one thread; the new process starts with a copy of its memory and shares its
    /// open files.
    Fork,
}

/// How to start a process, and what to make of it; the settings of Python's `Process` and of `subprocess`.
///
/// A new process has this process's environment, directory, umask, standard output and error as they are when it is
/// started. Its standard input is `/dev/null`. Signals have their default dispositions (SIGPIPE is ignored, as in every
/// Rust program), and no descriptor is open but what was handed over.
///
/// ```
/// use crewkit::process::Builder;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let process = Builder::new()
///         .name("greeter")
///         .env("GREETING", "hello")
///         .spawn(|who: String| format!("{} {who}", std::env::var("GREETING").unwrap()), "you".to_owned())?;
///     assert_eq!(process.join()?, "hello you");
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder starts nothing until spawn is called"]
pub struct Builder {
    name: Option<String>,
    method: StartMethod,
    environment: Vec<Change>,
    directory: Option<PathBuf>,
    stdio: [Stdio; 3],
    nice: Option<i32>,
    affinity: Option<Vec<usize>>,
    user: Option<u32>,
    group: Option<u32>,
    limits: Limits,
    kill_on_drop: bool,
    daemon: bool,
    own_group: bool,
    /// The function, if it is one of the executable's.
    preload: Option<Option<Function>>,
    start_timeout: Duration,
}

/// A change to the environment, in the order of the calls.
#[derive(Clone, Debug)]
enum Change {
    Clear,
    Set(OsString, OsString),
    Remove(OsString),
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// The settings of [`Process::spawn`](super::Process::spawn).
    pub fn new() -> Self {
        Self {
            name: None,
            method: StartMethod::default(),
            environment: Vec::new(),
            directory: None,
            stdio: [Stdio::null(), Stdio::inherit(), Stdio::inherit()],
            nice: None,
            affinity: None,
            user: None,
            group: None,
            limits: Limits::default(),
            kill_on_drop: false,
            daemon: false,
            own_group: false,
            preload: None,
            start_timeout: Duration::from_secs(30),
        }
    }

    /// The process's name: for [`Process::name`](super::Process::name), [`current`](super::current()), and its first 15 bytes
    /// for `ps`. The default is `Process-1` and so on.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How the process comes to be. The default is [`StartMethod::ForkServer`].
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = method;
        self
    }

    /// Sets a variable of the process's environment.
    ///
    /// # Panics
    ///
    /// If the name is empty or contains `=` or NUL, or the value contains NUL: no environment can hold that.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let (key, value) = (key.as_ref(), value.as_ref());
        let (name, content) = (key.as_encoded_bytes(), value.as_encoded_bytes());
        let possible = !name.is_empty() && !name.contains(&b'=') && !name.contains(&0) && !content.contains(&0);
        assert!(possible, "not a variable of an environment: {key:?}={value:?}");
        self.environment.push(Change::Set(key.to_owned(), value.to_owned()));
        self
    }

    /// Removes a variable from the process's environment.
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.environment.push(Change::Remove(key.as_ref().to_owned()));
        self
    }

    /// Begins with an empty environment; later [`env`](Self::env) calls add to it.
    pub fn env_clear(mut self) -> Self {
        self.environment.push(Change::Clear);
        self
    }

    /// The process's current directory. The default is this process's, when the new one starts.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Standard input. The default is [`Stdio::null`]: a process that reads it sees its end.
    pub fn stdin(mut self, stream: impl Into<Stdio>) -> Self {
        self.stdio[0] = stream.into();
        self
    }

    /// Standard output. The default is [`Stdio::inherit`].
    pub fn stdout(mut self, stream: impl Into<Stdio>) -> Self {
        self.stdio[1] = stream.into();
        self
    }

    /// Standard error. The default is [`Stdio::inherit`].
    pub fn stderr(mut self, stream: impl Into<Stdio>) -> Self {
        self.stdio[2] = stream.into();
        self
    }

    /// The nice value, from -20 (favoured; needs a privilege) to 19. The default is this process's, or with
    /// [`StartMethod::ForkServer`] what that was when the server was started; and so it is with limits.
    pub fn nice(mut self, nice: i32) -> Self {
        self.nice = Some(nice);
        self
    }

    /// The processors that the process may run on, by number (`taskset`, Python's `os.sched_setaffinity`). The default is
    /// those of the thread that starts it, or with [`StartMethod::ForkServer`] of the one that has started the server. With
    /// none of them allowed, or none given, the start fails: [`SpawnError::Setup`](super::SpawnError::Setup).
    pub fn affinity(mut self, processors: impl IntoIterator<Item = usize>) -> Self {
        self.affinity = Some(processors.into_iter().collect());
        self
    }

    /// The user that the process runs as, by number. It leaves all other groups; its own stays, so give a [`gid`](Self::gid),
    /// too. Only root may: for others the start fails, [`SpawnError::Setup`](super::SpawnError::Setup). It is done last, when
    /// all else is set up.
    ///
    /// Other processes of that user may look into this one's memory. Begun as root's, it has root's environment of the time
    /// when its fork server was started, or it was itself, whatever [`env_clear`](Self::env_clear) says; what `preload` made;
    /// and with [`StartMethod::Fork`] all that the forking process had.
    pub fn uid(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// The group that the process runs as, by number; it leaves all others. As [`uid`](Self::uid).
    pub fn gid(mut self, group: u32) -> Self {
        self.group = Some(group);
        self
    }

    /// A limit for the address space, in bytes (RLIMIT_AS). An allocation beyond it fails, which in Rust code mostly
    /// means an abort: [`ProcessError::Killed`](super::ProcessError::Killed) with SIGABRT.
    pub fn limit_memory(mut self, bytes: u64) -> Self {
        self.limits.memory = Some(bytes);
        self
    }

    /// A limit for processor time, rounded up to seconds (RLIMIT_CPU): SIGXCPU (24) ends the process there, or SIGKILL a
    /// second later if it resists.
    pub fn limit_cpu(mut self, time: Duration) -> Self {
        self.limits.cpu = Some(time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)));
        self
    }

    /// A limit for open descriptors (RLIMIT_NOFILE).
    pub fn limit_open_files(mut self, descriptors: u64) -> Self {
        self.limits.open_files = Some(descriptors);
        self
    }

    /// Whether dropping the [`Process`](super::Process) kills the process. The default is that it runs on.
    pub fn kill_on_drop(mut self, kill: bool) -> Self {
        self.kill_on_drop = kill;
        self
    }

    /// Whether this process does not wait for the new one when it ends (Python's `daemon`). The default is that it does,
    /// where `main` returns or [`std::process::exit`] is called, also for one whose [`Process`](super::Process) was dropped,
    /// and however long that takes; daemons are killed then. Whatever kills this process kills both.
    ///
    /// Let go first of what the process waits for: `exit` drops nothing, so one that receives from this process would be
    /// waited for in vain. Unlike Python's, a daemon may start processes itself, and is none because its parent is one.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// How long a start may take, from the call to the moment at which the process runs the function. The default is
    /// 30 s, long enough for a busy machine. What takes longer is killed: [`SpawnError::TimedOut`](super::SpawnError::TimedOut).
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// Whether the process leads a process group of its own, which ends when the process does: a terminal's Ctrl-C does
    /// not reach it, and whatever it starts by other means than this crate ends with it, too, unless that leaves the group.
    /// The default is that it belongs to this process's group.
    pub fn own_group(mut self, own: bool) -> Self {
        self.own_group = own;
        self
    }

    /// A function that is called before all else, once in a fork server of its own: what it leaves in statics is there in
    /// each process that is started with the same `preload`, and its memory is shared with them until somebody writes to
    /// it (Python's `set_forkserver_preload`). For tables that take long to make, or much memory. With the other start
    /// methods it is called in the new process, before the function.
    ///
    /// It runs with the environment and directory that this process has at the first such start, without standard input
    /// and output, with all signals blocked; that start takes as long, and its `start_timeout` counts. What it leaves open is
    /// open in each process, and what it makes of chance, each has alike. If it leaves threads behind, each such start is
    /// refused: [`ForkError::Multithreaded`](super::ForkError::Multithreaded); and if it panics:
    /// [`SpawnError::Preload`](super::SpawnError::Preload). With the other start methods a panic of it is
    /// [`SpawnError::Setup`](super::SpawnError::Setup).
    ///
    /// ```
    /// use std::sync::OnceLock;
    /// use crewkit::process::Builder;
    ///
    /// static SQUARES: OnceLock<Vec<u64>> = OnceLock::new();
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     crewkit::init();
    ///     let builder = Builder::new().preload(|| drop(SQUARES.set((0..1000).map(|n| n * n).collect())));
    ///     let process = builder.spawn(|n: usize| SQUARES.get().unwrap()[n], 30)?;
    ///     assert_eq!(process.join()?, 900);
    ///     Ok(())
    /// }
    /// ```
    pub fn preload<F>(mut self, f: F) -> Self
    where
        F: Fn() + Copy + Send + Sync + 'static,
    {
        self.preload = Some(Function::of(move |()| f()).ok());
        self
    }
}
