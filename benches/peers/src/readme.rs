//! Puts a report between the marks of `benches/README.md`.

use std::fs;
use std::path::Path;

use crate::contest::Outcome;

/// The line in front of the last run's report.
const BEGIN: &str = "<!-- last run: begin (written by --write) -->";
/// The line behind it.
const END: &str = "<!-- last run: end -->";

/// Replaces what stands between the marks.
pub(crate) fn replace_last_run(report: &str) -> Outcome<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(&path)?;
    fs::write(&path, replaced(&text, report).ok_or("benches/README.md has lost its marks")?)?;
    eprintln!("written: benches/README.md");
    Ok(())
}

/// `text` with `report` between the marks; `None` if they are not both there, in order.
fn replaced(text: &str, report: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", report.trim()))
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, replaced};

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let text = format!("head\n{BEGIN}\nold\n{END}\ntail\n");
        let expected = format!("head\n{BEGIN}\n\nnew\n\n{END}\ntail\n");
        assert_eq!(replaced(&text, "new\n"), Some(expected.clone()));
        assert_eq!(replaced(&expected, "new\n"), Some(expected));
        assert_eq!(replaced("no marks", "new"), None);
    }
}
