//! What other processes have open and sleep for, as /proc shows it to who may look.
//!
//! Called by `ipc` for people who look. They look at processes that they did not start, that may end meanwhile, and that may
//! be hostile: nothing that is found is believed, and nothing that is done here waits for anybody, or is noticed.
//!
//! A descriptor in /proc/PID/fd may be another file by the time it is opened, and opening a file may block, or do something.
//! So it is opened by O_PATH first, which does neither; what that has got does not change any more. If it lies on the kernel's
//! own mount for files in memory, where nobody can put another, it is opened again for reading.
//!
//! # Safety
//!
//! A page of a file is mapped to name it to the kernel, and is never accessed: so whatever its owner does to the file, nothing
//! faults here. It is unmapped before anybody else knows the address.

#![expect(unsafe_code, reason = "maps files into memory")]

use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::stat::Mode;

use super::error::{during, retry};
use super::{futex, memory};

/// A process among others.
#[derive(Clone, Debug)]
pub(crate) struct Stranger {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    /// What `ps` calls it: at most 15 bytes of its own choice.
    pub(crate) name: String,
}

/// All processes that /proc shows. Who ends meanwhile may be among them or not.
pub(crate) fn processes() -> io::Result<Vec<Stranger>> {
    let mut found = Vec::new();
    for pid in numbers("/proc")? {
        match fs::read(format!("/proc/{pid}/stat")) {
            Ok(stat) => found.extend(stranger(pid, &stat)),
            Err(error) if says_none_left(&error) => return Err(error),
            // It has ended.
            Err(_) => {}
        }
    }
    Ok(found)
}

/// As /proc's line on it says.
fn stranger(pid: u32, stat: &[u8]) -> Option<Stranger> {
    let stat = String::from_utf8_lossy(stat);
    // The name may hold anything, also parentheses.
    let (before, fields) = stat.rsplit_once(") ")?;
    let (_, name) = before.split_once(" (")?;
    let parent = fields.split(' ').nth(1)?.parse().ok()?;
    Some(Stranger { pid, parent, name: name.to_owned() })
}

/// The entries of a directory that are numbers.
fn numbers(directory: &str) -> io::Result<impl Iterator<Item = u32>> {
    let entries = fs::read_dir(directory)?.filter_map(Result::ok);
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// A file in memory that this crate's name stands on, as somebody has it open.
#[derive(Debug)]
pub(crate) struct MemoryFile {
    file: File,
    /// Its number on the kernel's mount for such files.
    pub(crate) inode: u64,
    pub(crate) length: u64,
}

/// What its owners can still do to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealing {
    /// Anything.
    Open,
    /// Write, and seal it against that.
    Sized,
    /// Write.
    Segment,
    /// Nothing.
    Final,
}

/// Opens such files of others.
#[derive(Debug)]
pub(crate) struct Looker {
    /// The kernel's mount for files in memory, by its number.
    mount: String,
}

impl Looker {
    pub(crate) fn new() -> io::Result<Self> {
        let own = during("creating a file to compare with", memory::open())?;
        Ok(Self { mount: mount_of(&own)? })
    }

    /// Looks at the files of a process, except those whose inodes are `known`, one after the other: each is closed before the
    /// next is opened, so however many there are, a few free descriptors are enough. The inodes of all are returned.
    ///
    /// What it may not look at, or has no descriptors for, is an error; what is closed meanwhile, or whose owner has taken
    /// care that nobody can open it, is left out.
    pub(crate) fn files(
        &self,
        pid: u32,
        known: impl Fn(u64) -> bool,
        mut look: impl FnMut(MemoryFile),
    ) -> io::Result<Vec<u64>> {
        let mut inodes = Vec::new();
        for path in numbers(&format!("/proc/{pid}/fd"))?.map(|fd| format!("/proc/{pid}/fd/{fd}")) {
            let (place, inode) = match self.find(&path) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err(error) if says_gone(&error) => continue,
                Err(error) => return Err(error),
            };
            if inodes.contains(&inode) {
                continue;
            }
            inodes.push(inode);
            if !known(inode) {
                match Self::open(&place, inode) {
                    Ok(file) => look(file),
                    Err(error) if says_none_left(&error) => return Err(error),
                    Err(_) => {}
                }
            }
        }
        Ok(inodes)
    }

    /// What `path` leads to, if that is such a file, and its inode.
    fn find(&self, path: &str) -> io::Result<Option<(OwnedFd, u64)>> {
        const NAME: &[u8] = b"/memfd:crewkit";
        let has_name = |path: &str| {
            fs::read_link(path).map(|name| name.as_os_str().as_encoded_bytes().starts_with(NAME))
        };
        if !has_name(path)? {
            return Ok(None);
        }
        let place = retry(|| open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()))?;
        if !has_name(&own_path(&place))? || !self.is_memory(&place)? {
            return Ok(None);
        }
        let inode = nix::sys::stat::fstat(&place)?.st_ino;
        Ok(Some((place, inode)))
    }

    /// Whether a file lies on the kernel's mount. A name may be anybody's choice, for example in a container of his.
    fn is_memory(&self, place: &OwnedFd) -> io::Result<bool> {
        Ok(mount_of(place)? == self.mount)
    }

    /// Opens it for reading. Where its owner has a lease on it, the kernel would have this wait for up to 45 s until he gives it
    /// up: that is an error instead.
    fn open(place: &OwnedFd, inode: u64) -> io::Result<MemoryFile> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(retry(|| open(own_path(place).as_str(), flags, Mode::empty()))?);
        let length = file.metadata()?.size();
        Ok(MemoryFile { file, inode, length })
    }
}

fn own_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// On which mount a file lies, asked of the kernel alone: the file system might be anybody's.
fn mount_of(fd: &OwnedFd) -> io::Result<String> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    mount.map(|mount| mount.trim().to_owned()).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

impl MemoryFile {
    /// Copies bytes out. A whole word is copied at once by the kernel's copy on the machines that this crate runs on; what
    /// is changed meanwhile may be seen in part.
    pub(crate) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    pub(crate) fn sealing(&self) -> Sealing {
        const SIZED: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW);
        let seals = fcntl(&self.file, FcntlArg::F_GET_SEALS).map_or(SealFlag::empty(), SealFlag::from_bits_retain);
        let is_final = seals.contains(SealFlag::F_SEAL_SEAL);
        match (seals.contains(SIZED), is_final, seals.contains(SealFlag::F_SEAL_WRITE)) {
            (false, ..) => Sealing::Open,
            (true, false, _) => Sealing::Sized,
            (true, true, false) => Sealing::Segment,
            (true, true, true) => Sealing::Final,
        }
    }

    /// How many threads sleep on the word at `offset`.
    pub(crate) fn sleepers(&self, offset: u64) -> usize {
        /// The largest page that a kernel may be built for, so that it begins at a page of any.
        const PAGE: u64 = 1 << 16;
        let Ok(within) = usize::try_from(offset % PAGE) else { return 0 };
        let Ok(begin) = i64::try_from(offset - offset % PAGE) else { return 0 };
        let length = NonZeroUsize::MIN.saturating_add(within);
        // SAFETY: the kernel chooses an address that nobody uses.
        let page = unsafe { mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, self.file.as_fd(), begin) };
        let Ok(page) = page else { return 0 };
        let count = futex::sleepers_at(page.as_ptr().wrapping_byte_add(within).cast());
        // SAFETY: mapped above, and known to nobody else.
        let result = unsafe { munmap(page, length.get()) };
        debug_assert!(result.is_ok(), "unmapping a whole mapping of one's own cannot fail: {result:?}");
        count
    }
}

/// A thread that sleeps on a word of a file in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) thread: u32,
    pub(crate) inode: u64,
}

/// The threads of a process that sleep on a word of a file in memory of this crate's name; `PermissionDenied` where only
/// those who may trace a process are told.
pub(crate) fn waits(pid: u32) -> io::Result<Vec<Wait>> {
    let mut asleep = Vec::new();
    for thread in numbers(&format!("/proc/{pid}/task"))? {
        match fs::read_to_string(format!("/proc/{pid}/task/{thread}/syscall")) {
            Ok(call) => asleep.extend(futex_of(&call).map(|address| (thread, address))),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied || says_none_left(&error) => return Err(error),
            // It has ended.
            Err(_) => {}
        }
    }
    if asleep.is_empty() {
        return Ok(Vec::new());
    }
    let maps = fs::read(format!("/proc/{pid}/maps"))?;
    let maps = String::from_utf8_lossy(&maps);
    let regions: Vec<_> = maps.lines().filter_map(region).collect();
    let wait = |(thread, address)| {
        let (_, inode) = regions.iter().find(|(range, _)| range.contains(&address))?;
        Some(Wait { thread, inode: *inode })
    };
    Ok(asleep.into_iter().filter_map(wait).collect())
}

/// Whether a process has the file of this number mapped, which has this crate's name; not, where only those are told who may
/// trace it.
pub(crate) fn has_mapped(pid: u32, inode: u64) -> bool {
    let maps = fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
    String::from_utf8_lossy(&maps).lines().filter_map(region).any(|(_, found)| found == inode)
}

/// The number of an open file.
pub(crate) fn inode_of(file: BorrowedFd<'_>) -> Option<u64> {
    nix::sys::stat::fstat(file).ok().map(|stat| stat.st_ino)
}

/// The address on which a thread sleeps, from /proc's line on its system call.
fn futex_of(call: &str) -> Option<u64> {
    let mut words = call.split(' ');
    let number: libc::c_long = words.next()?.parse().ok()?;
    (number == libc::SYS_futex).then(|| hexadecimal(words.next()?.strip_prefix("0x")?)).flatten()
}

/// The addresses of a mapping, and the inode of the file behind it.
fn region(line: &str) -> Option<(std::ops::Range<u64>, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (begin, end) = fields.next()?.split_once('-')?;
    let inode = fields.nth(3)?.parse().ok()?;
    fields.next()?.starts_with("/memfd:crewkit").then_some(())?;
    Some((hexadecimal(begin)?..hexadecimal(end)?, inode))
}

fn hexadecimal(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

/// Whether an error says that a process has ended, or that a descriptor has been closed.
pub(crate) fn says_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

/// Whether an error says that this process, or the machine, can have no more descriptors.
pub(crate) fn says_none_left(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| code == Errno::EMFILE as i32 || code == Errno::ENFILE as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn a_process_has_a_name_and_a_parent() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let found = processes().unwrap().into_iter().find(|process| process.pid == child.id());
        let (parent, name) = found.map(|child| (child.parent, child.name)).unwrap();
        assert_eq!(parent, std::process::id());
        assert!(!name.is_empty(), "sleep, or the name of this thread where it has not begun yet");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(processes().unwrap().iter().all(|process| process.pid != child.id()));
        assert!(says_gone(&Looker::new().unwrap().files(child.id(), |_| false, drop).unwrap_err()));
    }

    #[test]
    fn memory_is_found_and_read_and_other_files_are_not() {
        let (looker, pid) = (Looker::new().unwrap(), std::process::id());
        let segment = memory::create(8192).unwrap();
        let bytes = super::super::bytes::create(100).unwrap();
        let mut files = Vec::new();
        let inodes = looker.files(pid, |_| false, |file| files.push(file)).unwrap();
        let found = |fd: &OwnedFd| {
            let inode = nix::sys::stat::fstat(fd).unwrap().st_ino;
            assert!(inodes.contains(&inode));
            files.iter().find(|file| file.inode == inode).unwrap()
        };
        assert_eq!((found(&segment).length, found(&segment).sealing()), (8192, Sealing::Segment));
        assert_eq!((found(&bytes).length, found(&bytes).sealing()), (100, Sealing::Sized));
        super::super::bytes::seal(bytes.as_fd()).unwrap();
        assert_eq!(found(&bytes).sealing(), Sealing::Final);
        found(&bytes).read_at(90, &mut [0; 10]).unwrap();
        assert!(found(&bytes).read_at(91, &mut [0; 10]).is_err(), "less than asked for");
        let known = nix::sys::stat::fstat(&segment).unwrap().st_ino;
        looker.files(pid, |inode| inode == known, |file| assert_ne!(file.inode, known)).unwrap();

        // A file of that name that is no memory.
        let folder = std::env::temp_dir().join(format!("strangers-{pid}")).join("memfd:crewkit");
        fs::create_dir_all(folder.parent().unwrap()).unwrap();
        let liar = File::create(&folder).unwrap();
        assert!(looker.find(&format!("/proc/self/fd/{}", liar.as_raw_fd())).unwrap().is_none());
        // And one of the very name would not be taken for memory either.
        assert!(!looker.is_memory(&liar.into()).unwrap() && looker.is_memory(&segment).unwrap());
        fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_file_that_its_owner_has_a_lease_on_holds_up_nobody() {
        // Opened again, for the kernel gives none on what memfd_create returns.
        let owner = File::options().read(true).write(true).open(own_path(&memory::open().unwrap())).unwrap();
        let owner = OwnedFd::from(owner);
        // Who has a lease is told by a signal; this one is ignored by whoever does nothing for it.
        let set = |command, value: libc::c_int| {
            // SAFETY: two commands that take a number each, and a descriptor that is open.
            Errno::result(unsafe { libc::fcntl(owner.as_raw_fd(), command, value) })
        };
        set(super::super::attributes::F_SETSIG, libc::SIGURG).unwrap();
        set(libc::F_SETLEASE, libc::F_WRLCK).unwrap();
        let begin = std::time::Instant::now();
        let path = own_path(&owner);
        let place = open(path.as_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        let error = Looker::open(&place, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        // A tenth of what the kernel gives the owner of a lease.
        assert!(begin.elapsed() < std::time::Duration::from_secs(4), "{:?}", begin.elapsed());
        let mut inodes = Looker::new().unwrap().files(std::process::id(), |_| false, drop).unwrap();
        inodes.retain(|&inode| inode == nix::sys::stat::fstat(&owner).unwrap().st_ino);
        assert_eq!(inodes.len(), 1, "the others are seen");
    }

    #[test]
    fn a_file_full_of_holes_has_no_sleepers_and_faults_nobody() {
        let file = File::from(memory::open().unwrap());
        let inode = file.metadata().unwrap().ino();
        let file = MemoryFile { file, inode, length: 0 };
        assert_eq!((file.sleepers(0), file.sleepers(u64::MAX), file.sealing()), (0, 0, Sealing::Open));
        file.file.set_len(1 << 40).unwrap();
        assert_eq!((file.sleepers(64), file.sleepers(1 << 39)), (0, 0));
        let mut word = [1; 8];
        file.read_at(1 << 39, &mut word).unwrap();
        assert_eq!(word, [0; 8]);
        file.file.set_len(0).unwrap();
        assert!(file.sleepers(64) == 0 && file.read_at(0, &mut word).is_err(), "shorter than it was");
    }

    #[test]
    fn sleepers_are_counted_from_outside_and_their_threads_are_known() {
        let fd = memory::create(4096).unwrap();
        let mapping = memory::Mapping::new(fd.as_fd(), 4096).unwrap();
        let inode = nix::sys::stat::fstat(&fd).unwrap().st_ino;
        let file = Looker::open(&fd, inode).unwrap();
        // SAFETY: half of a word that is mapped for as long as the test, and nothing but an atomic to anybody.
        let word = unsafe { AtomicU32::from_ptr(mapping.words()[3].as_ptr().cast()) };
        let deadline = super::super::clock::Deadline::after(std::time::Duration::from_secs(60));
        std::thread::scope(|scope| {
            let (send, receive) = std::sync::mpsc::channel();
            scope.spawn(move || {
                send.send(super::super::thread::native_id()).unwrap();
                futex::wait_shared(word, 0, deadline);
            });
            let thread = receive.recv().unwrap();
            while file.sleepers(24) == 0 {
                assert!(!deadline.is_expired());
                std::thread::yield_now();
            }
            assert_eq!((file.sleepers(24), file.sleepers(28), file.sleepers(32)), (1, 0, 0));
            assert!(waits(std::process::id()).unwrap().contains(&Wait { thread, inode }));
            futex::wake_shared(word, 1);
        });
    }

    #[test]
    fn what_proc_says_of_a_thread_is_read() {
        let number = libc::SYS_futex;
        assert_eq!(futex_of(&format!("{number} 0x7f00a0 0x80 0x0 0x0 0x0 0x0 0x7ffc 0x7f00\n")), Some(0x7F_00A0));
        assert_eq!(futex_of("running\n").or(futex_of("-1 0x7ffc 0x7f\n")).or(futex_of("0 0x0 0x1 0x2\n")), None);
        let line = "7f00-7f10 rw-s 00000000 00:01 1234                       /memfd:crewkit (deleted)";
        assert_eq!(region(line), Some((0x7F00..0x7F10, 1234)));
        assert_eq!(region("7f00-7f10 rw-p 00000000 00:00 0 [heap]").or(region("7f00-7f10 rw-p 00000000 00:00 0")), None);
    }
}
