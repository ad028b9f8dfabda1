//! The floors of the house, and the rule that arrows only point down.

use crate::Finding;
use crate::source::{Source, Token};

/// The floors, as ARCHITECTURE.md shows them: number, modules of the floor, what they are.
pub(crate) const TABLE: &str = " 9  prefork                  master, workers, scoreboard
 7  pool                     threads and processes that outlive their tasks
 6  process                  start methods, life cycle, causes of death
 5  ipc                      messages between processes, and objects that they share
 4  thread  shm  reactor     threads, timers, locals; sealed segments; the event loop
 3  queue  framing  auth     Queue between threads; message codec with a cap; who is there
 3  coroutine                generators, on stacks of their own
 2  sync        model        Lock, RLock, Condition, Semaphore, Event, Barrier; users' models
 1  primitive     panics     atomics, cells, parking: real | loom; panics as values
 0  sys                      the only floor that names libc, nix, socket2
";

/// Arrows inside a floor that are allowed, from and to. The design names one, for floors that are not built yet.
const SIDEWAYS: [(&str, &str); 1] = [("manager", "pool")];

/// What the crate's root exports under a shorter name, and the module it lives in.
const ROOT: [(&str, &str); 2] = [("init", "process"), ("enable_test_support", "process")];

/// The modules of the table with their floors.
pub(crate) fn modules(table: &str) -> Vec<(String, u32)> {
    let line = |line: &str| -> Vec<(String, u32)> {
        let (number, rest) = line.trim_start().split_once("  ").expect("a floor has a number and modules");
        let number = number.parse().expect("a floor has a number");
        // The modules stand in columns of 25 characters in all; the rest of the line says what they are.
        let columns = rest.get(..25).unwrap_or(rest);
        columns.split_whitespace().map(|module| (module.to_owned(), number)).collect()
    };
    table.lines().flat_map(line).collect()
}

/// Arrows that do not point down, in one file of `src/`.
pub(crate) fn arrows(source: &Source, floors: &[(String, u32)]) -> Vec<Finding> {
    let Some(module) = source.module() else { return Vec::new() };
    let here = module[0];
    let floor = |name: &str| floors.iter().find(|(module, _)| module == name).map(|&(_, floor)| floor);
    let Some(from) = floor(here) else {
        return vec![source.finding(1, format!("module `{here}` is on no floor"))];
    };
    let mut findings = Vec::new();
    for (name, line) in named_modules(source, module.len()) {
        let name = ROOT.iter().find(|(short, _)| *short == name).map_or(name.as_str(), |(_, module)| module);
        let message = match floor(name) {
            _ if name == here => continue,
            None => format!("`{name}` at the crate's root is on no floor"),
            Some(to) if to < from => continue,
            Some(to) if to == from && SIDEWAYS.contains(&(here, name)) => continue,
            Some(to) if to == from => format!("sideways arrow: `{here}` names `{name}` on the same floor {to}"),
            Some(to) => format!("upward arrow: `{here}` (floor {from}) names `{name}` (floor {to})"),
        };
        findings.push(source.finding(line, message));
    }
    findings
}

/// The top-level modules that a file names by `crate::x`, `crate::{x, y}` or enough `super::`; `depth` is how many
/// modules deep the file is.
fn named_modules(source: &Source, depth: usize) -> Vec<(String, usize)> {
    let tokens = &source.tokens;
    let text = |i: usize| tokens.get(i).map_or("", |token: &Token| token.text.as_str());
    let mut found = Vec::new();
    let (mut braces, mut inline) = (0_usize, Vec::new());
    for i in 0..tokens.len() {
        match text(i) {
            "{" => {
                braces += 1;
                if i >= 2 && text(i - 2) == "mod" {
                    inline.push(braces);
                }
            }
            "}" => {
                if inline.last() == Some(&braces) {
                    inline.pop();
                }
                braces = braces.saturating_sub(1);
            }
            "crate" if text(i + 1) == "::" => names_after(tokens, i + 2, &mut found),
            "super" if text(i + 1) == "::" && (i == 0 || text(i - 1) != "::") => {
                let climbed = (0..).take_while(|n| text(i + 2 * n) == "super" && text(i + 2 * n + 1) == "::").count();
                if climbed >= depth + inline.len() {
                    names_after(tokens, i + 2 * climbed, &mut found);
                }
            }
            _ => {}
        }
    }
    found
}

/// The names that a path goes on with at `start`: one, or the first of each path in a group.
fn names_after(tokens: &[Token], start: usize, found: &mut Vec<(String, usize)>) {
    let mut depth = 0_u32;
    let mut first_of_path = true;
    for token in &tokens[start.min(tokens.len())..] {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," => first_of_path = depth == 1,
            "self" => {}
            name => {
                if first_of_path {
                    found.push((name.to_owned(), token.line));
                }
                first_of_path = false;
            }
        }
        if depth == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, code: &str) -> Vec<String> {
        let findings = arrows(&Source::new(path, code), &modules(TABLE));
        findings.into_iter().map(|finding| format!("{}: {}", finding.line, finding.message)).collect()
    }

    #[test]
    fn the_table_names_modules_and_floors() {
        let modules = modules(TABLE);
        for (module, floor) in [("sys", 0), ("queue", 3), ("framing", 3), ("thread", 4), ("reactor", 4), ("prefork", 9)]
        {
            assert!(modules.contains(&(module.to_owned(), floor)), "{modules:?}");
        }
        assert_eq!(modules.len(), 16, "{modules:?}");
    }

    #[test]
    fn an_upward_arrow_is_caught() {
        for code in [
            "use crate::pool::Pool;",
            "fn f() { crate::pool::f() }",
            "use crate::{\n  sys::clock, pool};",
            "use super::pool;",
            "mod inner { use super::super::pool::Pool; }",
            "use crate::{sync::{Lock, Event}, pool::{Pool}};",
        ] {
            let found = messages("src/sync/mod.rs", code);
            assert_eq!(found.len(), 1, "{code}: {found:?}");
            assert!(found[0].contains("upward arrow: `sync` (floor 2) names `pool` (floor 7)"), "{found:?}");
        }
        assert_eq!(messages("src/sync/lock.rs", "\nuse super::super::pool;").len(), 1);
        assert!(messages("src/sync/lock.rs", "\n\nuse super::super::pool;")[0].starts_with("3: "));
        assert_eq!(messages("src/sys/mod.rs", "use crate::init;").len(), 1, "a root export is where it lives");
    }

    #[test]
    fn a_sideways_arrow_is_caught_unless_it_is_named() {
        assert!(messages("src/shm/mod.rs", "use crate::reactor::Poller;")[0].contains("sideways arrow"));
        let floors = [("pool".to_owned(), 7), ("manager".to_owned(), 7)];
        assert!(arrows(&Source::new("src/manager/mod.rs", "use crate::pool::Pool;"), &floors).is_empty());
        assert!(!arrows(&Source::new("src/pool/mod.rs", "use crate::manager::Manager;"), &floors).is_empty());
    }

    #[test]
    fn arrows_down_and_inside_a_module_are_free() {
        for code in [
            "use crate::sys::clock::Deadline; use crate::{primitive, sync::Lock};",
            "use super::Lock; mod tests { use super::*; mod deep { use super::super::*; } }",
            "pub(super) fn f() {} pub(in crate::sync) fn g() {}",
            "// crate::pool::Pool\nconst S: &str = \"crate::pool\";",
            "macro_rules! m { () => { $crate::sync::Lock::new() } }",
        ] {
            assert_eq!(messages("src/sync/lock.rs", code), [""; 0], "{code}");
        }
        assert_eq!(messages("src/lib.rs", "pub use crate::pool::Pool;"), [""; 0], "the roof may see everything");
    }

    #[test]
    fn a_module_without_a_floor_is_caught() {
        assert!(messages("src/attic/mod.rs", "")[0].contains("`attic` is on no floor"));
        assert!(messages("src/sync/mod.rs", "use crate::attic;")[0].contains("`attic` at the crate's root"));
    }
}
