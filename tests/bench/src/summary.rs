//! `tombolo-bench report FILE`: what `--json` printed, as one table and two plots beside the file.
//!
//! Invariant: nothing is measured here, and no figure is left out: what has no second size and nobody beside it is in
//! the table all the same.

mod plots;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::error::BenchError;
use crate::note;
use crate::report::{Figure, KEPT, PER_SECOND, RATIO, System};

/// The first argument that asks for a report instead of a measurement.
pub(crate) const AS_REPORT: &str = "report";

/// Makes a table and plots of figures.
#[derive(Parser)]
#[command(
    name = "tombolo-bench report",
    after_help = "Example: tombolo-bench all --peers --json > figures.jsonl
         tombolo-bench report figures.jsonl > figures.md"
)]
pub(crate) struct Command {
    /// What `--json` printed: one figure a line. The plots are written beside it, as FILE.beside.svg and FILE.growth.svg.
    file: PathBuf,
}

/// Prints the table, and writes the plots.
pub(crate) fn run(command: &Command) -> Result<(), BenchError> {
    let figures = read(&command.file)?;
    let mut out = std::io::stdout().lock();
    write!(out, "{}", table(&figures))?;
    out.flush()?;
    let none = "no limit and no peer stands beside a figure";
    draw(&command.file, "beside.svg", none, |path| plots::beside(&beside(&figures), path))?;
    let none = "no figure was taken in several sizes";
    draw(&command.file, "growth.svg", none, |path| plots::growth(&growth(&figures), path))
}

/// Draws a plot beside the file of figures, and says where it is, or why there is none.
fn draw(
    file: &Path,
    ending: &str,
    none: &str,
    plot: impl FnOnce(&Path) -> Result<bool, BenchError>,
) -> Result<(), BenchError> {
    let path = file.with_extension(ending);
    if plot(&path)? {
        note(&format_args!("report: {}", path.display()));
    } else {
        note(&format_args!("report: {none}, so there is no plot of that"));
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<Figure>, BenchError> {
    let text = std::fs::read_to_string(file)?;
    let mut figures = Vec::new();
    for (nth, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        figures.push(serde_json::from_str(line).map_err(|error| BenchError::Figure { line: nth + 1, error })?);
    }
    Ok(figures)
}

/// Writes all figures as a Markdown table, a row for each workload and metric.
fn table(figures: &[Figure]) -> String {
    let mut rows: Vec<(&Figure, Vec<&Figure>)> = Vec::new();
    for figure in figures {
        let same =
            |(first, _): &&mut (&Figure, Vec<_>)| first.workload == figure.workload && first.metric == figure.metric;
        match rows.iter_mut().find(same) {
            Some((_, row)) => row.push(figure),
            None => rows.push((figure, vec![figure])),
        }
    }
    let mut lines = String::from("| workload | metric | Tombolo | limit | peers |\n|---|---|---|---|---|\n");
    for (first, row) in rows {
        let of = |wanted: &dyn Fn(&str) -> bool, named: bool| {
            let cells = row.iter().filter(|figure| wanted(&figure.system)).map(|figure| cell(figure, named));
            cells.collect::<Vec<_>>().join(", ")
        };
        let (ours, limit) = (System::Tombolo.name(), System::Limit.name());
        let cells = [
            of(&|system| system == ours, false),
            of(&|system| system == limit, false),
            of(&|system| system != ours && system != limit, true),
        ];
        lines += &format!("| {} | {} | {} |\n", first.workload, label(first), cells.join(" | "));
    }
    lines
}

/// Writes the median, and the least and greatest where there are several.
fn cell(figure: &Figure, named: bool) -> String {
    let name = if named { format!("{} ", figure.system) } else { String::new() };
    let range =
        if figure.runs > 1 { format!(" ({}–{})", short(figure.min), short(figure.max)) } else { String::new() };
    format!("{name}{}{range}", short(figure.median))
}

fn label(figure: &Figure) -> String {
    if figure.unit == "1" { figure.metric.clone() } else { format!("{} [{}]", figure.metric, figure.unit) }
}

fn short(value: f64) -> String {
    let digits = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 1.0 {
        2
    } else {
        4
    };
    format!("{value:.digits$}")
}

/// How many times better one of our figures is than another system's of the same workload.
struct Beside {
    name: String,
    other: String,
    times_better: f64,
}

/// Compares each of ours with everybody who was measured on the same.
fn beside(figures: &[Figure]) -> Vec<Beside> {
    let is_ours = |figure: &&Figure| figure.system == System::Tombolo.name();
    let mut all = Vec::new();
    for ours in figures.iter().filter(is_ours).filter(|figure| figure.metric != RATIO.0 && figure.median > 0.0) {
        // A peer has no CRDT of ours: its `live` stands beside both of `live/automerge` and `live/yrs`.
        let same = |other: &&Figure| {
            let rest = ours.workload.strip_prefix(&other.workload);
            other.metric == ours.metric && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        for other in figures.iter().filter(|figure| !is_ours(figure) && figure.median > 0.0).filter(same) {
            let times = other.median / ours.median;
            let more_is_better = [PER_SECOND.0, KEPT.0].contains(&ours.metric.as_str());
            all.push(Beside {
                name: format!("{} {}", ours.workload, ours.metric),
                other: other.system.clone(),
                times_better: if more_is_better { times.recip() } else { times },
            });
        }
    }
    all
}

/// Figures of one workload in several sizes, as multiples of that of the least.
type Lines = BTreeMap<String, Vec<(f64, f64)>>;

fn growth(figures: &[Figure]) -> Lines {
    let mut lines = Lines::new();
    for figure in figures.iter().filter(|figure| figure.median > 0.0 && figure.metric != RATIO.0) {
        let Some((workload, size)) = figure.workload.rsplit_once('/') else { continue };
        let Ok(size) = size.parse::<f64>() else { continue };
        let name = format!("{workload} {} {}", figure.system, figure.metric);
        lines.entry(name).or_default().push((size, figure.median));
    }
    lines.retain(|_, points| points.len() > 1);
    for points in lines.values_mut() {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let least = points.first().map_or(1.0, |point| point.1);
        points.iter_mut().for_each(|point| point.1 /= least);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(workload: &str, system: &str, metric: &str, median: f64) -> Figure {
        let (workload, system, metric) = (workload.to_owned(), system.to_owned(), metric.to_owned());
        Figure { workload, system, metric, unit: "ms".to_owned(), min: median, median, max: median, runs: 1 }
    }

    #[test]
    fn a_peer_stands_beside_both_of_our_crdts_and_more_is_better_only_of_rates() {
        let figures = [
            figure("live/yrs", "tombolo", "p50_ms", 2.0),
            figure("live", "y-sweet", "p50_ms", 1.0),
            figure("lively", "y-sweet", "p50_ms", 1.0),
            figure("append", "tombolo", "per_second", 30.0),
            figure("append", "limit", "per_second", 10.0),
        ];
        let times: Vec<(String, f64)> = beside(&figures).into_iter().map(|row| (row.other, row.times_better)).collect();
        assert_eq!(times, [("y-sweet".to_owned(), 0.5), ("limit".to_owned(), 3.0)]);
    }

    #[test]
    fn the_table_has_a_row_of_each_metric_with_everybody_in_it() {
        let figures = [
            figure("live", "tombolo", "p50_ms", 2.0),
            figure("live", "y-sweet", "p50_ms", 0.5),
            figure("live", "y-websocket", "p50_ms", 250.0),
        ];
        assert!(table(&figures).ends_with("| live | p50_ms [ms] | 2.00 |  | y-sweet 0.5000, y-websocket 250 |\n"));
    }

    #[test]
    fn plots_are_drawn_of_what_has_sizes_and_neighbours_and_none_of_nothing() -> Result<(), BenchError> {
        let folder = tempfile::tempdir()?;
        let figures = [
            figure("log/read/10", "tombolo", "seconds", 1.0),
            figure("log/read/100", "tombolo", "seconds", 12.0),
            figure("live", "tombolo", "p50_ms", 2.0),
            figure("live", "y-sweet", "p50_ms", 0.5),
        ];
        for (nth, figures) in [&figures[..], &[]].into_iter().enumerate() {
            let paths = ["beside", "growth"].map(|name| folder.path().join(format!("{nth}.{name}.svg")));
            let drawn = [plots::beside(&beside(figures), &paths[0])?, plots::growth(&growth(figures), &paths[1])?];
            assert_eq!(drawn, [!figures.is_empty(); 2]);
            for (path, words) in paths.iter().zip(["y-sweet", "log/read"]) {
                let drawn = std::fs::read_to_string(path).unwrap_or_default();
                assert_eq!(drawn.contains(words), !figures.is_empty(), "{}", path.display());
            }
        }
        Ok(())
    }
}
