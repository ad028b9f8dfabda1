//! The Markdown report.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io};

use crate::arena::{Arena, Bout, Figures, Row};
use crate::contest::{Goal, Side, Target, Unit};

/// The whole report.
pub(crate) fn markdown(bouts: &[Bout], machine: &str, arena: &Arena, taken: Duration) -> String {
    let mut text = format!(
        "{machine}* Run: {} rounds of about {} ms for each contestant where the work does not fix the size, \
         in turn; the whole run took {:.0} s\n\n\
         Figures are the cost of one operation: the median over the rounds, then the best and the worst round. The \
         ratio is the peer's median divided by crewkit's: **above 1 crewkit is faster (or needs less), below 1 it is \
         slower.**\n",
        arena.pace.rounds,
        arena.pace.repetition.as_millis(),
        taken.as_secs_f64(),
    );
    write_targets(&mut text, bouts);
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

/// All targets in one table, so that a missed one is not overlooked.
fn write_targets(text: &mut String, bouts: &[Bout]) {
    if bouts.iter().all(|bout| bout.targets.is_empty()) {
        return;
    }
    text.push_str("\n### Targets\n\n| Work | Row | Target | Seen | |\n|---|---|---|---|---|\n");
    for bout in bouts {
        for target in &bout.targets {
            let Verdict { asked, seen, met } = verdict(bout, target);
            let met = met.map_or("", |met| if met { "met" } else { "**missed**" });
            let _ = writeln!(text, "| {}: {} | {} | {asked} | {seen} | {met} |", bout.group, bout.work, target.ours);
        }
    }
}

/// What was asked of crewkit, what was seen, and whether that is enough (if anything was seen).
struct Verdict {
    asked: String,
    seen: String,
    met: Option<bool>,
}

/// Compares a row of crewkit's with its target.
fn verdict(bout: &Bout, target: &Target) -> Verdict {
    let median = |name| bout.rows.iter().find(|row| row.name == name)?.figures.as_ref().ok().map(|f| f.median);
    let ours = median(target.ours);
    let (least, asked, names) = match target.goal {
        Goal::Below(limit) => {
            let seen = ours.map_or_else(|| "nothing".into(), |ours| amount(bout.unit, ours));
            let asked = format!("less than {}", amount(bout.unit, limit));
            return Verdict { asked, seen, met: ours.map(|ours| ours < limit) };
        }
        Goal::Speed(ratio, names) => (ratio, format!("≥ {ratio:.2}×"), names),
        Goal::Cost(ratio, names) => {
            (1.0 / ratio, format!("≥ {:.2}× (at most {ratio:.1}× the cost)", 1.0 / ratio), names)
        }
    };
    let asked = match names {
        [] => format!("{asked} of the best"),
        [name] => format!("{asked} of {name}"),
        _ => format!("{asked} of the best of {}", names.join(", ")),
    };
    let rivals = bout.rows.iter().filter(|row| row.side != Side::Crewkit);
    let rivals = rivals.filter(|row| names.is_empty() || names.contains(&row.name));
    let best = rivals.filter_map(|row| Some((row.name, median(row.name)?))).min_by(|a, b| a.1.total_cmp(&b.1));
    match (ours, best) {
        (Some(ours), Some((name, best))) => {
            let ratio = best / ours;
            Verdict { asked, seen: format!("{}× ({name})", significant(ratio)), met: Some(ratio >= least) }
        }
        _ => Verdict { asked, seen: "nothing".into(), met: None },
    }
}

/// One contest: a table, then what was asked, then the remarks.
fn write_bout(text: &mut String, bout: &Bout) {
    let what = match bout.unit {
        Unit::Time => "time",
        Unit::Processor => "processor time",
        Unit::Bytes => "memory",
    };
    let _ = write!(
        text,
        "\n**{}** ({what} of one {})\n\n\
         | Contestant | Median | Best – worst | peer ÷ crewkit |\n|---|--:|--:|---|\n",
        bout.work, bout.operation
    );
    for row in &bout.rows {
        let _ = match &row.figures {
            Ok(figures) => writeln!(
                text,
                "| {} | {} | {} – {} | {} |",
                row.name,
                amount(bout.unit, figures.median),
                amount(bout.unit, figures.least),
                amount(bout.unit, figures.most),
                ratios(bout, row, figures)
            ),
            Err(reason) => writeln!(text, "| {} | **no figure** | | {} |", row.name, cell(reason)),
        };
    }
    if !bout.rows.iter().any(|row| row.side == Side::Crewkit) {
        text.push_str("\ncrewkit has nothing to show here yet.\n");
    }
    for target in &bout.targets {
        let Verdict { asked, seen, met } = verdict(bout, target);
        let met = met.map_or("not measured", |met| if met { "met" } else { "**missed**" });
        let _ = write!(text, "\n{}: target {asked} · seen {seen}: {met}\n", target.ours);
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
            let ratio = significant(peer.median / ours.figures.as_ref().ok()?.median);
            Some(if several { format!("**{ratio}** ({})", ours.name) } else { format!("**{ratio}**") })
        })
        .collect();
    parts.join(", ")
}

/// A figure with its unit.
pub(crate) fn amount(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Time | Unit::Processor => time(value),
        Unit::Bytes => format!("{} B", significant(value)),
    }
}

/// A time with three significant digits and a unit that suits it.
fn time(nanoseconds: f64) -> String {
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
    use super::{cell, significant, time, verdict};
    use crate::arena::{Bout, Figures, Row};
    use crate::contest::{Goal, Side, Target, Unit};

    /// crewkit needs 10 ns, the peers 12 and 9.
    fn bout(goal: Goal) -> Bout {
        let row = |name, side, median| Row { name, side, figures: Ok(Figures { median, least: median, most: median }) };
        Bout {
            group: "Group",
            work: "work".into(),
            operation: "operation",
            unit: Unit::Time,
            targets: vec![Target { ours: "ours", goal }],
            remarks: Vec::new(),
            rows: vec![row("ours", Side::Crewkit, 10.0), row("slow", Side::Peer, 12.0), row("fast", Side::Peer, 9.0)],
        }
    }

    #[test]
    fn targets_are_judged_against_the_best_of_those_they_name() {
        let judged = |goal| {
            let bout = bout(goal);
            let verdict = verdict(&bout, &bout.targets[0]);
            (verdict.asked, verdict.seen, verdict.met)
        };
        let expected = |asked: &str, seen: &str, met| (asked.to_owned(), seen.to_owned(), Some(met));
        assert_eq!(judged(Goal::Speed(0.95, &[])), expected("≥ 0.95× of the best", "0.90× (fast)", false));
        assert_eq!(judged(Goal::Speed(1.2, &["slow"])), expected("≥ 1.20× of slow", "1.20× (slow)", true));
        let cost = "≥ 0.91× (at most 1.1× the cost) of the best of slow, fast";
        assert_eq!(judged(Goal::Cost(1.1, &["slow", "fast"])), expected(cost, "0.90× (fast)", false));
        assert_eq!(judged(Goal::Below(11.0)), expected("less than 11.0 ns", "10.0 ns", true));
        assert_eq!(judged(Goal::Speed(1.0, &["absent"])).2, None);
    }

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
