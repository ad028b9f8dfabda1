//! The command line, and what it means for the pace of a run.

use std::time::Duration;

use crate::arena::Pace;
use crate::contest::Contest;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Measures crewkit against its peers and prints a Markdown report.

    cargo run --release -p crewkit-peers -- [OPTIONS] [FILTER]...

FILTER       only the contests with one of these texts in their title, for example `queue` or \"4 KiB\"
--group NAME only the contests of this group, for example `Queue` (may be given again; then a filter chooses among them)
--quick      fewer and shorter repetitions: about 20 seconds instead of about three minutes
--write      also put the report into benches/README.md (only for a whole run, not a quick one)
--list       print the titles of the contests, and end
--help       print this, and end

The report and a chart are written to target/bench-report as well.
";

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Fewer and shorter repetitions.
    quick: bool,
    /// Put the report into `benches/README.md`.
    pub(crate) write: bool,
    /// Print the titles of the contests, and end.
    pub(crate) list: bool,
    /// Groups to which a contest must belong; none: any.
    groups: Vec<String>,
    /// Texts of which a contest's title must contain one; none: all contests.
    filters: Vec<String>,
}

impl Options {
    /// Reads the command line; `None` when help was asked for.
    pub(crate) fn parse(arguments: &[String]) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--write" => options.write = true,
                "--list" => options.list = true,
                "--help" | "-h" => return Ok(None),
                "--group" => options.groups.push(arguments.next().ok_or("--group needs a name")?.to_lowercase()),
                unknown if unknown.starts_with('-') => return Err(format!("unknown option {unknown}")),
                filter => options.filters.push(filter.to_lowercase()),
            }
        }
        if options.write && (options.quick || !options.filters.is_empty() || !options.groups.is_empty()) {
            return Err("--write replaces the whole table, so it goes with a whole run: no --quick, no filter".into());
        }
        Ok(Some(options))
    }

    /// Whether this contest was asked for.
    pub(crate) fn wants(&self, contest: &Contest) -> bool {
        let (group, title) = (contest.group.to_lowercase(), contest.title().to_lowercase());
        (self.groups.is_empty() || self.groups.contains(&group))
            && (self.filters.is_empty() || self.filters.iter().any(|filter| title.contains(filter)))
    }

    /// How long the parts of this run may take.
    pub(crate) fn pace(&self) -> Pace {
        if self.quick {
            Pace {
                rounds: 3,
                repetition: Duration::from_millis(12),
                step_limit: Duration::from_secs(4),
                run_limit: Duration::from_secs(40),
            }
        } else {
            Pace {
                rounds: 11,
                repetition: Duration::from_millis(60),
                step_limit: Duration::from_secs(10),
                run_limit: Duration::from_secs(240),
            }
        }
    }
}
