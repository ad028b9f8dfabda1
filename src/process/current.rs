//! Who this process is, and who started it.

use std::sync::Arc;

use parking_lot::Mutex;

use super::protocol::Spec;

/// What the owner told a child about both; `None` in the program itself. In a process that was forked from a child it
/// is the child's until [`become_child`].
static TOLD: Mutex<Option<Arc<Told>>> = Mutex::new(None);

#[derive(Debug)]
struct Told {
    name: String,
    parent: Parent,
}

/// Who this process is (Python's `multiprocessing.current_process()`).
///
/// ```
/// assert_eq!(crewkit::process::current().name(), "main");
/// assert_eq!(crewkit::process::current().pid(), std::process::id());
/// ```
#[must_use]
pub fn current() -> Current {
    let told = TOLD.lock().clone();
    Current { name: told.map_or_else(|| "main".to_owned(), |told| told.name.clone()) }
}

/// Who started this process (Python's `multiprocessing.parent_process()`); `None` in the program itself.
#[must_use]
pub fn parent() -> Option<Parent> {
    let told = TOLD.lock().clone();
    told.map(|told| told.parent.clone())
}

/// A process, as it knows itself; see [`current`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    name: String,
}

impl Current {
    /// The name that the owner gave; `main` in the program itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        std::process::id()
    }
}

/// The process that started this one, see [`parent`]. It is alive: children end with their owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    name: String,
    pid: u32,
}

impl Parent {
    /// Its name, see [`Current::name`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its pid: that of the process that asked for this one. The kernel's parent
    /// ([`parent_id`](std::os::unix::process::parent_id)) is the fork server in between.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

/// Makes this process the one that `spec` describes.
pub(super) fn become_child(spec: &Spec) {
    let parent = Parent { name: spec.owner_name.clone(), pid: spec.owner_pid };
    *TOLD.lock() = Some(Arc::new(Told { name: spec.name.clone(), parent }));
}
