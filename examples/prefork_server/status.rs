//! The scoreboard, as a page for people and as JSON for programs.

use std::fmt::Write;
use std::time::Duration;

use crewkit::prefork::{Snapshot, WorkerState, WorkerStatus};

const STYLE: &str = "\
body { font: 15px/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 60rem; padding: 0 1rem; color: #1d2433; }
h1 { font-size: 1.4rem; margin: 0; }
p { color: #5b6475; margin: .2rem 0 1.5rem; }
dl { display: flex; gap: 2.5rem; margin: 0 0 2rem; }
dt { color: #5b6475; font-size: .8rem; }
dd { margin: 0; font-size: 1.4rem; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .45rem .7rem; border-bottom: 1px solid #e4e7ec; }
th { color: #5b6475; font-weight: 500; font-size: .8rem; }
th:nth-child(-n+3), td:nth-child(-n+3) { text-align: left; }
b { font-weight: 500; padding: .1rem .5rem; border-radius: .6rem; background: #e4e7ec; }
b.serving { background: #d6f2df; color: #14652f; }
b.draining { background: #fdebc8; color: #7a4b00; }
";

/// The page. It loads itself again every two seconds.
pub(crate) fn page(snapshot: &Snapshot) -> String {
    let Snapshot { master, uptime, generation, wanted, totals, workers, .. } = snapshot;
    let uptime = ago(*uptime);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"refresh\" content=\"2\"><title>crewkit: {count} of {wanted} workers</title>\n\
         <style>\n{STYLE}</style></head><body>\n\
         <h1>Workers</h1>\n<p>Master {master}, up {uptime}, generation {generation}, {wanted} wanted.</p>\n\
         <dl><div><dt>Requests</dt><dd>{requests}</dd></div><div><dt>Connections</dt><dd>{accepted}</dd></div>\n\
         <div><dt>Died</dt><dd>{deaths}</dd></div><div><dt>Reloads</dt><dd>{reloads}</dd></div>\n\
         <div><dt>Panics</dt><dd>{panics}</dd></div></dl>\n\
         <table><thead><tr><th>Seat</th><th>Pid</th><th>State</th><th>Generation</th><th>Up</th><th>Requests</th>\
         <th>Accepted</th><th>Open</th><th>Busy</th><th>Last request</th></tr></thead><tbody>\n",
        count = workers.iter().filter(|worker| worker.state == WorkerState::Serving).count(),
        requests = totals.requests,
        accepted = totals.accepted,
        deaths = totals.deaths,
        reloads = totals.reloads,
        panics = totals.panics,
    );
    for worker in workers {
        let state = state(worker);
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td><b class=\"{state}\">{state}</b></td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{} of {}</td><td>{}</td></tr>",
            worker.seat,
            worker.pid,
            worker.generation,
            ago(worker.uptime),
            worker.requests,
            worker.accepted,
            worker.open,
            worker.busy,
            worker.threads,
            worker.last_request.map_or_else(|| "never".to_owned(), |since| format!("{} ago", ago(since))),
        );
    }
    page.push_str("</tbody></table>\n</body></html>\n");
    page
}

/// All of it, as JSON; times in seconds.
pub(crate) fn json(snapshot: &Snapshot) -> String {
    let Snapshot { master, uptime, generation, wanted, totals, workers, .. } = snapshot;
    let workers: Vec<String> = workers.iter().map(worker_json).collect();
    format!(
        "{{\"master\":{master},\"uptime\":{:.3},\"generation\":{generation},\"wanted\":{wanted},\
         \"totals\":{{\"requests\":{},\"accepted\":{},\"panics\":{},\"deaths\":{},\"reloads\":{}}},\
         \"workers\":[{}]}}\n",
        uptime.as_secs_f64(),
        totals.requests,
        totals.accepted,
        totals.panics,
        totals.deaths,
        totals.reloads,
        workers.join(",")
    )
}

fn worker_json(worker: &WorkerStatus) -> String {
    let last = worker.last_request.map_or_else(|| "null".to_owned(), |since| format!("{:.3}", since.as_secs_f64()));
    format!(
        "{{\"slot\":{},\"seat\":{},\"pid\":{},\"generation\":{},\"state\":\"{}\",\"uptime\":{:.3},\"requests\":{},\
         \"accepted\":{},\"panics\":{},\"open\":{},\"busy\":{},\"threads\":{},\"last_request\":{last}}}",
        worker.slot,
        worker.seat,
        worker.pid,
        worker.generation,
        state(worker),
        worker.uptime.as_secs_f64(),
        worker.requests,
        worker.accepted,
        worker.panics,
        worker.open,
        worker.busy,
        worker.threads,
    )
}

fn state(worker: &WorkerStatus) -> &'static str {
    match worker.state {
        WorkerState::Booting => "booting",
        WorkerState::Ready => "ready",
        WorkerState::Serving => "serving",
        WorkerState::Draining => "draining",
        _ => "unknown",
    }
}

/// A duration in one unit.
fn ago(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        seconds @ 1..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
