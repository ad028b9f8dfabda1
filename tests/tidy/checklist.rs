//! The checklist of semantics, `tests/ported/checklist.md`: complete, and each line held by a test that exists.

use std::collections::{BTreeMap, BTreeSet};

use crate::Finding;
use crate::source::Source;

pub(crate) const PATH: &str = "tests/ported/checklist.md";

/// The families of ids, and how many each has.
const FAMILIES: [(&str, usize); 11] = [
    ("LK", 15),
    ("RL", 9),
    ("CV", 10),
    ("SM", 10),
    ("EV", 5),
    ("BR", 9),
    ("TH", 16),
    ("TI", 3),
    ("LO", 5),
    ("QU", 19),
    ("SQ", 7),
];

/// How a last column begins that gives a reason instead of tests.
const EXCEPTION: &str = "does not apply: ";

/// Every id that the list must have.
pub(crate) fn ids() -> Vec<String> {
    FAMILIES.iter().flat_map(|(family, count)| (1..=*count).map(move |number| format!("{family}{number}"))).collect()
}

/// The tests of a tree: functions under `#[test]` that are not ignored, and the cases of a program without a harness.
pub(crate) fn tests<'a>(sources: impl Iterator<Item = &'a Source>) -> BTreeSet<String> {
    sources.flat_map(tests_of).collect()
}

fn tests_of(source: &Source) -> Vec<String> {
    let text = |i: usize| source.tokens.get(i).map_or("", |token| token.text.as_str());
    // A case is named for its id, and once more where the program calls it.
    let is_case =
        |name: &str| id_of(name).is_some() && source.tokens.iter().filter(|token| token.text == name).nth(1).is_some();
    let mut found = Vec::new();
    let (mut test, mut ignored) = (false, false);
    for i in 0..source.tokens.len() {
        match (text(i), text(i + 1), text(i + 2)) {
            ("#", "[", "test") => test = true,
            ("#", "[", "ignore") => ignored = true,
            ("fn", name, _) => {
                if !ignored && (test || is_case(name)) {
                    found.push(name.to_owned());
                }
                (test, ignored) = (false, false);
            }
            _ => {}
        }
    }
    found
}

/// What is wrong with the list, given the tests that exist.
pub(crate) fn broken_by(list: &str, tests: &BTreeSet<String>) -> Vec<Finding> {
    let finding = |line: usize, message: String| Finding { path: PATH.to_owned(), line, message };
    let ids = ids();
    let mut findings = Vec::new();
    let mut seen = BTreeMap::new();
    for (line, id, held_by) in lines(list) {
        if !ids.iter().any(|known| known == id) {
            findings.push(finding(line, format!("`{id}` is no id of the checklist")));
        }
        if let Some(first) = seen.insert(id, line) {
            findings.push(finding(line, format!("{id} stands in line {first} already")));
        }
        findings.extend(unheld(id, held_by, tests).map(|message| finding(line, message)));
    }
    for id in ids.iter().filter(|id| !seen.contains_key(id.as_str())) {
        findings.push(finding(1, format!("{id} is missing")));
    }
    for (test, id) in tests.iter().filter_map(|test| Some((test, id_of(test)?))) {
        if !ids.contains(&id) {
            findings.push(finding(1, format!("`{test}` pins {id}, which is no id of the checklist")));
        }
    }
    findings
}

/// What a test's name begins with, if that looks like an id.
fn id_of(test: &str) -> Option<String> {
    let id = test.split_once('_')?.0.to_uppercase();
    let family = id.trim_end_matches(|c: char| c.is_ascii_digit());
    (family.len() < id.len() && FAMILIES.iter().any(|(known, _)| *known == family)).then_some(id)
}

/// The list's lines: number, id, last column.
fn lines(list: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    list.lines().enumerate().filter_map(|(index, line)| {
        let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
        let (id, _, held_by) = (cells.next()?, cells.next()?, cells.next()?);
        (id != "Id").then_some((index + 1, id, held_by))
    })
}

/// Why a last column holds nothing.
fn unheld(id: &str, held_by: &str, tests: &BTreeSet<String>) -> impl Iterator<Item = String> {
    let named: Vec<&str> = held_by.split('`').skip(1).step_by(2).collect();
    let reason = held_by.strip_prefix(EXCEPTION);
    let own = format!("{}_", id.to_lowercase());
    let nothing = match reason {
        Some(reason) if reason.trim().is_empty() => Some(format!("{id} does not apply, but why?")),
        Some(_) => tests
            .iter()
            .find(|test| test.starts_with(&own))
            .map(|test| format!("{id} is said not to apply, but `{test}` pins it")),
        None if named.is_empty() => {
            Some(format!("{id} has neither a test nor a reason: write `fn {own}…` and name it"))
        }
        None => None,
    };
    let absent = named.into_iter().filter(move |name| reason.is_none() && !tests.contains(*name));
    let absent = absent.map(|name| format!("{id} names `{name}`, which is no test")).collect::<Vec<_>>();
    nothing.into_iter().chain(absent)
}

#[cfg(test)]
mod unit {
    use super::*;

    fn whole(change: impl Fn(&str) -> Option<String>) -> String {
        let line = |id: String| {
            change(&id).unwrap_or_else(|| format!("| {id} | what it says | `{}_x` |\n", id.to_lowercase()))
        };
        ids().into_iter().map(line).collect()
    }

    fn messages(list: &str) -> Vec<String> {
        let tests = ids().into_iter().map(|id| format!("{}_x", id.to_lowercase())).filter(|test| test != "qu18_x");
        broken_by(list, &tests.collect()).into_iter().map(|finding| finding.message).collect()
    }

    /// A list that is right, but for the line of `id`.
    fn with(id: &str, line: &str) -> String {
        whole(|of| match of {
            _ if of == id => Some(line.to_owned()),
            "QU18" => Some("| QU18 | what it says | does not apply: no subclasses |\n".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn a_complete_list_is_fine() {
        assert_eq!(messages(&with("", "")), [""; 0]);
        let two = "| LK1 | a title\\|with a bar | `lk1_x`, `ev1_x` |\n";
        assert_eq!(messages(&with("LK1", two)), [""; 0]);
    }

    #[test]
    fn a_missing_or_unknown_id_is_caught() {
        assert_eq!(messages(&with("LK5", "")), ["LK5 is missing"]);
        let twice = "| LK5 | x | `lk5_x` |\n| LK5 | x | `lk5_x` |\n";
        assert_eq!(messages(&with("LK5", twice)), ["LK5 stands in line 5 already"]);
        let unknown = "| LK5 | x | `lk5_x` |\n| LK16 | x | `lk5_x` |\n";
        assert_eq!(messages(&with("LK5", unknown)), ["`LK16` is no id of the checklist"]);
    }

    #[test]
    fn an_id_without_a_test_or_a_reason_is_caught() {
        let expected = ["LK5 has neither a test nor a reason: write `fn lk5_…` and name it"];
        for held_by in ["open", "see the documentation", "does not apply:"] {
            assert_eq!(messages(&with("LK5", &format!("| LK5 | x | {held_by} |\n"))), expected, "{held_by}");
        }
        assert_eq!(messages(&with("LK5", "| LK5 | x | does not apply:   |\n")), ["LK5 does not apply, but why?"]);
    }

    #[test]
    fn a_test_that_is_none_is_caught() {
        let line = "| LK5 | x | `lk5_x`, `lk5_y` |\n";
        assert_eq!(messages(&with("LK5", line)), ["LK5 names `lk5_y`, which is no test"]);
        let line = "| LK5 | x | does not apply: never |\n";
        assert_eq!(messages(&with("LK5", line)), ["LK5 is said not to apply, but `lk5_x` pins it"]);
        let findings = broken_by(&whole(|_| None), &["qu20_x".to_owned()].into());
        let last = findings.last().map(|finding| finding.message.as_str());
        assert_eq!(last, Some("`qu20_x` pins QU20, which is no id of the checklist"));
    }

    #[test]
    fn only_tests_that_run_count() {
        let code =
            "#[test] fn a() {} fn b() {} #[test] #[ignore = \"slow\"] fn c() {} #[test]\n#[should_panic] fn d() {}
            macro_rules! m { ($m:ident) => { mod $m { #[test] fn e() {} } } }
            fn main() { th10_f() } fn th10_f() {} fn th10_g() {}";
        assert_eq!(tests_of(&Source::new("tests/x.rs", code)), ["a", "d", "e", "th10_f"]);
    }
}
