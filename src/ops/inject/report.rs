//! What an injection did.

use super::request::{InjectRequest, Item};
use crate::error::{Error, Result};
use crate::ops::Change;
use serde::Serialize;
use std::error::Error as _;

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "reason", rename_all = "snake_case")]
pub enum Outcome {
    /// It is in the guest.
    Done,
    /// It is not, nor is any part of it; here is why.
    Failed(String),
    /// It was not asked for.
    Skipped,
}

/// An item and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemReport {
    /// The item.
    pub item: Item,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What an injection did, or with the changes discarded would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InjectReport {
    /// Whether all that was asked for is done (I1).
    pub ok: bool,
    /// Every item, in the order of [`Item::ALL`].
    pub items: Vec<ItemReport>,
    /// What may not be as wished: failed items first of all.
    pub warnings: Vec<String>,
    /// What the guest will do with what was injected.
    pub notes: Vec<String>,
    /// What changed, in the order in which it did.
    pub changes: Vec<Change>,
}

impl InjectReport {
    pub(super) fn new() -> Self {
        Self { ok: true, items: Vec::new(), warnings: Vec::new(), notes: Vec::new(), changes: Vec::new() }
    }

    pub(super) fn add(&mut self, item: Item, outcome: Outcome) {
        if let Outcome::Failed(reason) = &outcome {
            self.ok = false;
            self.warnings.push(format!("ignoring error injecting {item} into image: {reason}"));
        }
        self.items.push(ItemReport { item, outcome });
    }

    /// What became of `item`.
    pub fn outcome(&self, item: Item) -> &Outcome {
        self.items.iter().find(|report| report.item == item).map_or(&Outcome::Skipped, |report| &report.outcome)
    }
}

/// What to do when the image could not be opened or its filesystem not be found (I2): `error` again if an item that is
/// asked for is mandatory, otherwise a report in which all that is asked for has failed.
pub fn not_opened(request: &InjectRequest, error: Error) -> Result<InjectReport> {
    if request.has_mandatory() {
        return Err(error);
    }
    let reason = explain(&error);
    let mut report = InjectReport::new();
    report.ok = false;
    report.warnings.push(format!("ignoring error injecting data into image: {reason}"));
    report.items.extend(Item::ALL.map(|item| {
        let outcome = if request.asks_for(item) { Outcome::Failed(reason.clone()) } else { Outcome::Skipped };
        ItemReport { item, outcome }
    }));
    Ok(report)
}

/// An error with its sources, on one line.
pub(super) fn explain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
