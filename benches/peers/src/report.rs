//! The Markdown report.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io};

use crate::arena::{Arena, Bout, Figures, Row};
use crate::contest::Side;

/// The whole report.
pub(crate) fn markdown(bouts: &[Bout], machine: &str, arena: &Arena, taken: Duration) -> String {
    let mut text = format!(
        "{machine}* Run: {} rounds of about {} ms for each contestant where the work does not fix the size, \
         in turn; the whole run took {:.0} s\n\n\
         Figures are the time of one operation: the median over the rounds, then the best and the worst round. The \
         ratio is crewkit's median divided by the peer's: **below 1 crewkit is faster, above 1 it is slower.**\n",
        arena.pace.rounds,
        arena.pace.repetition.as_millis(),
        taken.as_secs_f64(),
    );
    let mut group = "";
    for bout in bouts {
        if bout.group != group {
            group = bout.group;
            let _ = write!(text, "\n### {group}\n");
        }
        write_bout(&mut text, bout);
    }
    text
}

/// One contest: a table, then the remarks.
fn write_bout(text: &mut String, bout: &Bout) {
    let _ = write!(
        text,
        "\n**{}** (time of one {})\n\n\
         | Contestant | Median | Best – worst | crewkit ÷ peer |\n|---|--:|--:|---|\n",
        bout.work, bout.operation
    );
    for row in &bout.rows {
        let _ = match &row.figures {
            Ok(figures) => writeln!(
                text,
                "| {} | {} | {} – {} | {} |",
                row.name,
                time(figures.median),
                time(figures.least),
                time(figures.most),
                ratios(bout, row, figures)
            ),
            Err(reason) => writeln!(text, "| {} | **no figure** | | {} |", row.name, cell(reason)),
        };
    }
    if !bout.rows.iter().any(|row| row.side == Side::Crewkit) {
        text.push_str("\ncrewkit has nothing to show here yet.\n");
    }
    for remark in &bout.remarks {
        let _ = write!(text, "\n{remark}\n");
    }
}

/// The last column: how crewkit's rows compare with this peer.
fn ratios(bout: &Bout, row: &Row, peer: &Figures) -> String {
    let compared = |ours: &&Row| {
        ours.side == Side::Crewkit
            && match row.side {
                Side::Crewkit => false,
                Side::Peer => true,
                Side::PeerOf(name) => ours.name == name,
            }
    };
    let several = bout.rows.iter().filter(|ours| ours.side == Side::Crewkit).count() > 1;
    let parts: Vec<String> = bout
        .rows
        .iter()
        .filter(compared)
        .filter_map(|ours| {
            let ratio = significant(ours.figures.as_ref().ok()?.median / peer.median);
            Some(if several { format!("**{ratio}** ({})", ours.name) } else { format!("**{ratio}**") })
        })
        .collect();
    parts.join(", ")
}

/// A time with three significant digits and a unit that suits it.
pub(crate) fn time(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        ns if ns < 999.5 => (ns, "ns"),
        ns if ns < 999.5e3 => (ns / 1e3, "µs"),
        ns if ns < 999.5e6 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    format!("{} {unit}", significant(value))
}

/// A number with about three significant digits.
fn significant(value: f64) -> String {
    let decimals = match value {
        v if v < 0.0995 => 3,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// A text that does not break a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Writes the report and the chart into `target/bench-report` and returns the folder.
pub(crate) fn write(report: &str, chart: &str) -> io::Result<PathBuf> {
    // The workspace's root is two folders above this member.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let folder = target.join("bench-report");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("chart.svg"), chart)?;
    let page = format!("# crewkit and its peers\n\n![the medians as bars](chart.svg)\n\n{report}");
    fs::write(folder.join("report.md"), page)?;
    folder.canonicalize()
}

#[cfg(test)]
mod tests {
    use super::{cell, significant, time};

    #[test]
    fn times_have_three_digits_and_a_unit() {
        assert_eq!(time(9.2), "9.20 ns");
        assert_eq!(time(999.4), "999 ns");
        assert_eq!(time(999.6), "1.00 µs");
        assert_eq!(time(1_146_000.0), "1.15 ms");
        assert_eq!(time(2.5e9), "2.50 s");
    }

    #[test]
    fn ratios_keep_their_digits() {
        assert_eq!(significant(0.0213), "0.021");
        assert_eq!(significant(0.456), "0.46");
        assert_eq!(significant(12.34), "12.3");
    }

    #[test]
    fn reasons_stay_in_their_cell() {
        assert_eq!(cell("a|b\nc"), "a\\|b c");
    }
}
