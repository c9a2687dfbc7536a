//! What the broker does about its directories: it looks at the room of their file systems, deletes at once what may go
//! where room is short, and takes the partitions of a failed directory offline (`ReplicaManager.handleLogDirFailure`).
//!
//! The controller is told of failed directories by heartbeats (KIP-858). If it can't be told within
//! `log.dir.failure.timeout.ms`, if the directory of the metadata log has failed, or if no directory is left, the node
//! can't go on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use logrun_io::TaskHandle;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::Directory;
use crate::Broker;
use crate::groups::OFFSETS_TOPIC;
use crate::partitions::{AtRest, Hosted, Known, Partition};

/// How often the room is looked at, and how soon again if somebody asks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Between two attempts to tell the controller.
const TELL_AGAIN: Duration = Duration::from_millis(500);

/// Whom to tell that the node can't go on, and why. The first reason counts.
#[derive(Debug)]
pub struct Fatal(Mutex<Option<oneshot::Sender<String>>>);

impl Fatal {
    pub fn new(tell: oneshot::Sender<String>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(tell))))
    }

    /// The node can't go on.
    pub fn fail(&self, reason: String) {
        if let Some(tell) = self.0.lock().take() {
            error!("the node can't go on: {reason}");
            // Nobody listens any more if the node is being dropped.
            let _ = tell.send(reason);
        }
    }
}

impl Broker {
    /// Looks after the directories for as long as the task lives. `metadata_dir` is where the metadata log lies.
    pub(crate) fn watch_directories(self: &Arc<Self>, metadata_dir: PathBuf) -> TaskHandle<()> {
        let broker = self.clone();
        self.io().tasks.spawn(async move {
            let mut known_failed = 0;
            loop {
                let looking = broker.clone();
                broker.io().tasks.blocking(move || looking.look_at_room()).await;
                let failed = broker.logs().failed_directories();
                if failed.len() > known_failed {
                    known_failed = failed.len();
                    broker.directories_failed(&failed, &metadata_dir).await;
                }
                tokio::select! {
                    biased;
                    () = broker.logs().attention() => broker.io().clock.sleep(LOOK_AGAIN).await,
                    () = broker.io().clock.sleep(LOOK_EVERY) => {}
                }
            }
        })
    }

    /// Looks at what is free on each file system; waits for the disk.
    pub fn look_at_room(self: &Arc<Self>) {
        let setting = self.config().logs.disk_reserve_bytes;
        for room in self.logs().rooms() {
            match self.io().disk.space(room.path()) {
                Ok(mut space) => {
                    // What waits to be written has its room already.
                    space.available = space.available.saturating_sub(self.logs().waiting_bytes(&room));
                    room.looked(self.now(), space, setting);
                    if room.is_refusing() {
                        self.make_room(&room);
                    }
                }
                Err(e) => {
                    for dir in self.logs().directories().iter().filter(|d| d.path == room.path()) {
                        dir.fail(&format!("its file system can't be looked at: {e}"));
                    }
                }
            }
        }
    }

    /// Deletes now what retention and deletions have set free on a full disk; elsewhere that can wait.
    fn make_room(self: &Arc<Self>, room: &Arc<super::Room>) {
        let now = self.now();
        for partition in self.partitions().all_online() {
            if Arc::ptr_eq(partition.directory().room(), room)
                && let Err(e) = partition.clean_up_at_once(now)
            {
                // That there is no room is why we are here.
                if !e.is_retriable() {
                    partition.directory().saw(&e);
                }
                warn!(partition = %partition.name, "old segments can't be deleted: {e}");
            }
        }
        let due = |rest: &AtRest| rest.on_disk && rest.clean && rest.retained_until <= now.wall;
        for id in self.partitions().closed_where(due) {
            if self.logs().directory_of(id).is_some_and(|d| Arc::ptr_eq(d.room(), room)) {
                self.visit(id, |partition| partition.clean_up_at_once(now));
            }
        }
        self.logs().remove_deleted_at_once();
    }

    /// Takes an open partition offline, whose directory has failed.
    pub(crate) fn take_offline(&self, partition: &Partition) {
        let gone = Hosted::Offline(Box::new((partition.directory().path.clone(), partition.at_rest())));
        self.partitions().insert(partition.id, gone);
        partition.directory_failed();
        if partition.name.topic == OFFSETS_TOPIC {
            self.groups().resigned(partition.id.partition);
        }
    }

    /// Takes everything in the failed directories offline and tells the controller.
    async fn directories_failed(self: &Arc<Self>, failed: &[Arc<Directory>], metadata_dir: &Path) {
        let mut offline = 0;
        for (id, known) in self.partitions().all() {
            match known {
                Known::Online(partition) if !partition.directory().is_online() => {
                    self.take_offline(&partition);
                    offline += 1;
                }
                Known::AtRest(rest) => {
                    if let Some(dir) = self.logs().directory_of(id).filter(|d| !d.is_online()) {
                        // Whoever is opening it will find out.
                        self.partitions().rest_offline(id, &dir.path, rest);
                        offline += 1;
                    }
                }
                Known::Online(_) => {}
            }
        }
        self.logs().take_offline(failed);
        let list = |dirs: &[Arc<Directory>]| {
            let paths: Vec<String> = dirs.iter().map(|d| d.path.display().to_string()).collect();
            paths.join(", ")
        };
        if let Some(dir) = failed.iter().find(|d| d.path == metadata_dir) {
            let reason = dir.failure().unwrap_or_default();
            self.fatal().fail(format!("the log directory {} holds the metadata and has failed: {reason}", dir.shown()));
            return;
        }
        if self.logs().directory_ids().is_empty() {
            self.fatal().fail(format!("all log directories have failed: {}", list(failed)));
            return;
        }
        error!(partitions = offline, "partitions are offline because of failed log directories: {}", list(failed));
        let deadline = self.now().monotonic.plus_ms(self.config().logs.dir_failure_timeout_ms);
        while let Err(e) = self.heartbeat(false).await {
            warn!("the controller was not told of the failed log directories: {}", e.code);
            if self.now().monotonic >= deadline {
                self.fatal()
                    .fail(format!("the controller can't be told that log directories have failed: {}", list(failed)));
                return;
            }
            self.io().clock.sleep(TELL_AGAIN).await;
        }
    }
}
