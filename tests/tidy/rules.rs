//! Rules that look at one file at a time.

use crate::Finding;
use crate::source::{Source, Token};

/// Longer than this, a file is two files.
const MOST_LINES: usize = 450;

/// Crates that talk to the kernel.
const KERNEL: [&str; 4] = ["libc", "nix", "rustix", "socket2"];

/// Everything that a file gets wrong.
pub(crate) fn broken_by(source: &Source) -> Vec<Finding> {
    let rules = [header, length, kernel, event_loop, unsafety, words];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

/// A file begins by saying what it is; only lints stand before that.
fn header(source: &Source) -> Vec<Finding> {
    let mut rest = source.text.as_str();
    while let Some(attribute) = rest.strip_prefix("#![") {
        let end = attribute.find("]\n").map_or(attribute.len(), |end| end + 2);
        rest = attribute[end..].trim_start();
    }
    let says = rest.strip_prefix("//!").is_some_and(|rest| !rest.lines().next().unwrap_or("").trim().is_empty());
    if says { vec![] } else { vec![source.finding(1, "does not begin with `//!` and what the file is")] }
}

fn length(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    if lines <= MOST_LINES {
        return vec![];
    }
    let message = format!("{lines} lines; a room has {MOST_LINES} at most: divide it by reason to change");
    vec![source.finding(MOST_LINES + 1, message)]
}

/// Only the sys floor names the crates that talk to the kernel.
fn kernel(source: &Source) -> Vec<Finding> {
    let Some(module) = source.module() else { return vec![] };
    if module[0] == "sys" {
        return vec![];
    }
    let mut findings = vec![];
    for name in KERNEL {
        let imports = source.tokens.windows(3).filter(|w| w[0].text == "use" && w[1].text == name && w[2].text != "::");
        let lines = source.lines_with(&[name, "::"]).chain(imports.map(|w| w[1].line)).collect::<Vec<_>>();
        let message = format!("names `{name}`; only the sys floor does (add a function there)");
        findings.extend(lines.into_iter().map(|line| source.finding(line, message.as_str())));
    }
    findings
}

/// There is one event loop: `sys::epoll` is for the reactor.
fn event_loop(source: &Source) -> Vec<Finding> {
    let Some(module) = source.module() else { return vec![] };
    if module == ["sys", "epoll"] || module[0] == "reactor" {
        return vec![];
    }
    let is_epoll = |text: &str| text.starts_with("Epoll") || text.starts_with("epoll_");
    let found = source.tokens.iter().filter(|token| is_epoll(&token.text));
    found.map(|token| source.finding(token.line, "a second event loop: use `reactor::Poller`")).collect()
}

/// A file with `unsafe` in it opts in; one of the library says under `# Safety` what it relies on. Attributes such as
/// `#[unsafe(no_mangle)]` in a macro's body are the business of where the macro is used.
fn unsafety(source: &Source) -> Vec<Finding> {
    let is_attribute = |i: usize| i > 0 && source.tokens[i - 1].text == "[";
    let mut found = source.tokens.iter().enumerate().filter(|(i, token)| token.text == "unsafe" && !is_attribute(*i));
    let Some((_, Token { line, .. })) = found.next() else { return vec![] };
    let mut findings = vec![];
    if source.lines_with(&["[", "expect", "(", "unsafe_code"]).next().is_none() {
        findings.push(source.finding(*line, "`unsafe` without `expect(unsafe_code, reason = \"…\")` in this file"));
    }
    if source.path.starts_with("src/")
        && !source.text.lines().any(|line| matches!(line.trim(), "//! # Safety" | "/// # Safety"))
    {
        findings.push(source.finding(*line, "`unsafe` without a `# Safety` section in the file"));
    }
    findings
}

/// Things that are never written, whatever the reason.
fn words(source: &Source) -> Vec<Finding> {
    let never = [
        ("# [ allow (", "`#[allow]`: use `#[expect(lint, reason = \"…\")]`"),
        ("# ! [ allow (", "`#![allow]`: use `#![expect(lint, reason = \"…\")]`"),
        ("static mut", "`static mut`"),
        ("transmute", "`transmute`"),
        ("todo !", "`todo!`"),
        ("unimplemented !", "`unimplemented!`"),
    ];
    let mut findings = vec![];
    for (words, message) in never {
        let words: Vec<_> = words.split(' ').collect();
        findings.extend(source.lines_with(&words).map(|line| source.finding(line, message)));
    }
    // A code address becomes a function pointer in no other way.
    let functions: Vec<_> = source.lines_with(&["transmute", "::", "<", "*", "const", "(", ")", ","]).collect();
    findings.retain(|finding| finding.message != "`transmute`" || !functions.contains(&finding.line));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a file of this path and text, as "line: message".
    fn wrong(path: &str, text: &str) -> Vec<String> {
        let findings = broken_by(&Source::new(path, text));
        findings.into_iter().map(|finding| format!("{}: {}", finding.line, finding.message)).collect()
    }

    #[track_caller]
    fn caught(path: &str, text: &str, start: &str) {
        let wrong = wrong(path, text);
        assert!(wrong.len() == 1 && wrong[0].starts_with(start), "{text}: {wrong:?}");
    }

    #[track_caller]
    fn fine(path: &str, text: &str) {
        assert_eq!(wrong(path, text), [""; 0], "{text}");
    }

    #[test]
    fn a_file_without_a_header_is_caught() {
        for text in ["", "use std::io;\n", "// What it is.\n", "\n//! What it is.\n", "//!\n//! What it is.\n"] {
            caught("src/pool/mod.rs", text, "1: does not begin");
        }
        fine("src/pool/mod.rs", "//! What it is.\n");
        fine(
            "src/pool/mod.rs",
            "#![cfg(crewkit_loom)]\n#![expect(\n    dead_code,\n    reason = \"x\"\n)]\n//! What it is.\n",
        );
    }

    #[test]
    fn a_long_file_is_caught() {
        let lines = |count: usize| "//! What it is.\n".repeat(count);
        fine("tests/pool.rs", &lines(MOST_LINES));
        caught("tests/pool.rs", &lines(MOST_LINES + 1), "451: 451 lines");
    }

    #[test]
    fn a_kernel_crate_above_sys_is_caught() {
        for code in
            ["use nix::sys::signal;", "fn f() { libc::getpid() }", "use libc;", "use nix as n;", "use rustix::fs;"]
        {
            caught("src/pool/mod.rs", &format!("//! What it is.\n{code}"), "2: names");
            fine("src/sys/process.rs", &format!("//! What it is.\n{code}"));
            fine("tests/pool.rs", &format!("//! What it is.\n{code}"));
        }
        fine("src/pool/mod.rs", "//! What it is: not libc::x.\nlet libc = 1; f(\"nix::x\");");
    }

    #[test]
    fn a_second_event_loop_is_caught() {
        for code in ["use crate::sys::epoll::Epoll;", "fn f() { sys::epoll_create1(0) }", "let e: EpollEvent;"] {
            caught("src/pool/mod.rs", &format!("//! What it is.\n{code}"), "2: a second event loop");
            fine("src/reactor/poller.rs", &format!("//! What it is.\n{code}"));
            fine("src/sys/epoll.rs", &format!("//! What it is.\n{code}"));
        }
        caught("src/sys/poll.rs", "//! What it is.\nuse nix::sys::epoll::Epoll;", "2: a second event loop");
        fine("src/sys/mod.rs", "//! What it is.\npub(crate) mod epoll;");
    }

    #[test]
    fn unsafe_code_without_its_papers_is_caught() {
        let (expect, safety, code) =
            ("#![expect(unsafe_code, reason = \"x\")]\n", "//! # Safety\n", "unsafe { f() }\n");
        for path in ["src/sys/elf.rs", "tests/pool.rs"] {
            caught(path, &format!("//! What it is.\n{safety}{code}"), "3: `unsafe` without `expect");
            fine(path, &format!("{expect}//! What it is.\n{safety}{code}"));
        }
        let without = format!("{expect}//! What it is.\n{code}");
        caught("src/sys/elf.rs", &without, "3: `unsafe` without a `# Safety`");
        fine("tests/pool.rs", &without);
        fine(
            "src/sys/elf.rs",
            "//! What it is.\n/// # Safety\n#[expect(unsafe_code, reason = \"x\")]\nunsafe fn f() {}",
        );
        fine("src/lib.rs", "//! What it is.\nmacro_rules! m { () => { #[unsafe(no_mangle)] fn f() {} } }");
        fine("src/sys/elf.rs", "//! What it is.\n// unsafe\nconst UNSAFE: &str = \"unsafe\";");
    }

    #[test]
    fn forbidden_words_are_caught() {
        for code in [
            "#[allow(dead_code)]",
            "#![allow(dead_code)]",
            "#[ allow (clippy::all, reason = \"x\")]",
            "static mut X: u8 = 0;",
            "let x = std::mem::transmute(y);",
            "use std::mem::transmute;",
            "todo!()",
            "unimplemented!(\"x\")",
        ] {
            let text = format!("//! What it is.\n\n{code}");
            let wrong = wrong("examples/x.rs", &text);
            assert!(wrong.len() == 1 && wrong[0].starts_with("3: `"), "{code}: {wrong:?}");
        }
        fine(
            "src/pool/mod.rs",
            "//! What it is: #[allow(x)].\n#[expect(x, reason = \"todo!\")]\nfn f(x: &'static mut u8) {}",
        );
    }
}
