//! Tables: aligned columns that fit the width of a terminal, where there is one.
//!
//! What does not fit is cut with `…`, and rows are never wrapped; without a terminal nothing is cut. Cells hold printable text, so
//! that what is measured is what is seen.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use anstyle::Style;

use crate::text::{Printable, folded, measured, width_of};

/// What stands between two columns.
pub(super) const GAP: usize = 2;
/// How narrow a column that gives way may become.
const LEAST: usize = 12;
/// How narrow it may become while another one could be left out, or a name be shortened.
const READABLE: usize = 30;

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Size {
    /// That of the terminal that stdout is, if it is one.
    pub(super) fn of_stdout() -> Option<Self> {
        Self::of(std::io::stdout())
    }

    /// That of the terminal that stderr is, if it is one.
    pub(super) fn of_stderr() -> Option<Self> {
        Self::of(std::io::stderr())
    }

    fn of(stream: impl IsTerminal + AsFd) -> Option<Self> {
        if !stream.is_terminal() {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(&stream).ok();
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
    /// A name: shortened in its middle, once the soft ones have no more to give than what makes them readable.
    Name(&'static str),
    /// Left out before a name is shortened.
    Spare(&'static str),
}

impl Column {
    fn head(self) -> &'static str {
        match self {
            Self::Firm(head) | Self::Soft(head) | Self::Name(head) | Self::Spare(head) => head,
        }
    }
}

/// A text with its colour.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: Printable,
    style: Style,
    room: Room,
}

/// What becomes of a text that has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Room {
    /// It is cut.
    #[default]
    Cut,
    /// It runs over the edge.
    Over,
    /// Below a row it goes on in the next line.
    Folded,
}

impl Cell {
    pub(super) fn new(text: impl Into<Printable>) -> Self {
        Self::styled(text, Style::new())
    }

    pub(super) fn styled(text: impl Into<Printable>, style: Style) -> Self {
        Self { text: text.into(), style, room: Room::Cut }
    }

    /// The same, never cut: what people copy from here into a command or a manifest.
    pub(super) fn whole(self) -> Self {
        Self { room: Room::Over, ..self }
    }

    /// The same where it stands below a row: sentences for people, on as many lines as they take.
    pub(super) fn sentence(self) -> Self {
        Self { room: Room::Folded, ..self }
    }
}

/// A line of cells, with texts that belong to it below.
#[derive(Clone, Debug)]
pub(super) struct Row<const N: usize> {
    pub(super) cells: [Cell; N],
    pub(super) below: Vec<Cell>,
}

/// The lines of a table, its head first; each at most `width` wide.
pub(super) fn lines<const N: usize>(columns: [Column; N], rows: &[Row<N>], width: Option<usize>) -> Vec<String> {
    let heads = columns.map(Column::head);
    let mut widths = heads.map(measured);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = (*width).max(measured(cell.text.as_str()));
        }
    }
    let mut widths = widths.map(Some);
    if let Some(width) = width {
        give_way(&columns, &mut widths, width);
    }
    let bold = Style::new().bold();
    let mut lines = vec![line(&columns, &heads.map(|head| Cell::styled(head, bold)), &widths, width)];
    for row in rows {
        lines.push(line(&columns, &row.cells, &widths, width));
        for below in &row.below {
            let text = format!("    {}", below.text);
            let text = match below.room {
                Room::Cut => cut(&text, width.unwrap_or(usize::MAX)).0,
                Room::Over => text,
                Room::Folded => folded(&text, width),
            };
            lines.extend(text.lines().map(|line| format!("{style}{line}{style:#}", style = below.style)));
        }
    }
    lines
}

/// Takes from the columns until the line fits, from the soft ones first and of these from the last one: what matters most
/// stands first. A column that is left out has no width.
fn give_way<const N: usize>(columns: &[Column; N], widths: &mut [Option<usize>; N], room: usize) {
    let used = |widths: &[Option<usize>; N]| {
        let kept = widths.iter().flatten();
        kept.clone().sum::<usize>() + GAP * kept.count().saturating_sub(1)
    };
    let excess = |widths: &[Option<usize>; N]| used(widths).saturating_sub(room);
    let narrow = |widths: &mut [Option<usize>; N], least: usize, which: fn(&Column) -> bool| {
        for index in (0..N).rev().filter(|index| which(&columns[*index])) {
            let excess = excess(widths);
            widths[index] = widths[index].map(|width| width - excess.min(width.saturating_sub(least)));
        }
    };
    let is_soft = |column: &Column| matches!(column, Column::Soft(_));
    let wanted = *widths;
    narrow(widths, READABLE, is_soft);
    for index in (0..N).rev() {
        if matches!(columns[index], Column::Spare(_)) && excess(widths) > 0 {
            widths[index] = None;
        }
    }
    narrow(widths, READABLE, |column| matches!(column, Column::Name(_)));
    narrow(widths, LEAST, is_soft);
    narrow(widths, LEAST, |column| matches!(column, Column::Name(_)));
    // A column that was left out may have had more than what was needed.
    let mut spare = room.saturating_sub(used(widths));
    for (width, wanted) in widths.iter_mut().zip(wanted) {
        if let (Some(width), Some(wanted)) = (width, wanted) {
            let more = spare.min(wanted - *width);
            *width += more;
            spare -= more;
        }
    }
}

fn line(columns: &[Column], cells: &[Cell], widths: &[Option<usize>], room: Option<usize>) -> String {
    let mut line = String::new();
    let mut room = room.unwrap_or(usize::MAX);
    let mut owed = 0;
    for ((column, Cell { text, style, room: wanted }), width) in columns.iter().zip(cells).zip(widths) {
        let Some(width) = *width else { continue };
        if !text.is_empty() {
            if room <= owed {
                break;
            }
            room -= owed;
            let (cut, taken) = match column {
                _ if *wanted == Room::Over => (text.to_string(), measured(text.as_str())),
                Column::Name(_) => cut_middle(text.as_str(), width.min(room)),
                Column::Firm(_) | Column::Soft(_) | Column::Spare(_) => cut(text.as_str(), width.min(room)),
            };
            let _ = write!(line, "{:owed$}{style}{cut}{style:#}", "");
            room = room.saturating_sub(taken);
            owed = width.saturating_sub(taken).saturating_add(GAP);
        } else {
            owed = owed.saturating_add(width.saturating_add(GAP));
        }
    }
    line
}

/// Both ends of a text that is at most `width` wide, with `…` between them where something was cut, and how wide it is.
fn cut_middle(text: &str, width: usize) -> (String, usize) {
    let whole = measured(text);
    if whole <= width || width < 3 {
        return cut(text, width);
    }
    // What tells names apart stands at their ends more often: that half is the longer one.
    let (mut start, taken) = cut(text, width / 2);
    let (mut end, mut room) = (Vec::new(), width - taken);
    for c in text.chars().rev() {
        let wide = width_of(c);
        if wide > room {
            break;
        }
        room -= wide;
        end.push(c);
    }
    start.extend(end.iter().rev());
    (start, width - room)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::printable;

    const COLUMNS: [Column; 3] = [Column::Soft("SERVICE"), Column::Firm("STATE"), Column::Soft("MESSAGE")];

    fn rows(cells: &[[&str; 3]]) -> Vec<Row<3>> {
        cells
            .iter()
            .map(|cells| Row { cells: cells.map(|text| Cell::new(printable(text))), below: Vec::new() })
            .collect()
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
        table[0].below = vec![Cell::new(printable(&"x".repeat(50)))];
        assert_eq!(plain(&lines(COLUMNS, &table, Some(20)))[2], format!("    {}…", "x".repeat(15)));
        assert_eq!(plain(&lines(COLUMNS, &table, None))[2], format!("    {}", "x".repeat(50)));
    }

    #[test]
    fn spare_columns_go_before_a_name_is_shortened_in_its_middle() {
        const COLUMNS: [Column; 4] =
            [Column::Name("SERVICE"), Column::Firm("STATE"), Column::Spare("REVISION"), Column::Soft("MESSAGE")];
        let name = "shop/a-service-of-the-eu-west-checkout";
        let message = "m".repeat(100);
        let cells = [name, "unchanged", "tree:de75de5a3096", &message].map(|text| Cell::new(printable(text)));
        let table = [Row { cells, below: Vec::new() }];
        let row = |width| plain(&lines(COLUMNS, &table, Some(width)))[1].clone();
        assert_eq!(row(100), format!("{name}  unchanged  tree:de75de5a3096  {}…", "m".repeat(29)));
        assert_eq!(row(99), format!("{name}  unchanged  {}…", "m".repeat(47)));
        assert_eq!(row(81), format!("{name}  unchanged  {}…", "m".repeat(29)));
        assert_eq!(row(80), format!("shop/a-service-of…he-eu-west-checkout  unchanged  {}…", "m".repeat(29)));
        assert_eq!(row(60), format!("shop/a-service…u-west-checkout  unchanged  {}…", "m".repeat(16)));
        assert_eq!(row(40), format!("shop/a…checkout  unchanged  {}…", "m".repeat(11)));
        for width in 1..200 {
            for line in plain(&lines(COLUMNS, &table, Some(width))) {
                assert!(measured(&line) <= width, "{width}: {line}");
            }
        }
        assert_eq!(cut_middle("日本語日本語", 7), ("日…本語".to_owned(), 7));
        assert_eq!(cut_middle("日本語日本語", 2), ("…".to_owned(), 1));
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
