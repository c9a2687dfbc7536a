//! The task behind a share consumer: does the work that [`Core`] says is due, and brings back what came of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use logrun_model::{Monotonic, NodeId, Str};
use logrun_wire::{ErrorCode, Request};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::core::{Core, Done, Work};
use crate::connection::ANY_VERSION;
use crate::consumer::task::{names, to_coordinator_of};
use crate::error::Error;
use crate::{Client, CoordinatorKey, Lane};

/// What the application's side and the task have in common.
pub(crate) struct Shared {
    pub client: Client,
    pub core: Mutex<Core>,
    /// There is something for the task to look at.
    pub to_task: Notify,
    /// There is something for the application to look at. Only those who wait already are woken.
    pub to_app: Notify,
    pub group_id: Str,
}

impl Shared {
    pub fn now(&self) -> Monotonic {
        self.client.io().clock.now()
    }

    /// Changes the core, and lets the task look at it.
    pub fn change<T>(&self, f: impl FnOnce(&mut Core, Monotonic) -> T) -> T {
        let result = f(&mut self.core.lock(), self.now());
        self.to_task.notify_one();
        result
    }
}

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
            if core.closing {
                // Brokers that are gone are not waited for for ever.
                let by = *closes_by.get_or_insert_with(|| now.plus(shared.client.request_timeout()));
                let ends = core.gone && work.is_empty() && core.is_quiet();
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
        let alarm = async {
            match deadline {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(done) = running.next(), if !running.is_empty() => shared.core.lock().done(clock.now(), done),
            cluster = watch.changed() => match cluster {
                Some(cluster) => shared.core.lock().cluster_changed(cluster),
                None => break,
            },
            () = shared.to_task.notified() => {}
            () = alarm => {}
        }
    }
    shared.core.lock().ended = true;
    shared.to_app.notify_waiters();
}

fn start(shared: &Arc<Shared>, work: Work, running: &Running) {
    let s = shared.clone();
    let timeout = s.client.request_timeout();
    match work {
        Work::Heartbeat(number, request) => running.push(Box::pin(async move {
            let group = s.group_id.clone();
            let sent = to_coordinator_of(&s.client, group, &request, ANY_VERSION, timeout);
            Done::Heartbeat(number, sent.await.map_err(not_served))
        })),
        Work::ForgetCoordinator => s.client.forget_coordinator(&CoordinatorKey::Group(s.group_id.clone())),
        Work::Fetch(node, request) => running.push(Box::pin(async move {
            let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
            Done::Fetched(node, ask(&s.client, node, &request, timeout + wait).await)
        })),
        Work::Acknowledge(node, request) => running
            .push(Box::pin(async move { Done::Acknowledged(node, ask(&s.client, node, &request, timeout).await) })),
        Work::NameTopics(ids) => running.push(Box::pin(async move { Done::Named(names(&s.client, &ids).await) })),
        Work::UpdateMetadata => s.client.request_update(),
        Work::Hints(topic, hints, brokers) => s.client.leader_hints(&topic, &hints, &brokers),
    }
}

/// One attempt. All of a session's requests go over one connection: the broker ends the session with it.
async fn ask<R: Request>(client: &Client, node: NodeId, request: &R, timeout: Duration) -> Result<R::Response, Error> {
    let attempt = async {
        let connection = client.node(node, Lane::Fetch).await?;
        connection.send(request, ANY_VERSION, timeout)?.response().await
    };
    attempt.await.map_err(not_served)
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
