//! What git was asked to do and has not finished. Between its steps the checkout holds neither what was nor what will be,
//! and no lock says so.

use std::fmt;

use super::refs::Refs;
use super::{CheckoutError, plain};

/// Most bytes of a list of commits to pick: a hundred thousand of them.
const MAX_TODO_BYTES: u64 = 16 * 1024 * 1024;

/// Something that takes git several steps, and stops for a person where it meets a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `git merge`, and a `git pull` that merges.
    Merge,
    /// `git rebase`, and a `git pull` that rebases.
    Rebase,
    /// `git am`.
    Am,
    /// `git cherry-pick`.
    CherryPick,
    /// `git revert`.
    Revert,
    /// `git bisect`: what is checked out is an old commit that somebody tries out.
    Bisect,
    /// Conflicts that are left of something else, such as `git stash pop`.
    Conflict,
}

impl Operation {
    /// What is in progress, by the files that git itself goes by in `git status`.
    pub(super) fn in_progress(refs: &Refs<'_>) -> Result<Option<Self>, CheckoutError> {
        let has = |name: &str| {
            let path = refs.git_dir.join(name);
            plain::exists(&path).map_err(|source| CheckoutError::Ref { path, source })
        };
        if has("rebase-apply/applying")? {
            return Ok(Some(Self::Am));
        }
        // A rebase picks commits, and a merge in it is of the rebase.
        if has("rebase-apply")? || has("rebase-merge")? {
            return Ok(Some(Self::Rebase));
        }
        if has("MERGE_HEAD")? {
            return Ok(Some(Self::Merge));
        }
        if refs.has_own("CHERRY_PICK_HEAD")? {
            return Ok(Some(Self::CherryPick));
        }
        if refs.has_own("REVERT_HEAD")? {
            return Ok(Some(Self::Revert));
        }
        // Of several commits one is done, and others wait.
        let todo = refs.git_dir.join("sequencer/todo");
        match plain::read(&todo, MAX_TODO_BYTES) {
            Ok(Some(text)) if text.starts_with(b"revert") => return Ok(Some(Self::Revert)),
            Ok(Some(_)) => return Ok(Some(Self::CherryPick)),
            Ok(None) => {}
            Err(source) => return Err(CheckoutError::Ref { path: todo, source }),
        }
        Ok(has("BISECT_LOG")?.then_some(Self::Bisect))
    }

    pub(in crate::source) fn way_out(self) -> &'static str {
        match self {
            Self::Merge => "finish it with `git merge --continue`, or give it up with `git merge --abort`",
            Self::Rebase => "finish it with `git rebase --continue`, or give it up with `git rebase --abort`",
            Self::Am => "finish it with `git am --continue`, or give it up with `git am --abort`",
            Self::CherryPick => {
                "finish it with `git cherry-pick --continue`, or give it up with `git cherry-pick --abort`"
            }
            Self::Revert => "finish it with `git revert --continue`, or give it up with `git revert --abort`",
            Self::Bisect => "end it with `git bisect reset`",
            Self::Conflict => "resolve the conflicts and `git add` the files, or give it up with `git reset --merge`",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Merge => "a merge",
            Self::Rebase => "a rebase",
            Self::Am => "`git am`",
            Self::CherryPick => "a cherry-pick",
            Self::Revert => "a revert",
            Self::Bisect => "a bisect",
            Self::Conflict => "a change with unresolved conflicts",
        })
    }
}
