//! The files and directories of a simulated disk, each as it is and as it is known to be on the device.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

/// The node of `/`.
const ROOT: u64 = 0;

/// A change of a file's contents that is not yet known to be on the device.
#[derive(Clone, Debug)]
pub(super) enum FileOp {
    Write { at: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl FileOp {
    pub fn apply_to(&self, data: &mut Vec<u8>) {
        match self {
            Self::SetLen(len) => data.resize(*len, 0),
            Self::Write { at, bytes } => {
                if data.len() < at + bytes.len() {
                    data.resize(at + bytes.len(), 0);
                }
                data[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct FileNode {
    /// What reads see.
    pub data: Vec<u8>,
    /// What a power cut leaves for sure.
    pub durable: Vec<u8>,
    /// How `durable` becomes `data`.
    pub pending: Vec<FileOp>,
    pub modified_ms: i64,
    handles: u32,
}

impl FileNode {
    pub fn apply(&mut self, op: FileOp) {
        op.apply_to(&mut self.data);
        self.pending.push(op);
    }

    pub fn sync(&mut self) {
        for op in self.pending.drain(..) {
            op.apply_to(&mut self.durable);
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct DirNode {
    pub entries: BTreeMap<String, u64>,
    pub durable: BTreeMap<String, u64>,
}

#[derive(Debug)]
pub(super) enum Node {
    File(FileNode),
    Dir(DirNode),
}

/// A change of names that is not yet known to be on the device.
#[derive(Clone, Debug)]
pub(super) enum NameOp {
    Link { dir: u64, name: String, node: u64 },
    Unlink { dir: u64, name: String, node: u64 },
    Rename { from_dir: u64, from_name: String, to_dir: u64, to_name: String, node: u64, replaced: Option<u64> },
}

impl NameOp {
    /// The directories that must be synced for the change to last. A rename is one change of both.
    pub fn dirs(&self) -> [u64; 2] {
        match self {
            Self::Link { dir, .. } | Self::Unlink { dir, .. } => [*dir, *dir],
            Self::Rename { from_dir, to_dir, .. } => [*from_dir, *to_dir],
        }
    }

    fn nodes(&self) -> [Option<u64>; 2] {
        match self {
            Self::Link { node, .. } | Self::Unlink { node, .. } => [Some(*node), None],
            Self::Rename { node, replaced, .. } => [Some(*node), *replaced],
        }
    }
}

#[derive(Debug)]
pub(super) struct Tree {
    pub nodes: BTreeMap<u64, Node>,
    pub pending: Vec<NameOp>,
    next_node: u64,
    /// There may be nodes that nothing can reach: looked for when their bytes would count.
    has_garbage: bool,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::Dir(DirNode::default()))]),
            pending: Vec::new(),
            next_node: ROOT + 1,
            has_garbage: false,
        }
    }
}

impl Tree {
    pub fn node(&self, id: u64) -> io::Result<&Node> {
        self.nodes.get(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub fn dir(&self, id: u64) -> io::Result<&DirNode> {
        match self.node(id)? {
            Node::Dir(d) => Ok(d),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub fn dir_mut(&mut self, id: u64) -> io::Result<&mut DirNode> {
        match self.nodes.get_mut(&id) {
            Some(Node::Dir(d)) => Ok(d),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub fn file_mut(&mut self, id: u64) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&id) {
            Some(Node::File(f)) => Ok(f),
            Some(Node::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The node at `path`, if there is one. Relative paths start at the root.
    pub fn find(&self, path: &Path) -> io::Result<Option<u64>> {
        let mut at = ROOT;
        for part in path.components() {
            match part {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => match self.dir(at)?.entries.get(text(name)?) {
                    Some(next) => at = *next,
                    None => return Ok(None),
                },
                Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
            }
        }
        Ok(Some(at))
    }

    /// The directory that holds `path`, and the name in it.
    pub fn parent_of(&self, path: &Path) -> io::Result<(u64, String)> {
        let name = text(path.file_name().ok_or(io::ErrorKind::InvalidInput)?)?.to_owned();
        let dir = self.find(path.parent().unwrap_or(Path::new("")))?.ok_or(io::ErrorKind::NotFound)?;
        self.dir(dir)?;
        Ok((dir, name))
    }

    fn add(&mut self, node: Node) -> u64 {
        let id = self.next_node;
        self.next_node += 1;
        self.nodes.insert(id, node);
        id
    }

    pub fn add_file(&mut self, modified_ms: i64) -> u64 {
        self.add(Node::File(FileNode { modified_ms, ..FileNode::default() }))
    }

    pub fn add_dir(&mut self) -> u64 {
        self.add(Node::Dir(DirNode::default()))
    }

    pub fn open(&mut self, id: u64) -> io::Result<()> {
        self.file_mut(id)?.handles += 1;
        Ok(())
    }

    pub fn close(&mut self, id: u64) {
        if let Ok(file) = self.file_mut(id) {
            file.handles -= 1;
            self.has_garbage = true;
        }
    }

    pub fn forget_handles(&mut self) {
        for node in self.nodes.values_mut() {
            if let Node::File(f) = node {
                f.handles = 0;
            }
        }
        self.collect_all();
    }

    /// Makes a change of names that reads see at once.
    pub fn change(&mut self, op: NameOp) -> io::Result<()> {
        self.apply_name(&op, false)?;
        self.pending.push(op);
        Ok(())
    }

    /// The names of one directory reach the device.
    pub fn sync_dir(&mut self, dir: u64) -> io::Result<()> {
        let (synced, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|op| op.dirs().contains(&dir));
        self.pending = rest;
        for op in synced {
            self.apply_name(&op, true)?;
            self.has_garbage = true;
        }
        Ok(())
    }

    /// Applies `op` to the names that reads see, or to those that a power cut leaves.
    pub fn apply_name(&mut self, op: &NameOp, durable: bool) -> io::Result<()> {
        let mut names = |dir: u64, name: &str, node: Option<u64>| -> io::Result<()> {
            let dir = self.dir_mut(dir)?;
            let map = if durable { &mut dir.durable } else { &mut dir.entries };
            match node {
                Some(n) => map.insert(name.to_owned(), n),
                None => map.remove(name),
            };
            Ok(())
        };
        match op {
            NameOp::Link { dir, name, node } => names(*dir, name, Some(*node)),
            NameOp::Unlink { dir, name, .. } => names(*dir, name, None),
            NameOp::Rename { from_dir, from_name, to_dir, to_name, node, .. } => {
                names(*from_dir, from_name, None)?;
                names(*to_dir, to_name, Some(*node))
            }
        }
    }

    /// The bytes of every file that something can reach.
    pub fn used(&mut self) -> u64 {
        if std::mem::take(&mut self.has_garbage) {
            self.collect_all();
        }
        self.nodes.values().map(|n| if let Node::File(f) = n { f.data.len() as u64 } else { 0 }).sum()
    }

    /// Frees whatever no name, no handle and no change to come can reach.
    pub fn collect_all(&mut self) {
        let mut reached = std::collections::BTreeSet::from([ROOT]);
        let mut todo = vec![ROOT];
        todo.extend(self.pending.iter().flat_map(|op| op.nodes()).flatten());
        while let Some(id) = todo.pop() {
            reached.insert(id);
            if let Some(Node::Dir(d)) = self.nodes.get(&id) {
                todo.extend(d.entries.values().chain(d.durable.values()).filter(|n| !reached.contains(n)));
            }
        }
        self.nodes.retain(|id, n| reached.contains(id) || matches!(n, Node::File(f) if f.handles > 0));
    }
}

fn text(name: &std::ffi::OsStr) -> io::Result<&str> {
    name.to_str().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
