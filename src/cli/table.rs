//! Tables: aligned columns that fit the width of a terminal, where there is one.
//!
//! What does not fit is cut with `…` and never wrapped; without a terminal nothing is cut. Cells hold text that was made
//! printable before, so that what is measured is what is seen.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use anstyle::Style;
use unicode_width::UnicodeWidthChar as _;

/// What stands between two columns.
const GAP: usize = 2;
/// How narrow a column that gives way may become.
const LEAST: usize = 12;

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Size {
    /// That of the terminal that stdout is, if it is one.
    pub(super) fn of_stdout() -> Option<Self> {
        let stdout = std::io::stdout();
        if !stdout.is_terminal() {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(&stdout).ok();
        // A serial line does not know its size.
        let known = |number: Option<u16>, default| number.filter(|number| *number > 0).map_or(default, usize::from);
        Some(Self { columns: known(size.map(|size| size.ws_col), 80), rows: known(size.map(|size| size.ws_row), 24) })
    }
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    /// Shown in full while the line has room.
    Firm(&'static str),
    /// Gives way to those before it.
    Soft(&'static str),
}

/// A text with its colour.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::new() }
    }

    pub(super) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

/// A line of cells, with a text that belongs to it below.
#[derive(Clone, Debug)]
pub(super) struct Row<const N: usize> {
    pub(super) cells: [Cell; N],
    pub(super) below: Option<Cell>,
}

/// The lines of a table, its head first; each at most `width` wide.
pub(super) fn lines<const N: usize>(columns: [Column; N], rows: &[Row<N>], width: Option<usize>) -> Vec<String> {
    let heads = columns.map(|column| match column {
        Column::Firm(head) | Column::Soft(head) => head,
    });
    let mut widths = heads.map(measured);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = (*width).max(measured(&cell.text));
        }
    }
    if let Some(width) = width {
        give_way(&columns, &mut widths, width);
    }
    let bold = Style::new().bold();
    let mut lines = vec![line(&heads.map(|head| Cell::styled(head, bold)), &widths, width)];
    for row in rows {
        lines.push(line(&row.cells, &widths, width));
        if let Some(below) = &row.below {
            let indented = Cell { text: format!("    {}", below.text), style: below.style };
            lines.push(line(&[indented], &[usize::MAX], width));
        }
    }
    lines
}

/// Takes from the soft columns until the line fits, from the last one first: what matters most stands first.
fn give_way<const N: usize>(columns: &[Column; N], widths: &mut [usize; N], width: usize) {
    let mut excess = (widths.iter().sum::<usize>() + GAP * (N - 1)).saturating_sub(width);
    for (column, width) in columns.iter().zip(widths).rev() {
        if let Column::Soft(_) = column {
            let given = excess.min(width.saturating_sub(LEAST));
            *width -= given;
            excess -= given;
        }
    }
}

fn line(cells: &[Cell], widths: &[usize], room: Option<usize>) -> String {
    let mut line = String::new();
    let mut room = room.unwrap_or(usize::MAX);
    let mut owed = 0;
    for (Cell { text, style }, width) in cells.iter().zip(widths) {
        if !text.is_empty() {
            if room <= owed {
                break;
            }
            room -= owed;
            let (cut, taken) = cut(text, (*width).min(room));
            let _ = write!(line, "{:owed$}{style}{cut}{style:#}", "");
            room -= taken;
            owed = width.saturating_sub(taken).saturating_add(GAP);
        } else {
            owed = owed.saturating_add(width.saturating_add(GAP));
        }
    }
    line
}

/// The start of a text that is at most `width` wide, with `…` where something was cut, and how wide it is.
pub(super) fn cut(text: &str, width: usize) -> (String, usize) {
    let whole = measured(text);
    if whole <= width {
        return (text.to_owned(), whole);
    }
    let mut taken = 0;
    let mut kept = String::new();
    for c in text.chars() {
        let wide = width_of(c);
        // One is for the `…`.
        if taken + wide + 1 > width {
            break;
        }
        taken += wide;
        kept.push(c);
    }
    if taken < width {
        kept.push('…');
        taken += 1;
    }
    (kept, taken)
}

fn measured(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

/// A variation selector makes some characters before it as wide as two; it is counted for any.
fn width_of(c: char) -> usize {
    if c == '\u{fe0f}' { 1 } else { c.width().unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [Column::Soft("SERVICE"), Column::Firm("STATE"), Column::Soft("MESSAGE")];

    fn rows(cells: &[[&str; 3]]) -> Vec<Row<3>> {
        cells.iter().map(|cells| Row { cells: cells.map(Cell::new), below: None }).collect()
    }

    fn plain(lines: &[String]) -> Vec<String> {
        lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn columns_are_aligned_and_nothing_stands_after_the_last() {
        let table = lines(COLUMNS, &rows(&[["shop/web", "stalled", "no"], ["a", "ok", ""]]), None);
        assert_eq!(plain(&table), ["SERVICE   STATE    MESSAGE", "shop/web  stalled  no", "a         ok"]);
    }

    #[test]
    fn a_line_fits_and_the_last_column_gives_way_first() {
        let long = "m".repeat(100);
        let table = rows(&[["shop/a-service-with-a-name", "stalled", &long]]);
        assert_eq!(
            plain(&lines(COLUMNS, &table, Some(60)))[1],
            format!("shop/a-service-with-a-name  stalled  {}…", "m".repeat(22))
        );
        assert_eq!(
            plain(&lines(COLUMNS, &table, Some(40)))[1],
            format!("shop/a-service-w…  stalled  {}…", "m".repeat(11))
        );
        for width in 1..140 {
            for line in plain(&lines(COLUMNS, &table, Some(width))) {
                assert!(measured(&line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn what_stands_below_a_row_is_cut_too() {
        let mut table = rows(&[["a", "b", "c"]]);
        table[0].below = Some(Cell::new("x".repeat(50)));
        assert_eq!(plain(&lines(COLUMNS, &table, Some(20)))[2], format!("    {}…", "x".repeat(15)));
        assert_eq!(plain(&lines(COLUMNS, &table, None))[2], format!("    {}", "x".repeat(50)));
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(cut("日本語", 6), ("日本語".to_owned(), 6));
        assert_eq!(cut("日本語", 5), ("日本…".to_owned(), 5));
        assert_eq!(cut("日本語", 4), ("日…".to_owned(), 3));
        assert_eq!(cut("日本語", 0), (String::new(), 0));
        assert_eq!(cut("é", 1), ("é".to_owned(), 1));
    }
}
