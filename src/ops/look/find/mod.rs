//! Files that an expression of find(1) is true for.

mod evaluate;
mod parse;
mod test;

pub use parse::{Context, parse};

use super::list::{FileInfo, with_target};
use crate::error::Result;
use crate::tree::{FileTree, GuestPath, Walk};
use evaluate::{Next, evaluate};
use test::Test;

/// An expression: what is looked for, and what is done with it.
#[derive(Debug)]
pub struct Expression {
    root: Expr,
    /// Files less deep than this below the starting point are passed over.
    min_depth: usize,
    /// Files deeper than this are not looked at.
    max_depth: usize,
    /// Directories where other filesystems are mounted are not gone into.
    one_filesystem: bool,
}

#[derive(Debug)]
enum Expr {
    /// All are true, up to the first that is not.
    And(Vec<Expr>),
    /// One is true, up to the first that is.
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Test(Test),
    /// True, after the file has been told.
    Tell(Told),
    /// True; a directory is not gone into.
    Prune,
    /// Nothing more is looked at.
    Quit,
}

/// How a file that was found is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// `-print`: its path, a line.
    Path,
    /// `-print0`: its path and a zero byte.
    PathZero,
    /// `-ls`: all that is known of it, a line.
    Line,
}

/// Goes through what is at `top`, which has no links in it, and below; names sorted, links not followed. `sink` gets
/// what the expression tells. Returns false when the expression said `-quit`. Errors as [`Walk`], and those of `sink`.
pub fn find(
    tree: &dyn FileTree,
    top: &GuestPath,
    expression: &Expression,
    sink: &mut dyn FnMut(&FileInfo, Told) -> Result<()>,
) -> Result<bool> {
    let mut walk = Walk::to_depth(top.clone(), expression.max_depth);
    let dev = tree.stat(top)?.dev;
    while let Some((path, stat)) = walk.next(tree)? {
        if expression.one_filesystem && stat.dev != dev {
            walk.prune();
        }
        if path.components().len() - top.components().len() < expression.min_depth {
            continue;
        }
        let file = with_target(tree, path, stat)?;
        let mut next = Next { prune: false, quit: false };
        evaluate(&expression.root, tree, &file, &mut next, sink)?;
        if next.quit {
            return Ok(false);
        }
        if next.prune {
            walk.prune();
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
