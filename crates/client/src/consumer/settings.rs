//! From a consumer's options to what its parts are configured with.

use std::sync::Arc;
use std::time::Duration;

use logrun_config::{AutoOffsetReset, ConsumerConfig, IsolationLevel, OffsetReset};
use logrun_model::Str;

use super::assignor::{
    CooperativeStickyAssignor, PartitionAssignor, RangeAssignor, RoundRobinAssignor, StickyAssignor,
};
use super::core;
use super::fetch::{self, fetched::Manner};
use super::membership::{self, Membership, classic::Classic, modern::Modern};
use crate::Client;
use crate::backoff::Backoff;
use crate::error::Error;

/// The assignor of that name: Kafka's class, or what it calls itself.
fn assignor(name: &str) -> Result<Arc<dyn PartitionAssignor>, Error> {
    let short = name.strip_prefix("org.apache.kafka.clients.consumer.").unwrap_or(name);
    Ok(match short {
        "RangeAssignor" | "range" => Arc::new(RangeAssignor),
        "RoundRobinAssignor" | "roundrobin" => Arc::new(RoundRobinAssignor),
        "StickyAssignor" | "sticky" => Arc::new(StickyAssignor),
        "CooperativeStickyAssignor" | "cooperative-sticky" => Arc::new(CooperativeStickyAssignor),
        _ => {
            let known = "range, roundrobin, sticky, cooperative-sticky";
            return Err(Error::Invalid(format!(
                "partition.assignment.strategy: `{name}` is unknown; there are {known} (or Kafka's classes of these)"
            )));
        }
    })
}

fn text(value: &str) -> Option<Str> {
    (!value.is_empty()).then(|| value.into())
}

/// What a consumer is made of.
pub(crate) struct Parts {
    pub core: core::Settings,
    pub reset: Option<OffsetReset>,
    pub membership: Option<Membership>,
    pub fetch: fetch::Settings,
    pub group_id: Option<Str>,
    pub instance_id: Option<Str>,
}

/// Reads the options. `more` are assignors of the program's own, preferred to those that are configured.
pub(crate) fn parts(
    client: &Client,
    config: &ConsumerConfig,
    is_auto_commit_set: bool,
    more: Vec<Arc<dyn PartitionAssignor>>,
) -> Result<Parts, Error> {
    let group_id = config.group_id.as_deref().and_then(text);
    if group_id.is_none() && config.enable_auto_commit && is_auto_commit_set {
        return Err(Error::Invalid("enable.auto.commit needs a group.id to commit for".to_owned()));
    }
    let instance_id = config.group_instance_id.as_deref().and_then(text);
    let rack = text(&config.client_rack);
    let common = client.config();
    let backoff = Backoff::new(common.retry_backoff_ms, common.retry_backoff_max_ms);
    let random = client.io().random.clone();
    let mut assignors = more;
    for name in &config.partition_assignment_strategy {
        assignors.push(assignor(name)?);
    }
    if assignors.is_empty() {
        return Err(Error::Invalid("partition.assignment.strategy is empty".to_owned()));
    }
    let modern = config.group_protocol.eq_ignore_ascii_case("consumer");
    let membership = group_id.clone().map(|group_id| {
        let settings = membership::Settings {
            group_id,
            instance_id: instance_id.clone(),
            rack_id: rack.clone(),
            session_timeout_ms: config.session_timeout_ms,
            heartbeat_interval_ms: config.heartbeat_interval_ms,
            max_poll_interval_ms: config.max_poll_interval_ms,
            backoff,
            assignors: assignors.clone(),
            remote_assignor: config.group_remote_assignor.as_deref().and_then(text),
        };
        match modern {
            true => Membership::Modern(Modern::new(settings, random.clone())),
            false => Membership::Classic(Classic::new(settings, random.clone())),
        }
    });
    let read_committed = config.isolation_level == IsolationLevel::ReadCommitted;
    let auto_commit = config.enable_auto_commit && group_id.is_some();
    Ok(Parts {
        core: core::Settings {
            group_id: group_id.clone(),
            auto_commit_interval_ms: auto_commit.then_some(config.auto_commit_interval_ms),
            max_poll_records: usize::try_from(config.max_poll_records).unwrap_or(1).max(1),
            manner: Manner { check_crcs: config.check_crcs, read_committed },
            allow_auto_create_topics: config.allow_auto_create_topics,
            exclude_internal_topics: config.exclude_internal_topics,
            assignors,
        },
        reset: match config.auto_offset_reset {
            AutoOffsetReset::None => None,
            AutoOffsetReset::To(policy) => Some(policy),
        },
        membership,
        fetch: fetch::Settings {
            min_bytes: config.fetch_min_bytes,
            max_bytes: config.fetch_max_bytes,
            max_wait_ms: config.fetch_max_wait_ms,
            partition_max_bytes: config.max_partition_fetch_bytes,
            read_committed,
            rack: rack.unwrap_or_default(),
            replica_max_age: Duration::from_millis(u64::try_from(common.metadata_max_age_ms).unwrap_or(0)),
            backoff,
            random,
        },
        group_id,
        instance_id,
    })
}
