//! Starts after starts: epochs rise, nothing committed is lost, snapshots stand for what they replace.

use std::path::Path;

use logrun_io::disk::SimDisk;
use logrun_io::{Disk, Random};
use logrun_log::LogEnv;
use logrun_metadata::records::MetadataRecord;
use logrun_model::{RaftEpoch, Uuid};
use logrun_raft::{MetadataLog, RaftError};

use crate::support::*;

const DIRECTORY: Uuid = Uuid([42; 16]);

fn format(env: &LogEnv) -> Result<bool, RaftError> {
    MetadataLog::format(&env.io, &data_dir(), &[voter(DIRECTORY)], now())
}

#[tokio::test(start_paused = true)]
async fn each_start_is_an_epoch_of_its_own() {
    let (disk, env) = simulated(1);
    assert!(format(&env).unwrap());
    assert!(!format(&env).unwrap(), "what is there stays");
    let mut written: Vec<MetadataRecord> = Vec::new();
    for start in 1..=6 {
        let mut node = load(&env, &data_dir(), raft_config(DIRECTORY), start == 3).unwrap();
        assert_eq!(node.records, written, "start {start}");
        assert_eq!(node.lead().unwrap(), RaftEpoch(start));
        node.activate().await.unwrap();
        node.register(DIRECTORY, start as u8).await.unwrap();
        node.create(&format!("t{start}"), 2, start as u128).await.unwrap();
        same(node.image(), node.machine.image());
        written = node.records.clone();
        match start % 3 {
            1 => disk.kill(),
            2 => node.log.close(now()).unwrap(),
            _ => disk.crash(&Random::from_seed(start as u64)),
        }
    }
    let node = load(&env, &data_dir(), raft_config(DIRECTORY), false).unwrap();
    assert_eq!(node.image().topics.len(), 6);
    let p = node.image().topics.by_name("t1").unwrap().partition(0).unwrap().clone();
    assert_eq!(p.leader_epoch.get(), 10, "no leader, then a leader, at each of five restarts");
}

/// A quorum whose voters the configuration names is of `kraft.version` 0 until it is raised, and then for good.
#[tokio::test(start_paused = true)]
async fn the_log_names_the_voters_once_kraft_version_is_raised() {
    let (disk, env) = simulated(1);
    MetadataLog::format(&env.io, &data_dir(), &[], now()).unwrap();
    let start = || load(&env, &data_dir(), raft_config(DIRECTORY), false).unwrap();
    let mut node = start();
    assert!(matches!(node.log.raise_kraft_version(now()), Err(RaftError::NotLeader { node: 1 })));
    node.lead().unwrap();
    node.activate().await.unwrap();
    disk.kill();
    let mut node = start();
    node.lead().unwrap();
    assert_eq!((node.log.kraft_version(), node.log.voters()), (0, [].as_slice()));
    node.log.raise_kraft_version(now()).unwrap();
    node.machine.set_next_offset(node.log.end_offset());
    node.register(DIRECTORY, 2).await.unwrap();
    node.create("after", 1, 1).await.unwrap();
    let named = [voter(DIRECTORY)];
    assert_eq!((node.log.kraft_version(), node.log.voters()), (1, named.as_slice()));
    disk.crash(&Random::from_seed(1));
    for snapshot in [true, false] {
        let mut node = start();
        assert_eq!((node.log.kraft_version(), node.log.voters()), (1, named.as_slice()));
        assert_eq!(node.image().topics.len(), 1);
        node.lead().unwrap();
        if snapshot {
            node.log.write_snapshot(node.loader.image(), now()).unwrap();
        }
        disk.kill();
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_of_another_id_is_refused() {
    let (_, env) = simulated(1);
    format(&env).unwrap();
    let mut config = raft_config(DIRECTORY);
    config.voter.id = logrun_model::NodeId(2);
    assert!(matches!(load(&env, &data_dir(), config, false), Err(RaftError::OtherVoters { node: 2, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_stands_for_what_it_replaces() {
    let (disk, env) = simulated(1);
    format(&env).unwrap();
    let mut config = raft_config(DIRECTORY);
    config.segment_bytes = 10_000;
    config.max_record_bytes_between_snapshots = 12_000;
    let mut expected = None;
    for start in 1..=4u8 {
        let mut node = load(&env, &data_dir(), config.clone(), false).unwrap();
        if let Some(expected) = &expected {
            same(node.image(), expected);
            same(node.machine.image(), expected);
        }
        node.lead().unwrap();
        node.activate().await.unwrap();
        node.register(DIRECTORY, start).await.unwrap();
        for t in 0..40 {
            node.create(&format!("t{start}-{t}"), 1, u128::from(start) * 100 + t).await.unwrap();
            if node.log.wants_snapshot() {
                let image = node.image().clone();
                node.log.write_snapshot(&image, now()).unwrap();
                node.log.clean_up(now()).unwrap();
            }
        }
        expected = Some(node.image().clone());
        if start == 2 { disk.crash(&Random::from_seed(3)) } else { node.log.close(now()).unwrap() }
    }
    let names: Vec<String> =
        disk.list(Path::new("/data/__cluster_metadata-0")).unwrap().into_iter().map(|e| e.name).collect();
    let count = |suffix: &str| names.iter().filter(|n| n.ends_with(suffix)).count();
    assert_eq!(count(".checkpoint"), 2, "{names:?}");
    assert!(!names.contains(&"00000000000000000000.log".to_string()), "{names:?}");
}

/// One life of a node, which ends when the disk does.
async fn life(
    env: &LogEnv,
    incarnation: u8,
    acknowledged: &mut Vec<String>,
    epochs: &mut Vec<RaftEpoch>,
) -> Result<(), RaftError> {
    format(env)?;
    let mut config = raft_config(DIRECTORY);
    config.segment_bytes = 1500;
    let mut node = load(env, &data_dir(), config, false)?;
    for name in acknowledged.iter() {
        assert!(node.image().topics.id_of(name).is_some(), "{name} is lost");
    }
    let epoch = node.lead()?;
    assert!(epochs.iter().all(|e| *e < epoch), "epoch {epoch} was led before: {epochs:?}");
    epochs.push(epoch);
    node.activate().await?;
    assert_eq!(node.image().metadata_version().0, 30);
    node.register(DIRECTORY, incarnation).await?;
    for t in 0..3u8 {
        let name = format!("t{incarnation}-{t}");
        node.create(&name, 1, u128::from(incarnation) * 100 + u128::from(t)).await?;
        acknowledged.push(name);
        if t == 1 {
            let image = node.image().clone();
            node.log.write_snapshot(&image, now())?;
            node.log.clean_up(now())?;
        }
    }
    node.log.close(now())
}

/// The world stops at each mutation of a life in turn, by death or by power cut; the lives after go on from there.
async fn stops_everywhere(power_cut: bool) {
    let whole = {
        let (disk, env) = simulated(9);
        life(&env, 1, &mut Vec::new(), &mut Vec::new()).await.unwrap();
        disk.counts().mutations
    };
    assert!(whole > 20, "{whole}");
    for n in 1..=whole {
        let (disk, env) = simulated(n);
        let (mut acknowledged, mut epochs) = (Vec::new(), Vec::new());
        disk.halt_at(n);
        assert!(life(&env, 1, &mut acknowledged, &mut epochs).await.is_err() || n == whole);
        let stop = |disk: &SimDisk, seed| if power_cut { disk.crash(&Random::from_seed(seed)) } else { disk.kill() };
        stop(&disk, n);
        disk.halt_at(disk.counts().mutations + 1 + n / 2);
        let _ = life(&env, 2, &mut acknowledged, &mut epochs).await;
        stop(&disk, n + 1);
        life(&env, 3, &mut acknowledged, &mut epochs).await.unwrap_or_else(|e| panic!("stopped at {n}: {e}"));
    }
}

#[tokio::test(start_paused = true)]
async fn survives_death_at_every_write() {
    stops_everywhere(false).await;
}

#[tokio::test(start_paused = true)]
async fn survives_a_power_cut_at_every_write() {
    stops_everywhere(true).await;
}

/// Found by the simulation: a process that was killed while it formatted left the log's directory in the page cache only;
/// the next one found it, built on it, and a power cut took all of it.
#[test]
fn a_directory_that_a_killed_process_made_outlives_a_power_cut_once_it_was_found() {
    for seed in 0..50 {
        let (disk, env) = simulated(seed);
        format(&env).unwrap();
        let dir = data_dir().join("__cluster_metadata-0");
        // As if the process had been killed before it synced the name: it is there, and not on the device.
        let moved = data_dir().join("moved");
        disk.rename(&dir, &moved).unwrap();
        disk.sync_dir(&data_dir()).unwrap();
        disk.rename(&moved, &dir).unwrap();
        disk.kill();
        assert!(!format(&env).unwrap());
        disk.crash(&Random::from_seed(seed));
        assert!(disk.info(&dir).unwrap().is_some(), "seed {seed}");
    }
}
