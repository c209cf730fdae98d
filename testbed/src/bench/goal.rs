//! Goals of a benchmark, and what a run has to say to them.

use serde::Serialize;

use super::table::Table;

/// A goal and what the run has to say to it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Goal {
    pub(crate) name: String,
    pub(crate) figure: f64,
    pub(crate) limit: f64,
    /// The figure must not be below the limit; otherwise not above it.
    pub(crate) at_least: bool,
    pub(crate) met: bool,
}

impl Goal {
    pub(crate) fn at_most(name: &str, figure: f64, limit: f64) -> Self {
        Self { name: name.to_owned(), figure, limit, at_least: false, met: figure <= limit }
    }

    pub(crate) fn at_least(name: &str, figure: f64, limit: f64) -> Self {
        Self { name: name.to_owned(), figure, limit, at_least: true, met: figure >= limit }
    }
}

/// All of them, with the verdict.
pub(crate) fn table(goals: &[Goal]) -> Table {
    let mut table = Table::new(1, &["goal", "figure", "limit", ""]);
    for Goal { name, figure, limit, at_least, met } in goals {
        let sign = if *at_least { "≥" } else { "≤" };
        let verdict = if *met { "met" } else { "missed" };
        let cells = [format!("{figure:.2}"), format!("{sign} {limit:.2}"), verdict.to_owned()];
        table.row([name.clone()].into_iter().chain(cells));
    }
    table
}
