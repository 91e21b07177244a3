//! Which context a path has in a policy, with the precedence of libselinux.
//!
//! Lines count in the order file_contexts, .homedirs, .local, and the last that matches wins; those without characters
//! of regular expressions win over all others. Patterns are tried only on paths that begin as they do, and compiled
//! only when they are tried: a few files take a few milliseconds with a policy of thousands of lines.

use super::pattern::{compile, outline};
use super::subs::Subs;
use super::{config, parse};
use crate::error::{Error, ErrorKind, Result};
use crate::tree::{FileKind, FileTree, GuestPath, read_text};
use regex::bytes::Regex;
use std::collections::HashMap;

/// Lines of a policy that are used; distributions have some ten thousand.
const MAX_LINES: usize = 1 << 16;
/// Patterns that are tried for one path; with real policies it is some hundred.
const MAX_TRIES: usize = 1 << 12;
/// Compiled patterns that are kept, each of up to a few KiB.
const MAX_COMPILED: usize = 1 << 13;
/// Patterns that are compiled, those again that were not kept: only a hostile policy has more.
const MAX_COMPILATIONS: usize = 1 << 16;
/// Complaints that are told one by one.
const MAX_NOTES: usize = 8;

/// The contexts of a guest's policy.
#[derive(Debug)]
pub struct Policy {
    lines: Vec<Line>,
    contexts: Vec<String>,
    /// Lines by the only path they match; in each list the winner is last.
    exact: HashMap<Vec<u8>, Vec<u32>>,
    /// The other lines by how what they match begins.
    by_prefix: HashMap<Vec<u8>, Vec<u32>>,
    longest_prefix: usize,
    /// The local substitutions, then those of the distribution.
    subs: [Subs; 2],
    compiled: HashMap<u32, Option<Regex>>,
    compilations: usize,
    notes: Vec<String>,
    complaints: usize,
}

/// A line, at the index that is its rank.
#[derive(Debug)]
struct Line {
    pattern: String,
    stem: usize,
    kind: Option<FileKind>,
    /// Index of its context; none for `<<none>>`.
    context: Option<u32>,
}

impl Policy {
    /// Reads the policy that the guest uses; none where it does not use SELinux or has no file_contexts.
    pub fn of_guest(tree: &dyn FileTree) -> Result<Option<Self>> {
        let Some(contexts) = config::contexts_dir(tree)? else { return Ok(None) };
        let read = |name: &str| -> Result<Vec<u8>> {
            let path = contexts.join("files").join(format!("file_contexts{name}"));
            Ok(read_text(tree, &path)?.unwrap_or_default())
        };
        let texts = [read("")?, read(".homedirs")?, read(".local")?];
        Self::parse(&texts, &read(".subs")?, &read(".subs_dist")?).map(Some)
    }

    /// A policy from the texts of file_contexts, .homedirs and .local, and of .subs and .subs_dist.
    /// [`Limit`](ErrorKind::Limit) past 65,536 lines.
    pub fn parse(texts: &[Vec<u8>; 3], subs: &[u8], subs_dist: &[u8]) -> Result<Self> {
        let mut policy = Self {
            lines: Vec::new(),
            contexts: Vec::new(),
            exact: HashMap::new(),
            by_prefix: HashMap::new(),
            longest_prefix: 0,
            subs: [Subs::parse(subs), Subs::parse(subs_dist)],
            compiled: HashMap::new(),
            compilations: 0,
            notes: Vec::new(),
            complaints: 0,
        };
        let mut lines = Vec::new();
        for (text, name) in texts.iter().zip(["", ".homedirs", ".local"]) {
            for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
                match parse::line(line) {
                    Ok(Some(line)) => lines.push((outline(line.pattern), line)),
                    Ok(None) => {}
                    Err(why) => policy.complain(|| format!("file_contexts{name}, line {}: {why}", index + 1)),
                }
                if lines.len() > MAX_LINES {
                    let message = format!("the SELinux policy has more than {MAX_LINES} file contexts");
                    return Err(Error::new(ErrorKind::Limit, message));
                }
            }
        }
        // Stable: apart from this the order stays.
        lines.sort_by_key(|(outline, _)| outline.is_exact);
        let mut known: HashMap<&str, u32> = HashMap::new();
        for (rank, (outline, line)) in (0u32..).zip(lines) {
            let context = line.context.map(|context| {
                *known.entry(context).or_insert_with(|| {
                    policy.contexts.push(context.to_owned());
                    policy.contexts.len() as u32 - 1
                })
            });
            policy.longest_prefix = policy.longest_prefix.max(outline.prefix.len());
            match outline.literal {
                Some(path) => policy.exact.entry(path).or_default().push(rank),
                None => policy.by_prefix.entry(outline.prefix).or_default().push(rank),
            }
            let pattern = line.pattern.to_owned();
            policy.lines.push(Line { pattern, stem: outline.stem, kind: line.kind, context });
        }
        Ok(policy)
    }

    /// The context of a file of that kind at `path`; none where the policy gives it none.
    pub fn lookup(&mut self, path: &GuestPath, kind: FileKind) -> Result<Option<&str>> {
        let context = self.find(&path.to_bytes(), kind).map_err(|error| error.at_path(path.to_bytes()))?;
        Ok(context.map(|context| self.contexts[context as usize].as_str()))
    }

    #[cfg(test)]
    pub(super) fn patterns(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|line| line.pattern.as_str())
    }

    /// What could not be used of the policy.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        if self.complaints > notes.len() {
            notes.push(format!("and {} more lines of the SELinux policy", self.complaints - notes.len()));
        }
        notes
    }

    fn complain(&mut self, note: impl FnOnce() -> String) {
        self.complaints += 1;
        if self.notes.len() < MAX_NOTES {
            self.notes.push(format!("SELinux policy, {}", note()));
        }
    }

    fn find(&mut self, path: &[u8], kind: FileKind) -> Result<Option<u32>> {
        let local = self.subs[0].apply(path);
        let path = local.as_deref().unwrap_or(path);
        let dist = self.subs[1].apply(path);
        let path = dist.as_deref().unwrap_or(path);
        let is_for = |line: &Line| line.kind.is_none_or(|wanted| wanted == kind);
        let exact = self.exact.get(path).into_iter().flatten().rev();
        let exact = exact.copied().find(|rank| is_for(&self.lines[*rank as usize]));
        let mut ranks: Vec<u32> = (0..=path.len().min(self.longest_prefix))
            .filter_map(|length| self.by_prefix.get(&path[..length]))
            .flatten()
            .copied()
            .filter(|rank| is_for(&self.lines[*rank as usize]) && exact.is_none_or(|exact| *rank > exact))
            .collect();
        ranks.sort_unstable_by(|a, b| b.cmp(a));
        for (tries, rank) in ranks.into_iter().enumerate() {
            if tries == MAX_TRIES {
                let message = format!("more than {MAX_TRIES} patterns of the SELinux policy may be meant");
                return Err(Error::new(ErrorKind::Limit, message));
            }
            let stem = self.lines[rank as usize].stem;
            if (stem == 0 || path.get(stem) == Some(&b'/')) && self.matches(rank, &path[stem..])? {
                return Ok(self.lines[rank as usize].context);
            }
        }
        Ok(exact.and_then(|rank| self.lines[rank as usize].context))
    }

    fn matches(&mut self, rank: u32, rest: &[u8]) -> Result<bool> {
        if !self.compiled.contains_key(&rank) {
            self.compilations += 1;
            if self.compilations > MAX_COMPILATIONS {
                return Err(Error::new(ErrorKind::Limit, "the SELinux policy takes too long to look up"));
            }
            if self.compiled.len() >= MAX_COMPILED {
                self.compiled.clear();
            }
            let line = &self.lines[rank as usize];
            let regex = match compile(&line.pattern, line.stem) {
                Ok(regex) => Some(regex),
                Err(why) => {
                    let pattern = line.pattern.clone();
                    self.complain(|| format!("pattern \"{pattern}\": {why}"));
                    None
                }
            };
            self.compiled.insert(rank, regex);
        }
        Ok(self.compiled[&rank].as_ref().is_some_and(|regex| regex.is_match(rest)))
    }
}
