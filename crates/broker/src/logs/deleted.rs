//! Logs of deleted partitions: another name at once, and the files go later (`LogManager.asyncDelete`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use logrun_log::{DirKind, LogError, Removals, dir_name};
use logrun_model::{Monotonic, Now, TopicIdPartition, TopicPartition};
use tracing::{error, warn};

use super::Logs;
use crate::partitions::Partition;

impl Logs {
    /// Deletes an open partition: its directory gets another name now and goes `delay_ms` later.
    pub fn delete(&self, partition: &Arc<Partition>, now: Now, delay_ms: i64) -> Result<(), LogError> {
        let name = dir_name(&partition.name, DirKind::Delete, self.env.io.random.uuid());
        let removals = partition.delete(now, &name)?;
        self.gone(partition.id);
        self.removals.lock().push((now.monotonic.plus_ms(delay_ms), removals));
        Ok(())
    }

    /// Deletes a partition whose log is not open, as [`Self::delete`] does.
    pub fn delete_at_rest(
        &self,
        id: TopicIdPartition,
        name: &TopicPartition,
        on_disk: bool,
        now: Now,
        delay_ms: i64,
    ) -> Result<(), LogError> {
        if on_disk {
            let path = self.path_of(id, name)?;
            if self.owner_of(&path)?.is_none_or(|owner| owner == id.topic_id) {
                let to = self.rename(&path, name, DirKind::Delete)?;
                let removals = Removals::of_dir(self.env.io.disk.clone(), to);
                self.removals.lock().push((now.monotonic.plus_ms(delay_ms), removals));
            } else {
                self.rename(&path, name, DirKind::Stray)?;
                warn!(partition = %name, "a log of another topic of this name is set aside as a stray");
            }
        }
        self.gone(id);
        Ok(())
    }

    fn gone(&self, id: TopicIdPartition) {
        let dir = self.placed.lock().remove(&id);
        if let Some(dir) = dir {
            self.dirs.lock().removed(dir);
        }
    }

    /// Gives the directory of a log that is not open the name of one of `kind`. On the device when this returns.
    pub(super) fn rename(&self, path: &Path, name: &TopicPartition, kind: DirKind) -> Result<PathBuf, LogError> {
        let disk = &self.env.io.disk;
        let to = path.with_file_name(dir_name(name, kind, self.env.io.random.uuid()));
        let parent = path.parent().unwrap_or(Path::new(""));
        let renamed = disk.rename(path, &to).and_then(|()| disk.sync_dir(parent));
        renamed.map_err(|e| LogError::Io { action: "rename", path: path.to_path_buf(), source: e.into() })?;
        Ok(to)
    }

    /// Removes the files of deleted partitions whose delay is over. Waits for the disk.
    pub fn remove_deleted(&self, now: Now) {
        let due = {
            let mut removals = self.removals.lock();
            let (due, later) = std::mem::take(&mut *removals).into_iter().partition(|(at, _)| *at <= now.monotonic);
            *removals = later;
            due
        };
        self.remove(due);
    }

    /// Removes the files of all deleted partitions. Waits for the disk.
    pub fn remove_deleted_at_once(&self) {
        let all = std::mem::take(&mut *self.removals.lock());
        self.remove(all);
    }

    fn remove(&self, due: Vec<(Monotonic, Removals)>) {
        for (_, removals) in due {
            if let Err(e) = removals.run() {
                error!("files of a deleted partition can't be removed: {e}");
            }
        }
    }
}
