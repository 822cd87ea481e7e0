//! Drawing a problem for people: the message, the place, the source line with a caret, the hint.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::Problem;

/// Draws a problem over several lines, without a final line break. `shown_file` is the file's name as the user knows
/// it; `styled` asks for ANSI colours.
#[must_use]
pub fn draw(problem: &Problem, shown_file: &str, styled: bool) -> String {
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    let (line, column) = (problem.line as usize, problem.column as usize);
    let title = if problem.path.is_empty() || problem.message.contains(last_part(&problem.path)) {
        problem.message.clone()
    } else {
        format!("{}: {}", problem.path, problem.message)
    };
    let mut group = Group::with_title(Level::ERROR.primary_title(title));
    let origin = Origin::path(shown_file).line(line).char_column(column);
    group = match &problem.excerpt {
        None => group.element(origin),
        Some(excerpt) => {
            let caret = AnnotationKind::Primary.span(excerpt.start..excerpt.end);
            let snippet = Snippet::source(excerpt.text.as_str()).line_start(line).annotation(caret);
            // The renderer counts the column in the excerpt, which of a long line holds only a piece.
            let counted = excerpt.text.get(..excerpt.start).map_or(0, |before| before.chars().count() + 1);
            if counted == column {
                group.element(snippet.path(shown_file))
            } else {
                group.element(origin).element(snippet)
            }
        }
    };
    if let Some(hint) = &problem.hint {
        group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
    }
    renderer.decor_style(DecorStyle::Ascii).render(&[group])
}

fn last_part(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}
