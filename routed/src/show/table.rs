//! Tables for people: aligned columns, two spaces between, no lines.
//!
//! In: titles and rows of cells. Out: text. Numbers stand to the right. A column whose cells are
//! all empty is left out, so that rare facts cost no width; titles end no line with spaces.

use std::fmt;

/// A table under construction.
#[derive(Clone, Debug, Default)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

#[derive(Clone, Debug)]
struct Column {
    title: &'static str,
    align: Align,
    keep: bool,
}

/// Where a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

impl Table {
    /// One without columns.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column.
    #[must_use]
    pub fn column(mut self, title: &'static str, align: Align) -> Self {
        self.columns.push(Column { title, align, keep: true });
        self
    }

    /// Adds a column that is shown only if one of its cells is not empty.
    #[must_use]
    pub fn optional(mut self, title: &'static str, align: Align) -> Self {
        self.columns.push(Column { title, align, keep: false });
        self
    }

    /// Adds a row; missing cells are empty, too many are cut off.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<_> = cells.into_iter().map(|cell| printable(&cell)).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    fn width(&self, index: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[index].chars().count());
        cells.max().unwrap_or(0)
    }

    fn line(&self, f: &mut fmt::Formatter<'_>, shown: &[Shown], row: &[String]) -> fmt::Result {
        let mut line = String::new();
        for column in shown {
            let (cell, width) = (&row[column.index], column.width);
            match self.columns[column.index].align {
                Align::Left => line.push_str(&format!("{cell:<width$}  ")),
                Align::Right => line.push_str(&format!("{cell:>width$}  ")),
            }
        }
        writeln!(f, "{}", line.trim_end())
    }
}

struct Shown {
    index: usize,
    width: usize,
}

/// The titles and the rows, each with its line end.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| (index, column, self.width(index)));
        let shown: Vec<_> = all
            .filter(|(_, column, width)| column.keep || *width > 0)
            .map(|(index, column, width)| Shown { index, width: width.max(column.title.len()) })
            .collect();
        let titles: Vec<_> = self.columns.iter().map(|column| column.title.to_owned()).collect();
        self.line(f, &shown, &titles)?;
        self.rows.iter().try_for_each(|row| self.line(f, &shown, row))
    }
}

/// The text without what would move a terminal's cursor: a peer chooses some of the texts.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Seconds as people read them at a glance: the two largest units.
#[must_use]
pub fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days}d{:02}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h{:02}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m{:02}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn columns_are_aligned_and_lines_do_not_end_with_spaces() {
        let mut table = Table::new()
            .column("PEER", Align::Left)
            .column("AS", Align::Right)
            .column("LAST ERROR", Align::Left);
        table.row(cells(&["tor-a", "4200000001", ""]));
        table.row(cells(&["b", "64512", "hold timer expired"]));
        assert_eq!(
            table.to_string(),
            "PEER           AS  LAST ERROR\n\
             tor-a  4200000001\n\
             b           64512  hold timer expired\n"
        );
    }

    #[test]
    fn optional_columns_show_up_with_their_first_cell() {
        let mut table = Table::new()
            .column("PREFIX", Align::Left)
            .optional("MED", Align::Right)
            .column("X", Align::Left);
        table.row(cells(&["10.0.0.0/8", "", "x"]));
        assert_eq!(table.to_string(), "PREFIX      X\n10.0.0.0/8  x\n");
        table.row(cells(&["10.0.0.0/9", "5", "y"]));
        assert_eq!(
            table.to_string(),
            "PREFIX      MED  X\n10.0.0.0/8       x\n10.0.0.0/9    5  y\n"
        );
    }

    #[test]
    fn a_table_without_rows_has_its_titles() {
        let table = Table::new().column("PEER", Align::Left).optional("MED", Align::Right);
        assert_eq!(table.to_string(), "PEER\n");
    }

    #[test]
    fn control_characters_of_others_do_not_reach_the_terminal() {
        let mut table = Table::new().column("TEXT", Align::Left);
        table.row(cells(&["bye\u{1b}[2J\n"]));
        assert_eq!(table.to_string(), "TEXT\nbye?[2J?\n");
    }

    #[test]
    fn ages_have_the_two_largest_units() {
        let ages = [0, 59, 61, 3_599, 3_661, 86_399, 90_061].map(age);
        assert_eq!(ages, ["0s", "59s", "1m01s", "59m59s", "1h01m", "23h59m", "1d01h"]);
    }
}
