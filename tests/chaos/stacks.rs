//! Where a process stands: for whoever has to find out why it hangs.

use std::process::Command;

use nix::unistd::Pid;

/// Prints what /proc says of a process, and its stacks if there is a debugger.
pub(crate) fn show(pid: Pid) {
    let read = |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
    let state = read("stat").rsplit(") ").next().unwrap_or_default().chars().next().unwrap_or('-');
    eprintln!("process {pid}: {state}, in {}, system call {}", read("wchan"), read("syscall").trim_end());
    let debugger =
        Command::new("gdb").args(["-p", &pid.to_string(), "-batch", "-ex", "thread apply all bt 30"]).output();
    if let Ok(output) = debugger {
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().filter(|line| line.starts_with(['#', 'T'])).for_each(|line| eprintln!("    {line}"));
    }
}

/// A process and its children.
pub(crate) fn show_family(pid: Pid) {
    show(pid);
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).map(Pid::from_raw).for_each(show);
}
