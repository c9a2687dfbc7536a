//! What a consumer and a share consumer are both made of: the place where the application and the task in the background
//! meet ([`Shared`]), how that task asks the coordinator, a broker and for the names of topics, and when it asks for
//! metadata again. It knows neither's protocol, and decides nothing about records.

mod heartbeats;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use logrun_model::{Monotonic, NodeId, Str, Uuid};
use logrun_wire::messages::MetadataRequest;
use logrun_wire::messages::metadata_request::MetadataRequestTopic;
use logrun_wire::{ErrorCode, Request, VersionRange};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::cluster::Cluster;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::{Call, Client, CoordinatorKey, Lane, Target};

pub(crate) use heartbeats::Heartbeats;

/// What the application's side and the task have in common: `C` is the state behind the lock, `G` says which group and
/// what else does not change.
pub(crate) struct Shared<C, G> {
    pub client: Client,
    /// Never held over a wait.
    pub core: Mutex<C>,
    /// There is something for the task to look at.
    pub to_task: Notify,
    /// There is something for the application to look at. Only those who wait already are woken.
    pub to_app: Notify,
    pub group: G,
}

/// How the application and the task stand to each other; a part of each core.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    /// The poll that is under way, or else the next one, is to end.
    pub woken: bool,
    /// The application waits in a poll, which is as good as polling.
    pub polling: bool,
    /// The member has left, as it was asked to.
    pub gone: bool,
    /// How many wait for that.
    pub leaving: usize,
    /// The consumer is being closed: the task ends when nothing is left to do.
    pub closing: bool,
    /// The task has ended.
    pub ended: bool,
}

impl<C, G> Shared<C, G> {
    pub fn new(client: Client, core: C, group: G) -> Self {
        Self { client, core: Mutex::new(core), to_task: Notify::new(), to_app: Notify::new(), group }
    }

    pub fn now(&self) -> Monotonic {
        self.client.io().clock.now()
    }

    /// Changes the core, and lets the task look at it.
    pub fn change<T>(&self, f: impl FnOnce(&mut C, Monotonic) -> T) -> T {
        let result = f(&mut self.core.lock(), self.now());
        self.to_task.notify_one();
        result
    }

    /// Waits until `changed`, which is a wake-up of `to_app`; false if `deadline` comes first.
    pub async fn wait(&self, changed: impl Future<Output = ()>, deadline: Deadline) -> bool {
        tokio::select! {
            biased;
            () = changed => true,
            () = self.client.io().clock.sleep_until(deadline.at()) => false,
        }
    }

    /// What `found` finds in the core, as soon as it finds something; `None` if `deadline` comes first.
    pub async fn until<T>(&self, deadline: Deadline, mut found: impl FnMut(&mut C) -> Option<T>) -> Option<T> {
        loop {
            let changed = self.to_app.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let t = found(&mut self.core.lock());
            if t.is_some() || !self.wait(changed, deadline).await {
                return t;
            }
        }
    }

    /// Comes at this time, if it is one.
    pub async fn alarm(&self, at: Option<Monotonic>) {
        match at {
            Some(at) => self.client.io().clock.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

impl<C: AsMut<Flags>, G> Shared<C, G> {
    /// The task's last word.
    pub fn ended(&self) {
        self.core.lock().as_mut().ended = true;
        self.to_app.notify_waiters();
    }
}

/// Ends a poll from elsewhere: `Consumer::waker`, `ShareConsumer::waker`.
#[derive(Clone)]
pub struct Waker(Arc<dyn Wake>);

trait Wake: Send + Sync {
    fn wake(&self);
}

impl<C: AsMut<Flags> + Send, G: Send + Sync> Wake for Shared<C, G> {
    fn wake(&self) {
        self.core.lock().as_mut().woken = true;
        self.to_app.notify_waiters();
    }
}

impl Waker {
    pub(crate) fn of<C: AsMut<Flags> + Send + 'static, G: Send + Sync + 'static>(shared: &Arc<Shared<C, G>>) -> Self {
        Self(shared.clone())
    }

    /// The poll that is under way, or else the next one, ends with [`Error::Woken`].
    pub fn wake(&self) {
        self.0.wake();
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

/// A poll that is under way; its end, however it comes.
pub(crate) struct Polling<'a, C: AsMut<Flags>, G>(pub &'a Shared<C, G>);

impl<C: AsMut<Flags>, G> Drop for Polling<'_, C, G> {
    fn drop(&mut self) {
        self.0.core.lock().as_mut().polling = false;
    }
}

/// Somebody waits until the member has left; the end of that, however it comes.
pub(crate) struct Leaving<'a, C: AsMut<Flags>, G>(&'a Shared<C, G>);

impl<'a, C: AsMut<Flags>, G> Leaving<'a, C, G> {
    pub fn of(shared: &'a Shared<C, G>) -> Self {
        shared.core.lock().as_mut().leaving += 1;
        Self(shared)
    }
}

impl<C: AsMut<Flags>, G> Drop for Leaving<'_, C, G> {
    fn drop(&mut self) {
        self.0.core.lock().as_mut().leaving -= 1;
    }
}

/// Topics of which only the ids are known. They are asked for all together, one question at a time.
#[derive(Debug, Default)]
pub(crate) struct Unnamed(BTreeSet<Uuid>);

impl Unnamed {
    /// From now on these are the ones. What to ask for, unless a question is under way.
    pub fn want(&mut self, ids: BTreeSet<Uuid>) -> Option<BTreeSet<Uuid>> {
        let ask = (self.0.is_empty() && !ids.is_empty()).then(|| ids.clone());
        self.0 = ids;
        ask
    }

    /// The answer to the question. What to ask for again.
    pub fn answered(&mut self, names: &[(Uuid, Str)]) -> Option<BTreeSet<Uuid>> {
        self.0.retain(|id| !names.iter().any(|(named, _)| named == id));
        (!self.0.is_empty()).then(|| self.0.clone())
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// When to ask for metadata because something is missing in it, at growing distances.
#[derive(Debug, Default)]
pub(crate) struct MetadataRetry {
    due: Monotonic,
    failures: u32,
}

impl MetadataRetry {
    /// Whether to ask now.
    pub fn is_due(&mut self, now: Monotonic, missing: bool, client: &Client) -> bool {
        if !missing {
            self.failures = 0;
        }
        let is_due = missing && self.due <= now;
        if is_due {
            self.due = now.plus(client.backoff(self.failures));
            self.failures = self.failures.saturating_add(1);
        }
        is_due
    }

    /// When that may be.
    pub fn next_deadline(&self, missing: bool) -> Option<Monotonic> {
        missing.then_some(self.due)
    }
}

/// What the cluster has against topics that the application named.
pub(crate) fn refused<'a>(cluster: &Cluster, topics: impl IntoIterator<Item = &'a Str>) -> Vec<Error> {
    let refused = |name: &&Str| {
        let code = cluster.topic(name)?.error;
        let is_final = matches!(code, ErrorCode::TopicAuthorizationFailed | ErrorCode::InvalidTopicException);
        is_final.then(|| Error::Broker { code, message: Some(format!("topic {name}").into()) })
    };
    topics.into_iter().filter_map(|name| refused(&name)).collect()
}

/// The names of topics. What is not known yet is waited for a while, so that whoever asks again does not ask too often.
pub(crate) async fn names(client: &Client, ids: &BTreeSet<Uuid>) -> Vec<(Uuid, Str)> {
    let topic = |id: &Uuid| MetadataRequestTopic { topic_id: *id, name: None, ..Default::default() };
    let request = MetadataRequest {
        topics: Some(ids.iter().map(topic).collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let mut found = Vec::new();
    match client.call(Call::to(Target::Any).versions(12, i16::MAX).once(), request).await {
        Ok(response) => {
            let named = response.topics.into_iter().filter(|t| t.error_code == 0);
            found.extend(named.filter_map(|t| Some((t.topic_id, t.name?.detached()))));
        }
        Err(e) => tracing::debug!("names of topics: {e}"),
    }
    if found.len() < ids.len() {
        client.io().clock.sleep(client.backoff(2)).await;
    }
    found
}

/// One attempt to ask the coordinator of `group`.
pub(crate) async fn to_coordinator<R: Request>(
    client: &Client,
    group: Str,
    request: &R,
    versions: VersionRange,
    timeout: Duration,
) -> Result<R::Response, Error> {
    let key = CoordinatorKey::Group(group);
    let attempt = async {
        let node = client.coordinator(&key).await?;
        let connection = client.node(node, Lane::Coordinator).await?;
        connection.send(request, versions, timeout)?.response().await
    };
    let result = attempt.await;
    if let Err(e) = &result {
        client.learn(&Target::Coordinator(key), e);
    }
    result
}

/// One attempt to ask a broker for records, or about them. All requests of a session go over this one connection.
pub(crate) async fn to_node<R: Request>(
    client: &Client,
    node: NodeId,
    request: &R,
    versions: VersionRange,
    timeout: Duration,
) -> Result<R::Response, Error> {
    let connection = client.node(node, Lane::Fetch).await?;
    connection.send(request, versions, timeout)?.response().await
}
