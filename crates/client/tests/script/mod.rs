//! Brokers of a few lines in virtual time: they serve ApiVersions and Metadata, and what a test says of the rest.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use logrun_io::disk::SimDisk;
use logrun_io::{Io, MemoryNet, Stream, TaskHandle};
use logrun_model::Uuid;
use logrun_net::FrameReader;
use logrun_wire::frame::{RequestHeader, decode_request_header, encode_response};
use logrun_wire::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey};
use logrun_wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use logrun_wire::messages::{ApiVersionsResponse, MetadataRequest, MetadataResponse};
use logrun_wire::{ApiKey, Decoder, Message, Piece};
use tokio::io::AsyncWriteExt;

/// A request, as far as it is read.
pub struct Asked {
    pub node: i32,
    pub api: ApiKey,
    pub header: RequestHeader,
    pub body: Decoder,
}

impl Asked {
    /// The request itself.
    pub fn read<M: Message>(&mut self) -> M {
        M::decode(&mut self.body, self.header.request_api_version).expect("a request")
    }

    /// A response to it.
    pub fn answer<M: Message>(&self, response: &M) -> Option<Vec<Bytes>> {
        let (id, version) = (self.header.correlation_id, self.header.request_api_version);
        let pieces = encode_response(id, self.api, version, response).expect("a response");
        pieces.into_iter().map(Piece::in_memory).collect()
    }
}

type Handler = dyn Fn(Asked) -> Option<Vec<Bytes>> + Send + Sync;

/// A cluster with one topic `t` of one partition.
#[derive(Clone)]
pub struct Cluster {
    pub io: Io,
    /// What Metadata says: nodes with their ports, and who leads.
    pub view: Arc<Mutex<(BTreeMap<i32, u16>, i32)>>,
    /// The APIs that are served, in which versions. At first with names instead of ids, so that requests are easy to read.
    pub served: Arc<Mutex<BTreeMap<i16, (i16, i16)>>>,
    /// The cluster's features, finalised.
    pub features: Arc<Mutex<BTreeMap<&'static str, i16>>>,
    /// How long the answers of an API take.
    pub delays: Arc<Mutex<BTreeMap<i16, Duration>>>,
    /// The nodes that tell clients to begin again (KIP-1102).
    pub rebootstrap: Arc<Mutex<Vec<i32>>>,
    handler: Arc<Handler>,
}

/// The one topic's id.
pub const TOPIC_ID: Uuid = Uuid::ONE;

impl Cluster {
    /// `handler` answers everything but ApiVersions and Metadata; `None` is silence.
    pub fn new(handler: impl Fn(Asked) -> Option<Vec<Bytes>> + Send + Sync + 'static) -> Self {
        let io = Io::simulated(7, 1_735_689_600_000, Arc::new(SimDisk::new()), MemoryNet::new());
        Self {
            io,
            view: Arc::default(),
            served: Arc::new(Mutex::new(served())),
            features: Arc::default(),
            delays: Arc::default(),
            rebootstrap: Arc::default(),
            handler: Arc::new(handler),
        }
    }

    /// Serves an API in these versions.
    pub fn serves(&self, api: ApiKey, min: i16, max: i16) {
        self.served.lock().expect("sound").insert(api.code(), (min, max));
    }

    /// Starts a node on a port; the metadata doesn't name it by that.
    pub async fn listen(&self, node: i32, port: u16) -> Listening {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut listener = self.io.net.bind(at).await.expect("a port");
        let (cluster, connections) = (self.clone(), Arc::new(Mutex::new(Vec::new())));
        let all = connections.clone();
        let accepting = self.io.tasks.spawn(async move {
            while let Ok((stream, _, _)) = listener.accept().await {
                let serving = cluster.clone().serve(node, stream);
                all.lock().expect("sound").push(cluster.io.tasks.spawn(serving));
            }
        });
        Listening { accepting, connections }
    }

    async fn serve(self, node: i32, mut stream: Stream) {
        let mut frames = FrameReader::new(1 << 20, self.io.buffers.clone());
        while let Ok(Some(frame)) = frames.next(&mut stream).await {
            let (header, _, body) = decode_request_header(frame).expect("a header");
            let api = ApiKey::from_i16(header.request_api_key).expect("an API");
            let asked = Asked { node, api, header, body };
            let answer = match api {
                ApiKey::ApiVersions => asked.answer(&self.versions()),
                ApiKey::Metadata => self.metadata(asked),
                _ => (self.handler)(asked),
            };
            let delay = self.delays.lock().expect("sound").get(&api.code()).copied();
            if let Some(delay) = delay {
                self.io.clock.sleep(delay).await;
            }
            for segment in answer.into_iter().flatten() {
                if stream.write_all(&segment).await.is_err() {
                    return;
                }
            }
        }
    }

    fn versions(&self) -> ApiVersionsResponse {
        let served = self.served.lock().expect("sound");
        let version = |(api_key, (min_version, max_version)): (&i16, &(i16, i16))| ApiVersion {
            api_key: *api_key,
            min_version: *min_version,
            max_version: *max_version,
            ..Default::default()
        };
        let features = self.features.lock().expect("sound");
        let feature = |(name, level): (&&str, &i16)| FinalizedFeatureKey {
            name: (*name).into(),
            max_version_level: *level,
            min_version_level: *level,
            ..Default::default()
        };
        ApiVersionsResponse {
            api_keys: served.iter().map(version).collect(),
            finalized_features_epoch: 0,
            finalized_features: features.iter().map(feature).collect(),
            ..Default::default()
        }
    }

    fn metadata(&self, mut asked: Asked) -> Option<Vec<Bytes>> {
        if self.rebootstrap.lock().expect("sound").contains(&asked.node) {
            return asked.answer(&MetadataResponse { error_code: 129, ..Default::default() });
        }
        let request: MetadataRequest = asked.read();
        let (nodes, leader) = self.view.lock().expect("sound").clone();
        let broker = |(id, port): (&i32, &u16)| MetadataResponseBroker {
            node_id: *id,
            host: "127.0.0.1".into(),
            port: i32::from(*port),
            ..Default::default()
        };
        let wanted = request.topics.iter().flatten().any(|t| t.name.as_deref() == Some("t"));
        let partition = MetadataResponsePartition {
            partition_index: 0,
            leader_id: leader,
            leader_epoch: 1,
            replica_nodes: nodes.keys().copied().collect(),
            isr_nodes: nodes.keys().copied().collect(),
            ..Default::default()
        };
        let topic = MetadataResponseTopic {
            name: Some("t".into()),
            topic_id: TOPIC_ID,
            partitions: vec![partition],
            ..Default::default()
        };
        asked.answer(&MetadataResponse {
            brokers: nodes.iter().map(broker).collect(),
            cluster_id: Some("scripted".into()),
            controller_id: leader,
            topics: wanted.then_some(topic).into_iter().collect(),
            ..Default::default()
        })
    }
}

/// A node that listens.
pub struct Listening {
    accepting: TaskHandle<()>,
    connections: Arc<Mutex<Vec<TaskHandle<()>>>>,
}

impl Listening {
    /// Ends it, with all its connections; its port is free then.
    pub async fn die(self) {
        self.accepting.abort();
        self.accepting.join().await;
        let connections = std::mem::take(&mut *self.connections.lock().expect("sound"));
        for connection in connections {
            connection.abort();
            connection.join().await;
        }
    }
}

fn served() -> BTreeMap<i16, (i16, i16)> {
    let served = [
        (ApiKey::Produce, 3, 12),
        (ApiKey::Fetch, 4, 12),
        (ApiKey::Metadata, 1, 13),
        (ApiKey::ApiVersions, 0, 4),
        (ApiKey::InitProducerId, 0, 4),
        (ApiKey::ListOffsets, 1, 8),
        (ApiKey::OffsetForLeaderEpoch, 2, 4),
    ];
    served.into_iter().map(|(api, min, max)| (api.code(), (min, max))).collect()
}
