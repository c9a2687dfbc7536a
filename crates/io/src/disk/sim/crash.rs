//! What a power cut leaves of a simulated disk.
//!
//! Contents: each unsynced write stays, goes, or stays in some of its sectors; a length may be on the
//! device before the bytes that it covers (they read as zeros). Names: of each directory's unsynced
//! changes a prefix stays, because file systems journal names in order.

use std::collections::BTreeMap;

use super::SECTOR_BYTES;
use super::tree::{FileNode, FileOp, Node, Tree};
use crate::Random;

impl Tree {
    pub(super) fn crash(&mut self, random: &Random) {
        self.crash_names(random);
        for node in self.nodes.values_mut() {
            match node {
                Node::File(f) => f.crash(random),
                Node::Dir(d) => d.entries = d.durable.clone(),
            }
        }
        self.forget_handles();
    }

    fn crash_names(&mut self, random: &Random) {
        let pending = std::mem::take(&mut self.pending);
        let mut changes: BTreeMap<u64, u64> = BTreeMap::new();
        for dir in pending.iter().flat_map(|op| op.dirs()) {
            *changes.entry(dir).or_default() += 1;
        }
        // How many more of each directory's changes stay.
        let mut left: BTreeMap<u64, u64> = changes.into_iter().map(|(dir, n)| (dir, random.below(n + 1))).collect();
        for op in pending {
            let dirs = op.dirs();
            let stays = dirs.iter().all(|d| left.get(d).is_some_and(|n| *n > 0));
            for d in dirs {
                if let Some(n) = left.get_mut(&d) {
                    // A change that is lost takes the later ones of its directories with it.
                    *n = if stays { n.saturating_sub(1) } else { 0 };
                }
            }
            if stays {
                // Every directory of a pending change is still a node: nothing frees directories before this.
                let _ = self.apply_name(&op, true);
            }
        }
    }
}

impl FileNode {
    fn crash(&mut self, random: &Random) {
        let mut left = std::mem::take(&mut self.durable);
        for op in self.pending.drain(..) {
            // 0: lost, 1: whole, 2: some sectors, 3: only the length.
            let fate = random.below(4);
            match &op {
                _ if fate == 0 => {}
                FileOp::SetLen(_) => op.apply_to(&mut left),
                FileOp::Write { .. } if fate == 1 => op.apply_to(&mut left),
                FileOp::Write { at, bytes } => {
                    if left.len() < at + bytes.len() && (fate == 3 || random.chance(1, 2)) {
                        left.resize(at + bytes.len(), 0);
                    }
                    if fate == 3 {
                        continue;
                    }
                    let mut start = *at;
                    let end = at + bytes.len();
                    while start < end {
                        let stop = ((start / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
                        if random.chance(1, 2) {
                            let sector = bytes[start - at..stop - at].to_vec();
                            FileOp::Write { at: start, bytes: sector }.apply_to(&mut left);
                        }
                        start = stop;
                    }
                }
            }
        }
        self.durable = left;
        self.data = self.durable.clone();
    }
}
