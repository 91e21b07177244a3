//! What a check says: findings, and how many there were.

use std::fmt;

/// Findings that are kept; a filesystem with more is told by its counts. Enough for a person, small for a machine.
pub const MAX_FINDINGS: usize = 1000;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing, nothing is wrong.
    Note,
    /// Right once the journal is replayed or the orphans are processed, which any writer does first.
    Recovery,
    /// Not as it should be, and no file suffers from it.
    Warning,
    /// The filesystem contradicts itself.
    Corrupt,
}

impl Severity {
    /// All of them, the mildest first.
    pub const ALL: [Self; 4] = [Self::Note, Self::Recovery, Self::Warning, Self::Corrupt];

    /// `note`, `recovery`, `warning` or `corrupt`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Recovery => "recovery",
            Self::Warning => "warning",
            Self::Corrupt => "corrupt",
        }
    }
}

/// One thing that was found. Prints as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The name that e2fsck has for the problem (`PR_1_BAD_I_BLOCKS`), or `NM_` and a name of our own.
    pub id: &'static str,
    /// Where: `inode 12, extent block 77`.
    pub place: String,
    /// What stands there: `i_blocks is 8`.
    pub found: String,
    /// What should stand there; empty where that is not one thing.
    pub wanted: String,
    /// How bad it is.
    pub severity: Severity,
}

impl Finding {
    /// Whether `e2fsck -fn` says nothing of it.
    pub fn e2fsck_is_silent(&self) -> bool {
        self.id.starts_with("NM_")
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.severity.name(), self.place, self.found)?;
        if !self.wanted.is_empty() {
            write!(f, ", expected {}", self.wanted)?;
        }
        write!(f, " [{}]", self.id)
    }
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    findings: Vec<Finding>,
    counts: [u64; Severity::ALL.len()],
    /// Inodes in use.
    pub inodes: u64,
    /// Of these, directories.
    pub directories: u64,
    /// Blocks in use, those of the metadata among them.
    pub blocks: u64,
}

impl Report {
    /// The findings in the order in which they were made, at most [`MAX_FINDINGS`] of them.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many there were of one severity, kept or not.
    pub fn count(&self, severity: Severity) -> u64 {
        self.counts[severity as usize]
    }

    /// How many there were, kept or not.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Whether nothing is corrupt.
    pub fn is_sound(&self) -> bool {
        self.count(Severity::Corrupt) == 0
    }

    /// The worst severity; none where nothing was found.
    pub fn worst(&self) -> Option<Severity> {
        Severity::ALL.into_iter().rev().find(|severity| self.count(*severity) > 0)
    }

    /// Adds a finding.
    pub(super) fn add(&mut self, finding: Finding) {
        self.counts[finding.severity as usize] += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}
