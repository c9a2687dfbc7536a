//! `bootstrap.checkpoint`: the records that the metadata of a new cluster begin with, as formatting has chosen them
//! (Kafka's `BootstrapDirectory`). It lies in the log directory itself and is never changed afterwards.

use std::path::Path;

use logrun_io::disk::Disk;
use logrun_metadata::MetadataVersion;
use logrun_metadata::records::MetadataRecord;
use logrun_model::{LeaderEpoch, TimestampMs};

use crate::RaftError;
use crate::snapshot::{self, Snapshot};

/// The file's name in a log directory.
pub const BOOTSTRAP_CHECKPOINT: &str = "bootstrap.checkpoint";

/// The records in `log_dir`'s file; `None` if there is none.
pub fn read_bootstrap(disk: &dyn Disk, log_dir: &Path) -> Result<Option<Vec<MetadataRecord>>, RaftError> {
    Ok(snapshot::read_file(disk, &log_dir.join(BOOTSTRAP_CHECKPOINT))?.map(|(records, _)| records))
}

/// Writes the file; on the device when this returns.
pub fn write_bootstrap(
    disk: &dyn Disk,
    log_dir: &Path,
    metadata_version: MetadataVersion,
    records: &[MetadataRecord],
    now: TimestampMs,
) -> Result<(), RaftError> {
    let contents = Snapshot { voters: &[], metadata_version, records, last_contained: TimestampMs(0) };
    snapshot::write_file(disk, log_dir, BOOTSTRAP_CHECKPOINT, LeaderEpoch(0), &contents, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use logrun_io::disk::RealDisk;
    use logrun_metadata::records::FeatureLevelRecord;

    #[test]
    fn reads_what_it_wrote_and_what_apache_kafka_wrote() {
        let dir = std::env::temp_dir().join(format!("logrun-bootstrap-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let disk = RealDisk::default();
        assert_eq!(read_bootstrap(&disk, &dir).expect("none"), None);
        let record = FeatureLevelRecord { name: "metadata.version".into(), feature_level: 21, ..Default::default() };
        let records = vec![MetadataRecord::from(record)];
        write_bootstrap(&disk, &dir, MetadataVersion(21), &records, TimestampMs(5)).expect("written");
        assert_eq!(read_bootstrap(&disk, &dir).expect("there"), Some(records));
        let kafka = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inspect/tests/kafka-4.3");
        assert_eq!(read_bootstrap(&disk, &kafka).expect("there").map(|records| records.len()), Some(6));
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
