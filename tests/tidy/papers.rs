//! The papers: README.md, ARCHITECTURE.md and the others, and what stands beside the code.

use std::path::Path;

use crate::Finding;

/// Links of a paper to files that do not exist. Links into the net are not followed.
pub(crate) fn broken_links(root: &Path, path: &str, text: &str) -> Vec<Finding> {
    let folder = root.join(path).parent().map(Path::to_path_buf).unwrap_or_default();
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().unwrap_or(target);
            if !folder.join(file).exists() {
                let message = format!("links to `{target}`, which does not exist");
                findings.push(Finding { path: path.to_owned(), line: number + 1, message });
            }
        }
    }
    findings
}

/// The command that the test gate runs, without the gate's own arguments.
pub(crate) fn test_command(script: &str) -> Option<&str> {
    let line = script.lines().map(str::trim).find(|line| line.starts_with("cargo test"))?;
    Some(line.strip_suffix("\"$@\"").unwrap_or(line).trim())
}

/// The code of a file, without the `//!` lines that say what it is.
pub(crate) fn code(text: &str) -> &str {
    text.find("\n\n").map_or("", |end| &text[end + 2..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nowhere_is_caught() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let broken = |path, text| broken_links(root, path, text).iter().map(|f| f.line).collect::<Vec<_>>();
        assert_eq!(broken("ARCHITECTURE.md", "[a](src/lib.rs)\n[b](src/attic.rs) [c](Cargo.toml#x)"), [2]);
        assert_eq!(broken("src/pool/processes/README.md", "[a](pool.rs), [b](../mod.rs), [c](../pool.rs)"), [1]);
        assert_eq!(broken("README.md", "[a](https://example.org/x) [b](#here) `x](y`"), [0; 0]);
    }

    #[test]
    fn the_test_command_is_found() {
        assert_eq!(test_command("set -e\ncargo test --workspace \"$@\"\n"), Some("cargo test --workspace"));
        assert_eq!(test_command("cargo build\n"), None);
    }

    #[test]
    fn the_code_of_a_file_is_found() {
        assert_eq!(code("//! What.\n//! More.\n\nuse x;\n\nfn f() {}\n"), "use x;\n\nfn f() {}\n");
        assert_eq!(code("//! What.\n"), "");
    }
}
