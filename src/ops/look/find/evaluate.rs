//! Whether an expression is true for a file, and what it does on the way.

use super::{Expr, Told};
use crate::error::Result;
use crate::ops::look::FileInfo;
use crate::tree::FileTree;

/// What the expression has to say of the walk.
#[derive(Debug)]
pub(super) struct Next {
    /// Do not go into this directory.
    pub(super) prune: bool,
    /// Stop here.
    pub(super) quit: bool,
}

pub(super) fn evaluate(
    expr: &Expr,
    tree: &dyn FileTree,
    file: &FileInfo,
    next: &mut Next,
    sink: &mut dyn FnMut(&FileInfo, Told) -> Result<()>,
) -> Result<bool> {
    match expr {
        Expr::And(parts) => {
            for part in parts {
                if !evaluate(part, tree, file, next, sink)? || next.quit {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Expr::Or(parts) => {
            for part in parts {
                if evaluate(part, tree, file, next, sink)? || next.quit {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Expr::Not(part) => Ok(!evaluate(part, tree, file, next, sink)?),
        Expr::Test(test) => test.holds(tree, file),
        Expr::Tell(told) => sink(file, *told).map(|()| true),
        Expr::Prune => {
            next.prune = true;
            Ok(true)
        }
        Expr::Quit => {
            next.quit = true;
            Ok(true)
        }
    }
}
