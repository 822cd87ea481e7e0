//! A plan for a comment on a pull request.
//!
//! All that comes from manifests, commits or the API stands in one fenced block: there nothing is markup, HTML, a mention,
//! a link or a command of the platform. Outside of it stand our own words and numbers.

use std::fmt::Write as _;

use crate::plan::{PlanState, Report, to_send};
use crate::text::counted;

/// A comment of GitHub has at most 65,536 characters, one of other hosts more.
const MAX_BYTES: usize = 60_000;

/// The comment. `text` is the plan as people read it elsewhere.
pub(super) fn comment(report: &Report, text: &str) -> String {
    let plain = anstream::adapter::strip_str(text).to_string();
    let mut comment = match report.plan.id {
        Some(id) => format!("### truenorth plan `{id}`: {}\n\n", to_send(report)),
        None => "### truenorth plan: no changes\n\n".to_owned(),
    };
    if !report.problems.is_empty() {
        let _ = writeln!(comment, "**{}**: see below\n", counted(report.problems.len(), "problem"));
    }
    if let (Some(id), PlanState::Held | PlanState::Denied) = (report.plan.id, report.plan.state) {
        // Where the ledger is, this plan may never have been shown: there the first digits are not enough.
        let _ = writeln!(comment, "Held until it is approved: `truenorth approve {}`\n", id.digits());
    }
    let fence = fence(&plain);
    let kept = start(&plain);
    let _ = writeln!(comment, "{fence}text\n{}\n{fence}", kept.trim_end());
    let left = plain[kept.len()..].lines().count();
    if left > 0 {
        let _ = writeln!(comment, "\n{} more: `truenorth plan` shows all", counted(left, "line"));
    }
    comment
}

/// As much of a text as fits a comment, in whole lines.
fn start(text: &str) -> &str {
    if text.len() <= MAX_BYTES {
        return text;
    }
    let start = &text[..text.floor_char_boundary(MAX_BYTES)];
    start.rfind('\n').map_or(start, |end| &start[..=end])
}

/// A fence that no line of the text ends.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ApiPlace, Digest, Revision};
    use crate::plan::{ApiUse, PlanReport};

    fn report() -> Report {
        let revision = Revision::Tree(Digest::of_bytes(b""));
        let plan = PlanReport { id: None, changes: 0, limit: None, state: PlanState::Within };
        Report::new(ApiPlace::new("https://api.example.com"), revision, plan, vec![], vec![], ApiUse::default())
    }

    #[test]
    fn nothing_of_a_plan_leaves_its_block() {
        let text = "a ```` b\n```\n````\n@everyone <img src=x> [a](b)\n`````";
        let comment = comment(&report(), text);
        let fenced = comment.split("``````").collect::<Vec<_>>();
        assert_eq!(fenced.len(), 3, "{comment}");
        assert_eq!(fenced[1], format!("text\n{text}\n"));
        assert_eq!(fenced[0], "### truenorth plan: no changes\n\n");
        assert_eq!(fenced[2], "\n");
    }

    #[test]
    fn a_long_plan_is_cut_between_lines_and_says_so() {
        let comment = comment(&report(), &"ä line of a plan\n".repeat(10_000));
        assert!(comment.len() < 65_000 && comment.ends_with("more: `truenorth plan` shows all\n"), "{}", comment.len());
        assert!(comment.contains("plan\n```\n"));
    }
}
