//! Tables of text: the first columns to the left, figures to the right.

use std::fmt;

/// A table in the making.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    /// Columns of words, which come first.
    words: usize,
}

impl Table {
    /// The first `words` of these columns hold words, the others figures.
    pub(crate) fn new(words: usize, heads: &[&str]) -> Self {
        Self { rows: vec![heads.iter().map(|head| (*head).to_owned()).collect()], words }
    }

    /// Missing cells at the end stay empty.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell: &String| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                if column < self.words {
                    line += &format!("{cell:width$}  ");
                } else {
                    line += &format!("{cell:>width$}  ");
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Microseconds as milliseconds, with the digits that mean something.
pub(crate) fn millis(micros: f64) -> String {
    let millis = micros / 1000.0;
    match millis {
        ..10.0 => format!("{millis:.2}"),
        10.0..100.0 => format!("{millis:.1}"),
        _ => format!("{millis:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_figures_right() {
        let mut table = Table::new(1, &["who", "p50", "note"]);
        table.row(["a".to_owned(), "10.25".to_owned()]);
        table.row(["longer".to_owned(), "3".to_owned(), "x".to_owned()]);
        assert_eq!(table.to_string(), "who       p50  note\na       10.25\nlonger      3     x\n");
    }

    #[test]
    fn milliseconds_have_three_digits() {
        assert_eq!([534.0, 12_345.0, 345_678.0].map(millis), ["0.53", "12.3", "346"]);
    }
}
