//! The task behind a share consumer: does the work that [`Core`] says is due, and brings back what came of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use logrun_model::{NodeId, Str};
use logrun_wire::{ErrorCode, Request};

use super::core::{Core, Done, Work};
use crate::connection::ANY_VERSION;
use crate::error::Error;
use crate::{Client, CoordinatorKey, group};

/// What the application's side and the task have in common: the core, and the group's id.
pub(crate) type Shared = group::Shared<Core, Str>;

type Running = FuturesUnordered<BoxFuture<'static, Done>>;

/// Runs until the consumer is closed: its sessions ended, then the group left.
pub(crate) async fn run(shared: Arc<Shared>) {
    let clock = shared.client.io().clock.clone();
    let mut watch = shared.client.watch();
    let mut running = Running::new();
    let first = watch.current();
    shared.core.lock().cluster_changed(first);
    let mut closes_by = None;
    loop {
        let now = clock.now();
        let (work, deadline, ends, news) = {
            let mut core = shared.core.lock();
            let work = core.turn(now);
            if core.is.closing {
                // Brokers that are gone are not waited for for ever.
                let by = *closes_by.get_or_insert_with(|| now.plus(shared.client.request_timeout()));
                let ends = core.is.gone && work.is_empty() && core.is_quiet();
                (work, core.next_deadline(now).into_iter().chain([by]).min(), ends || now >= by, core.has_news())
            } else {
                (work, core.next_deadline(now), false, core.has_news())
            }
        };
        if news {
            shared.to_app.notify_waiters();
        }
        for work in work {
            start(&shared, work, &running);
        }
        if ends {
            break;
        }
        tokio::select! {
            biased;
            Some(done) = running.next(), if !running.is_empty() => shared.core.lock().done(clock.now(), done),
            cluster = watch.changed() => match cluster {
                Some(cluster) => shared.core.lock().cluster_changed(cluster),
                None => break,
            },
            () = shared.to_task.notified() => {}
            () = shared.alarm(deadline) => {}
        }
    }
    shared.ended();
}

fn start(shared: &Arc<Shared>, work: Work, running: &Running) {
    let s = shared.clone();
    let timeout = s.client.request_timeout();
    match work {
        Work::Heartbeat(number, request) => running.push(Box::pin(async move {
            let sent = group::to_coordinator(&s.client, s.group.clone(), &request, ANY_VERSION, timeout);
            Done::Heartbeat(number, sent.await.map_err(not_served))
        })),
        Work::ForgetCoordinator => s.client.forget_coordinator(&CoordinatorKey::Group(s.group.clone())),
        Work::Fetch(node, request) => running.push(Box::pin(async move {
            let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
            Done::Fetched(node, ask(&s.client, node, &request, timeout + wait).await)
        })),
        Work::Acknowledge(node, request) => running
            .push(Box::pin(async move { Done::Acknowledged(node, ask(&s.client, node, &request, timeout).await) })),
        Work::NameTopics(ids) => {
            running.push(Box::pin(async move { Done::Named(group::names(&s.client, &ids).await) }))
        }
        Work::UpdateMetadata => s.client.request_update(),
        Work::Hints(topic, hints, brokers) => {
            s.client.leader_hints(&topic, &hints, &brokers);
        }
    }
}

/// One attempt. The broker ends the session with the connection.
async fn ask<R: Request>(client: &Client, node: NodeId, request: &R, timeout: Duration) -> Result<R::Response, Error> {
    group::to_node(client, node, request, ANY_VERSION, timeout).await.map_err(not_served)
}

fn not_served(e: Error) -> Error {
    match e {
        Error::Unsupported { address, api, .. } => Error::Broker {
            code: ErrorCode::UnsupportedVersion,
            message: Some(format!("{address} doesn't serve share groups (KIP-932): it has no {api}").into()),
        },
        e => e,
    }
}
