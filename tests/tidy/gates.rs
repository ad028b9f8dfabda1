//! The gates of `ci/`: none is forgotten, and each has a fault that it is shown to catch.

use std::collections::BTreeSet;

use crate::Finding;

/// Scripts of `ci/` that are not gates: they call gates.
const CALLERS: [&str; 2] = ["all", "deep"];

/// The gate that shows the others failing. It has no planted fault itself.
const PLANTED: &str = "planted";

/// What is wrong with the scripts of `ci/` and the patches of `ci/planted/`, both as (path, text).
pub(crate) fn broken_by(scripts: &[(String, String)], patches: &[(String, String)]) -> Vec<Finding> {
    let finding = |path: &str, message: String| Finding { path: format!("ci/{path}"), line: 1, message };
    let name = |path: &str| path.strip_suffix(".sh").unwrap_or(path).to_owned();
    let called: BTreeSet<&str> = scripts
        .iter()
        .filter(|(path, _)| CALLERS.contains(&name(path).as_str()))
        .flat_map(|(_, text)| text.lines().filter(|line| !line.trim_start().starts_with('#')))
        .flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '-'))
        .collect();
    let gates: BTreeSet<String> =
        scripts.iter().map(|(path, _)| name(path)).filter(|name| !CALLERS.contains(&name.as_str())).collect();
    let mut findings = Vec::new();
    for gate in gates.iter().filter(|gate| !called.contains(gate.as_str())) {
        findings.push(finding(&format!("{gate}.sh"), "is called by neither all.sh nor deep.sh".to_owned()));
    }
    let mut caught = BTreeSet::new();
    for (path, text) in patches {
        let path = format!("planted/{path}");
        for key in ["why", "says"] {
            if header(text, key).is_none() {
                findings.push(finding(&path, format!("has no line `# {key}: …`")));
            }
        }
        match header(text, "gate").and_then(|gate| gate.split_whitespace().next()) {
            None => findings.push(finding(&path, "has no line `# gate: NAME`".to_owned())),
            Some(gate) if !gates.contains(gate) => findings.push(finding(&path, format!("`{gate}` is not a gate"))),
            Some(gate) => drop(caught.insert(gate)),
        }
    }
    for gate in gates.iter().filter(|gate| *gate != PLANTED && !caught.contains(gate.as_str())) {
        findings.push(finding(&format!("{gate}.sh"), "has no planted fault in ci/planted/".to_owned()));
    }
    findings
}

/// The value of a header line `# key: value` before the first hunk.
fn header<'a>(patch: &'a str, key: &str) -> Option<&'a str> {
    let head = patch.lines().take_while(|line| !line.starts_with("---"));
    let mut values = head.filter_map(|line| line.strip_prefix("# ")?.strip_prefix(key)?.strip_prefix(": "));
    values.next().map(str::trim).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(scripts: &[(&str, &str)], patches: &[(&str, &str)]) -> Vec<String> {
        let own = |files: &[(&str, &str)]| -> Vec<(String, String)> {
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
        };
        broken_by(&own(scripts), &own(patches)).into_iter().map(|f| format!("{}: {}", f.path, f.message)).collect()
    }

    const ALL: (&str, &str) = ("all.sh", "gates=(fmt one-cpu)\n# loom");
    const GATES: [(&str, &str); 3] = [ALL, ("fmt.sh", ""), ("one-cpu.sh", "")];
    const FMT: (&str, &str) = ("fmt.patch", "# gate: fmt\n# why: x\n# says: y\n--- a\n");
    const CPU: (&str, &str) = ("cpu.patch", "# gate: one-cpu --lib\n# why: x\n# says: y\n--- a\n");

    #[test]
    fn complete_gates_are_fine() {
        assert_eq!(messages(&GATES, &[FMT, CPU]), [""; 0]);
    }

    #[test]
    fn a_gate_that_nobody_calls_is_caught() {
        let scripts = [ALL, ("fmt.sh", ""), ("one-cpu.sh", ""), ("loom.sh", "")];
        let loom = ("loom.patch", "# gate: loom\n# why: x\n# says: y\n");
        assert_eq!(messages(&scripts, &[FMT, CPU, loom]), ["ci/loom.sh: is called by neither all.sh nor deep.sh"]);
    }

    #[test]
    fn a_gate_without_a_planted_fault_is_caught() {
        assert_eq!(messages(&GATES, &[FMT]), ["ci/one-cpu.sh: has no planted fault in ci/planted/"]);
    }

    #[test]
    fn a_patch_without_an_existing_gate_or_a_reason_is_caught() {
        let unknown = ("x.patch", "# gate: attic\n# why: x\n# says: y\n");
        assert_eq!(messages(&GATES, &[FMT, CPU, unknown]), ["ci/planted/x.patch: `attic` is not a gate"]);
        let silent = ("x.patch", "# why: x\n# says: y\n--- a\n# gate: fmt\n");
        assert_eq!(messages(&GATES, &[FMT, CPU, silent]), ["ci/planted/x.patch: has no line `# gate: NAME`"]);
        let bare = ("x.patch", "# gate: fmt\n# why:\n# says: y\n");
        assert_eq!(messages(&GATES, &[FMT, CPU, bare]), ["ci/planted/x.patch: has no line `# why: …`"]);
    }
}
