//! Log directories and partitions' directories as lists.

use std::collections::BTreeSet;
use std::path::Path;

use logrun_io::OpenMode;
use logrun_io::disk::read_all;
use logrun_log::{
    DirKind, LOG_START_OFFSET_CHECKPOINT, OffsetIndex, PARTITION_METADATA, PartitionDir, PartitionMetadata, Walker,
    parse_segment_name, segment_path,
};
use logrun_model::Offset;

use super::{Show, ShowError, io_error, walk_error};
use crate::schema::Json;
use crate::survey::LogDirectory;

impl Show<'_> {
    pub(super) fn log_dir(&mut self, dir: &LogDirectory) -> Result<(), ShowError> {
        self.sink.section(&dir.path, "log directory")?;
        let meta = dir.meta.as_ref().and_then(|meta| meta.as_ref().ok());
        self.sink.row(vec![
            ("clusterId", meta.map(|m| m.cluster_id.to_string()).into()),
            ("nodeId", meta.map(|m| i64::from(m.node_id.get())).into()),
            ("directoryId", meta.and_then(|m| m.directory_id).map(|id| id.to_string()).into()),
            ("cleanShutdown", dir.clean_shutdown.into()),
            ("partitions", (dir.partitions.len() as i64).into()),
        ])?;
        self.sink.section(&dir.path, "partitions")?;
        let mut partitions: Vec<&PartitionDir> = dir.partitions.iter().collect();
        partitions.sort_by(|a, b| a.partition.cmp(&b.partition));
        for partition in partitions {
            self.partition_row(dir, partition)?;
        }
        Ok(())
    }

    fn partition_row(&mut self, dir: &LogDirectory, partition: &PartitionDir) -> Result<(), ShowError> {
        let path = &partition.path;
        let bases = self.segments(path)?;
        let mut bytes = 0;
        for base in &bases {
            let log = segment_path(path, *base, ".log");
            bytes += self.disk.info(&log).map_err(io_error(&log))?.map_or(0, |info| info.len);
        }
        let end = match bases.last() {
            Some(base) => {
                self.end_offset(path, *base).map_or_else(|e| Json::Text(e.to_string()), |end| end.get().into())
            }
            None => Json::Null,
        };
        let metadata = path.join(PARTITION_METADATA);
        let metadata = read_all(&**self.disk, &metadata).map_err(io_error(&metadata))?;
        let topic_id =
            metadata.and_then(|bytes| PartitionMetadata::decode(&bytes).ok()).map(|m| m.topic_id.to_string());
        let start = dir.checkpoint(LOG_START_OFFSET_CHECKPOINT, &partition.partition);
        let start = start.max(bases.first().copied());
        let kind = match partition.kind {
            DirKind::Current => "current",
            DirKind::Delete => "delete",
            DirKind::Future => "future",
            DirKind::Stray => "stray",
        };
        self.sink.row(vec![
            ("topic", partition.partition.topic.as_str().into()),
            ("partition", i64::from(partition.partition.partition).into()),
            ("kind", kind.into()),
            ("segments", (bases.len() as i64).into()),
            ("logStartOffset", start.map(Offset::get).into()),
            ("logEndOffset", end),
            ("bytes", (bytes as i64).into()),
            ("topicId", topic_id.into()),
        ])?;
        Ok(())
    }

    /// The base offsets of a partition's segments.
    pub(super) fn segments(&self, path: &Path) -> Result<Vec<Offset>, ShowError> {
        let entries = self.disk.list(path).map_err(io_error(path))?;
        let logs = entries.iter().filter_map(|e| parse_segment_name(&e.name)).filter(|(_, suffix)| *suffix == ".log");
        Ok(logs.map(|(base, _)| base).collect())
    }

    /// Where the segment ends: from the last entry of its index on, batches are walked until there are no more.
    fn end_offset(&self, dir: &Path, base: Offset) -> Result<Offset, ShowError> {
        let path = segment_path(dir, base, ".log");
        let file = self.disk.open(&path, OpenMode::Read).map_err(io_error(&path))?;
        let len = file.len().map_err(io_error(&path))?;
        let index_path = segment_path(dir, base, ".index");
        let index = read_all(&**self.disk, &index_path).map_err(io_error(&index_path))?.unwrap_or_default();
        let (index, _) = OffsetIndex::parse(base, &index, len);
        let mut walker = Walker::headers(file, index.last().1, len);
        let mut end = base;
        // What follows the last batch, if anything, is what a kill leaves.
        while let Ok(Some(span)) = walker.next_span() {
            end = span.next_offset();
        }
        Ok(end)
    }

    pub(super) fn partition(&mut self, path: &Path) -> Result<(), ShowError> {
        let bases = self.segments(path)?;
        if self.options.records {
            for base in bases {
                self.batches(&segment_path(path, base, ".log"))?;
            }
            return Ok(());
        }
        self.sink.section(path, "segments")?;
        for base in bases {
            let log = segment_path(path, base, ".log");
            self.segment_row(&log, base)?;
        }
        let entries = self.disk.list(path).map_err(io_error(path))?;
        for entry in entries.iter().filter(|e| parse_segment_name(&e.name).is_none() && !e.is_dir) {
            if !entry.name.contains(".checkpoint") {
                self.text(&path.join(&entry.name), &entry.name)?;
            }
        }
        Ok(())
    }

    fn segment_row(&mut self, path: &Path, base: Offset) -> Result<(), ShowError> {
        let file = self.disk.open(path, OpenMode::Read).map_err(io_error(path))?;
        let len = file.len().map_err(io_error(path))?;
        let mut walker = Walker::headers(file, 0, len);
        let (mut batches, mut records, mut end, mut max) = (0, 0, base, None);
        let (mut codecs, mut producers) = (BTreeSet::new(), BTreeSet::new());
        let tail = loop {
            match walker.next_span() {
                Ok(Some(span)) => {
                    batches += 1;
                    end = span.next_offset();
                    max = max.max(Some(span.max_timestamp.get()));
                    if let Some(h) = span.header {
                        records += i64::from(h.records_count);
                        codecs.insert(h.attributes.compression().map_or("unknown", |codec| codec.name()));
                        if h.has_producer_id() {
                            producers.insert(h.producer_id);
                        }
                    }
                }
                Ok(None) => break 0,
                Err(logrun_log::WalkError::NotABatch { position, .. }) => break len - position,
                Err(e) => return Err(walk_error(path, e)),
            }
        };
        let codecs: Vec<&str> = codecs.into_iter().collect();
        self.sink.row(vec![
            ("baseOffset", base.get().into()),
            ("endOffset", end.get().into()),
            ("batches", batches.into()),
            ("records", records.into()),
            ("bytes", (len as i64).into()),
            ("codecs", codecs.join(",").into()),
            ("producers", (producers.len() as i64).into()),
            ("maxTimestamp", max.into()),
            ("bytesBehind", (tail as i64).into()),
        ])?;
        Ok(())
    }
}
