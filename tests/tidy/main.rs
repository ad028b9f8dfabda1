//! The architecture as a test: what ARCHITECTURE.md, CONTRIBUTING.md and the lint table promise and no compiler checks.
//! Each rule is a function from text to findings, and is tested here on a planted fault.

mod checklist;
mod floors;
mod gates;
mod papers;
mod rules;
mod source;

use std::collections::BTreeSet;
use std::path::Path;

use source::Source;

/// A place that breaks a rule.
#[derive(Debug)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Source {
    pub(crate) fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, message: message.into() }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the repository.
fn sources() -> Vec<Source> {
    let sources: Vec<_> = source::files(root(), "rs").iter().map(|(path, text)| Source::new(path, text)).collect();
    for (folder, least) in [("src/", 20), ("tests/", 3), ("benches/", 1), ("loom-tests/", 1)] {
        let count = sources.iter().filter(|source| source.path.starts_with(folder)).count();
        assert!(count >= least, "tidy saw only {count} files in {folder}");
    }
    sources
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[track_caller]
fn assert_none(findings: &[Finding]) {
    let lines: Vec<_> = findings.iter().map(|f| format!("  {}:{}: {}", f.path, f.line, f.message)).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn arrows_only_point_down() {
    let floors = floors::modules(floors::TABLE);
    assert_none(&sources().iter().flat_map(|source| floors::arrows(source, &floors)).collect::<Vec<_>>());
}

#[test]
fn every_floor_of_the_table_exists() {
    let built: BTreeSet<_> = sources().iter().filter_map(|s| s.module().map(|path| path[0].to_owned())).collect();
    let planned = floors::modules(floors::TABLE).into_iter().map(|(module, _)| module).collect();
    assert_eq!(built, planned, "modules in src/, modules in the table");
}

#[test]
fn architecture_md_shows_the_same_table() {
    let shown = format!("```text\n{}```\n", floors::TABLE);
    assert!(read("ARCHITECTURE.md").contains(&shown), "ARCHITECTURE.md lacks this table:\n{shown}");
}

#[test]
fn every_file_keeps_the_rules() {
    assert_none(&sources().iter().flat_map(rules::broken_by).collect::<Vec<_>>());
}

#[test]
fn every_gate_is_called_and_has_a_planted_fault() {
    let scripts = source::files(&root().join("ci"), "sh");
    let patches = source::files(&root().join("ci/planted"), "patch");
    assert!(scripts.len() >= 8, "tidy saw only {} scripts in ci/", scripts.len());
    assert!(patches.len() >= 6, "tidy saw only {} patches in ci/planted/", patches.len());
    assert_none(&gates::broken_by(&scripts, &patches));
}

#[test]
fn links_between_papers_lead_somewhere() {
    let papers = source::files(root(), "md");
    assert!(papers.len() >= 6, "tidy saw only {} papers", papers.len());
    assert_none(&papers.iter().flat_map(|(path, text)| papers::broken_links(root(), path, text)).collect::<Vec<_>>());
}

#[test]
fn the_readme_and_the_test_gate_name_the_same_command() {
    let gate = read("ci/test.sh");
    let command = papers::test_command(&gate).expect("ci/test.sh runs cargo test");
    let readme = read("README.md");
    let mut commands = readme.lines().map(|line| line.split_once(" #").map_or(line, |(command, _)| command).trim());
    assert!(commands.any(|line| line == command), "README.md does not say `{command}`");
}

#[test]
fn every_semantic_of_the_checklist_has_a_test() {
    let sources = sources();
    let is_looked_at = |source: &&Source| ["src/", "tests/", "loom-tests/"].iter().any(|f| source.path.starts_with(f));
    let tests = checklist::tests(sources.iter().filter(is_looked_at));
    assert_none(&checklist::broken_by(&read(checklist::PATH), &tests));
}

#[test]
fn the_readme_shows_a_model_that_is_checked() {
    let example = read("loom-tests/tests/readme.rs");
    let shown = format!("```rust\n{}```\n", papers::code(&example));
    assert!(shown.contains("#[test]") && read("README.md").contains(&shown), "README.md does not show:\n{shown}");
}
