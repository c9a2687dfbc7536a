//! `meta.properties`: to which cluster and node a log directory belongs (Kafka's `MetaProperties`, KIP-858).
//!
//! A Java properties file of version 1 (KRaft). Version 0 is of ZooKeeper times and has no node id under
//! this name.

use logrun_model::{DirectoryId, NodeId, Str};

use super::{MalformedFile, malformed, text};

/// The file's name in each log directory.
pub const META_PROPERTIES: &str = "meta.properties";

/// The contents of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    pub cluster_id: Str,
    pub node_id: NodeId,
    /// Distinct for each directory; missing in what Kafka before 3.7 formatted.
    pub directory_id: Option<DirectoryId>,
}

impl MetaProperties {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = String::from("#\n");
        out.push_str(&format!("cluster.id={}\n", escape(&self.cluster_id)));
        if let Some(id) = self.directory_id {
            out.push_str(&format!("directory.id={id}\n"));
        }
        out.push_str(&format!("node.id={}\nversion=1\n", self.node_id));
        out.into_bytes()
    }

    pub fn decode(file: &[u8]) -> Result<Self, MalformedFile> {
        let (mut version, mut cluster_id, mut node_id, mut directory_id) = (None, None, None, None);
        let mut count = 0;
        for (i, line) in text(file)?.lines().enumerate() {
            let n = i + 1;
            count = n;
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                return Err(malformed(n, format!("`{line}` is not a key and a value")));
            };
            let value = unescape(value.trim());
            match key.trim() {
                "version" => version = Some((n, value)),
                "cluster.id" => cluster_id = Some(value),
                "node.id" => {
                    let id = value.parse::<i32>().ok().filter(|id| *id >= 0);
                    node_id = Some(NodeId(id.ok_or_else(|| malformed(n, format!("node.id `{value}` is no id")))?));
                }
                "directory.id" => {
                    directory_id =
                        Some(value.parse::<DirectoryId>().map_err(|e| malformed(n, format!("directory.id {e}")))?);
                }
                // Kafka keeps keys that it does not know to itself, too.
                _ => {}
            }
        }
        match version {
            Some((_, v)) if v == "1" => {}
            Some((n, v)) if v == "0" => {
                return Err(malformed(
                    n,
                    "version 0 is of a Kafka that used ZooKeeper; migrate it to KRaft with Kafka 3.9 first",
                ));
            }
            Some((n, v)) => return Err(malformed(n, format!("version `{v}` is not known"))),
            None => return Err(malformed(count, "`version` is missing")),
        }
        Ok(Self {
            cluster_id: Str::from(cluster_id.ok_or_else(|| malformed(count, "`cluster.id` is missing"))?),
            node_id: node_id.ok_or_else(|| malformed(count, "`node.id` is missing"))?,
            directory_id,
        })
    }
}

fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '=' | ':' | '#' | '!' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        // Ids have none of the escapes that stand for another character.
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kafka_writes() {
        let text = b"#\n#Sat Nov 21 10:00:00 UTC 2026\ncluster.id=4L6g3nShT-eMCtK--X86sw\n\
            directory.id=lCGGcxIPSJOlTQP3iH0S4A\nnode.id=1\nversion=1\n";
        let m = MetaProperties::decode(text).unwrap();
        assert_eq!(m.cluster_id, "4L6g3nShT-eMCtK--X86sw");
        assert_eq!(m.node_id, NodeId(1));
        assert_eq!(m.directory_id.unwrap().to_string(), "lCGGcxIPSJOlTQP3iH0S4A");
        assert_eq!(MetaProperties::decode(&m.encode()).unwrap(), m);
    }

    #[test]
    fn escapes_as_java_does() {
        let m = MetaProperties { cluster_id: Str::from("a=b:c\\d"), node_id: NodeId(7), directory_id: None };
        assert_eq!(MetaProperties::decode(&m.encode()).unwrap(), m);
    }

    #[test]
    fn says_what_is_missing() {
        for (bad, what) in [
            ("version=1\nnode.id=1\n", "cluster.id"),
            ("version=1\ncluster.id=x\n", "node.id"),
            ("cluster.id=x\nnode.id=1\n", "version"),
            ("version=0\ncluster.id=x\nbroker.id=1\n", "ZooKeeper"),
            ("version=1\ncluster.id=x\nnode.id=-3\n", "-3"),
            ("nonsense\n", "nonsense"),
        ] {
            let e = MetaProperties::decode(bad.as_bytes()).unwrap_err();
            assert!(e.reason.contains(what), "{bad:?}: {e}");
        }
    }
}
