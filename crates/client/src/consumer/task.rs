//! The task behind a consumer: does the work that [`Core`] says is due, and brings back what came of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use logrun_model::Str;
use logrun_wire::messages::{ConsumerGroupHeartbeatRequest, JoinGroupRequest};
use logrun_wire::{Request as WireRequest, VersionRange};

use super::commits::Commits;
use super::core::{Core, Done, Work};
use super::fetch::{Fetcher, Planned};
use super::membership::{Reply, Request};
use super::offsets;
use crate::error::Error;
use crate::{CoordinatorKey, group};

/// The group of a consumer, if it has one, and what else its two sides share.
pub(crate) struct Group {
    pub id: Option<Str>,
    pub instance_id: Option<Str>,
    pub read_committed: bool,
    pub commits: Commits,
}

impl Group {
    /// # Errors
    /// Without a `group.id`.
    pub fn required(&self) -> Result<Str, Error> {
        self.id.clone().ok_or_else(|| Error::Invalid("commits need a group.id".to_owned()))
    }
}

pub(crate) type Shared = group::Shared<Core, Group>;

type Running = FuturesUnordered<BoxFuture<'static, Done>>;

/// Runs until the consumer is closed.
pub(crate) async fn run(shared: Arc<Shared>) {
    let clock = shared.client.io().clock.clone();
    let mut watch = shared.client.watch();
    let (mut running, mut last) = (Running::new(), Running::new());
    let first = watch.current();
    shared.core.lock().cluster_changed(clock.now(), first);
    loop {
        let now = clock.read();
        let (work, deadline, ends, news) = {
            let mut core = shared.core.lock();
            let work = core.turn(now);
            (work, core.next_deadline(now.monotonic), core.is.closing && core.is.gone, core.has_news())
        };
        if news {
            shared.to_app.notify_waiters();
        }
        for work in work {
            start(&shared, work, &running, &last);
        }
        if ends {
            break;
        }
        tokio::select! {
            biased;
            Some(done) = running.next(), if !running.is_empty() => shared.core.lock().done(clock.now(), done),
            Some(_) = last.next(), if !last.is_empty() => {}
            cluster = watch.changed() => match cluster {
                Some(cluster) => shared.core.lock().cluster_changed(clock.now(), cluster),
                None => break,
            },
            () = shared.to_task.notified() => {}
            () = shared.alarm(deadline) => {}
        }
    }
    let goodbyes = shared.core.lock().fetcher.close();
    for planned in goodbyes {
        last.push(Box::pin(fetch(shared.clone(), planned)));
    }
    // What says goodbye is sent and waited for; nothing else matters any more.
    drop(running);
    tokio::select! {
        biased;
        () = async { while last.next().await.is_some() {} } => {}
        () = clock.sleep(shared.client.request_timeout()) => {}
    }
    shared.ended();
}

fn start(shared: &Arc<Shared>, work: Work, running: &Running, last: &Running) {
    let s = shared.clone();
    match work {
        Work::Send(number, request) => {
            let goodbye = match &request {
                Request::Leave(_) => true,
                Request::ConsumerHeartbeat(r) => r.member_epoch < 0,
                _ => false,
            };
            let into = if goodbye { last } else { running };
            into.push(Box::pin(send(s, number, request)));
        }
        Work::ForgetCoordinator => {
            if let Some(group) = &s.group.id {
                s.client.forget_coordinator(&CoordinatorKey::Group(group.clone()));
            }
        }
        Work::Fetch(planned) => running.push(Box::pin(fetch(s, planned))),
        Work::Committed(partitions) => running.push(Box::pin(async move {
            let group = s.group.id.clone().unwrap_or_default();
            let identity = || s.core.lock().identity();
            let result = offsets::committed(&s.client, &group, identity, &partitions, None).await;
            if result.is_err() {
                s.client.io().clock.sleep(s.client.backoff(0)).await;
            }
            Done::Committed(partitions, result)
        })),
        Work::List(lives, wanted) => running.push(Box::pin(async move {
            let found = offsets::list_once(&s.client, &s.client.cluster(), &wanted, s.group.read_committed).await;
            Done::Listed(lives, found)
        })),
        Work::Validate(positions) => running.push(Box::pin(async move {
            let ends = offsets::ends_of_epochs(&s.client, &s.client.cluster(), &positions).await;
            Done::Validated(positions, ends)
        })),
        Work::Commit(ticket, offsets) => running.push(Box::pin(async move {
            let deadline = s.client.deadline(Some(s.client.request_timeout()));
            Done::AutoCommitted(s.commit(&ticket, &offsets, deadline).await)
        })),
        Work::Assign { protocol, members } => running.push(Box::pin(async move {
            let cluster = s.client.cluster();
            let mut topics = members.iter().flat_map(|(_, m)| &m.topics);
            // Topics that only others want, or that are new. What can't be learnt now has no partitions for now.
            if topics.any(|t| cluster.topic(t).is_none())
                && let Err(e) = s.client.refresh().await
            {
                tracing::debug!("metadata for an assignment: {e}");
            }
            Done::Assign { protocol, members }
        })),
        Work::NameTopics(ids) => {
            running.push(Box::pin(async move { Done::Named(group::names(&s.client, &ids).await) }))
        }
        Work::UpdateMetadata => s.client.request_update(),
        Work::Hints(topic, hints, brokers) => {
            s.client.leader_hints(&topic, &hints, &brokers);
        }
    }
}

async fn fetch(s: Arc<Shared>, planned: Planned) -> Done {
    let wait = Duration::from_millis(u64::try_from(planned.request.max_wait_ms).unwrap_or(0));
    let timeout = s.client.request_timeout() + wait;
    let versions = Fetcher::versions(&planned);
    let result = group::to_node(&s.client, planned.node, &planned.request, versions, timeout).await;
    Done::Fetched(planned.node, result)
}

async fn send(s: Arc<Shared>, number: u64, request: Request) -> Done {
    let timeout = s.client.request_timeout();
    let reply = match request {
        Request::Join(r) => {
            // Answered when all have joined, i.e. after the rebalance time-out of the slowest.
            let wait = Duration::from_millis(u64::try_from(r.rebalance_timeout_ms).unwrap_or(0));
            Reply::Join(to_coordinator::<JoinGroupRequest>(&s, &r, 0, timeout.max(wait + Duration::from_secs(5))).await)
        }
        Request::Sync(r) => Reply::Sync(to_coordinator(&s, &r, 0, timeout).await),
        Request::Heartbeat(r) => Reply::Heartbeat(to_coordinator(&s, &r, 0, timeout).await),
        Request::Leave(r) => {
            if let Err(e) = to_coordinator(&s, &r, 3, timeout).await {
                tracing::debug!("leaving the group: {e}");
            }
            return Done::Nothing;
        }
        Request::ConsumerHeartbeat(r) => {
            let min = i16::from(r.subscribed_topic_regex.is_some());
            let sent = to_coordinator::<ConsumerGroupHeartbeatRequest>(&s, &r, min, timeout);
            Reply::ConsumerHeartbeat(sent.await.map_err(|e| match e {
                Error::Unsupported { address, .. } => Error::Invalid(format!(
                    "{address} doesn't serve the consumer group protocol (KIP-848): use group.protocol=classic"
                )),
                e => e,
            }))
        }
    };
    Done::Answered(number, reply)
}

async fn to_coordinator<R: WireRequest>(
    s: &Shared,
    request: &R,
    min_version: i16,
    timeout: Duration,
) -> Result<R::Response, Error> {
    let group = s.group.id.clone().unwrap_or_default();
    let versions = VersionRange::new(min_version, i16::MAX);
    group::to_coordinator(&s.client, group, request, versions, timeout).await
}
