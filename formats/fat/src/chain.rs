//! Chains of clusters, followed to their end before anything is done with them: one that comes back to itself, or
//! leads out of the filesystem or to a free cluster, is corrupt.

use crate::error::{Result, corrupt};
use crate::fs::Filesystem;
use crate::table::{Cursor, Link};
use nomount_block::ReadAt;

/// Memory of a run: the list of them may have room for twice as many.
const RUN_BYTES: u64 = 2 * size_of::<Run>() as u64;
/// Runs whose memory is taken at once.
const AT_ONCE: u64 = 1 << 10;

/// Clusters that follow each other on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// Place in the chain of the first.
    at: u32,
    first: u32,
    len: u32,
}

/// The clusters of a file or directory, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    runs: Vec<Run>,
}

impl Chain {
    pub fn len(&self) -> u32 {
        self.runs.last().map_or(0, |run| run.at + run.len)
    }

    pub fn first(&self) -> Option<u32> {
        self.runs.first().map(|run| run.first)
    }

    pub fn last(&self) -> Option<u32> {
        self.runs.last().map(|run| run.first + run.len - 1)
    }

    pub fn push(&mut self, cluster: u32) {
        match self.runs.last_mut() {
            Some(run) if run.first + run.len == cluster => run.len += 1,
            _ => self.runs.push(Run { at: self.len(), first: cluster, len: 1 }),
        }
    }

    /// The cluster at a place in the chain, and how many follow each other on the disk from there.
    pub fn at(&self, place: u32) -> Option<(u32, u32)> {
        let run = self.runs[..self.runs.partition_point(|run| run.at <= place)].last()?;
        let inside = place - run.at;
        (inside < run.len).then(|| (run.first + inside, run.len - inside))
    }

    /// Leaves the first `len` clusters and returns the others.
    pub fn cut(&mut self, len: u32) -> Self {
        let mut rest = Self::default();
        for cluster in self.clusters().skip(len as usize) {
            rest.push(cluster);
        }
        self.runs.retain_mut(|run| {
            run.len = run.len.min(len.saturating_sub(run.at));
            run.len > 0
        });
        rest
    }

    pub fn clusters(&self) -> impl Iterator<Item = u32> {
        self.runs.iter().flat_map(|run| run.first..run.first + run.len)
    }
}

impl<D: ReadAt> Filesystem<D> {
    /// The chain that begins at `first`, none where it is 0; no longer than `most` clusters.
    pub(crate) fn chain(&self, first: u32, most: u32) -> Result<Chain> {
        let mut chain = Chain::default();
        if first == 0 {
            return Ok(chain);
        }
        if !self.shape.has(first) {
            return Err(corrupt("directory", format!("contents begin at cluster {first:#x}, which does not exist")));
        }
        let mut cursor = Cursor::default();
        let mut held = self.budget.hold("a chain of clusters");
        // A cluster that is met again, by Brent's method: compared with one that is set at ever longer distances.
        let (mut met, mut steps, mut distance) = (first, 0u32, 1u32);
        let mut cluster = first;
        loop {
            chain.push(cluster);
            if chain.runs.len() as u64 * RUN_BYTES > held.bytes() {
                held.grow(AT_ONCE * RUN_BYTES)?;
            }
            if chain.len() > most {
                return Err(corrupt("table", format!("the chain from cluster {first} is longer than {most} clusters")));
            }
            match self.link(cluster, &mut cursor)? {
                Link::End => return Ok(chain),
                Link::Free => {
                    return Err(corrupt(
                        "table",
                        format!("the chain from cluster {first} leads to the free {cluster}"),
                    ));
                }
                Link::Next(next) => cluster = next,
            }
            if cluster == met {
                return Err(corrupt("table", format!("the chain from cluster {first} comes back to {cluster}")));
            }
            steps += 1;
            if steps == distance {
                (met, steps, distance) = (cluster, 0, distance.saturating_mul(2));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_cut_and_looked_up_by_place() {
        let mut chain = Chain::default();
        [5, 6, 7, 3, 4, 9].into_iter().for_each(|cluster| chain.push(cluster));
        assert_eq!((chain.len(), chain.first(), chain.last(), chain.runs.len()), (6, Some(5), Some(9), 3));
        let places: Vec<_> = (0..7).map(|place| chain.at(place)).collect();
        let wanted = [(5, 3), (6, 2), (7, 1), (3, 2), (4, 1), (9, 1)];
        assert_eq!(places, wanted.map(Some).into_iter().chain([None]).collect::<Vec<_>>());
        let rest = chain.cut(4);
        assert_eq!(chain.clusters().collect::<Vec<_>>(), [5, 6, 7, 3]);
        assert_eq!(rest.clusters().collect::<Vec<_>>(), [4, 9]);
        assert_eq!(chain.cut(0).len(), 4);
        assert_eq!((chain.len(), chain.last()), (0, None));
    }
}
