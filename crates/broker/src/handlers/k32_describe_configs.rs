//! DescribeConfigs (key 32, versions 1–4; KIP-133, KIP-226, KIP-569): configs of topics, brokers, groups, and
//! client-metrics subscriptions, with their sources.
//!
//! A broker answers for itself and for the default of all brokers. Passwords never leave.

use std::collections::BTreeSet;
use std::sync::Arc;

use logrun_config::describe::{self, Described};
use logrun_config::{ConfigError, ConfigSource};
use logrun_metadata::{ConfigResource, ConfigResourceType};
use logrun_model::{Str, validate_topic_name};
use logrun_wire::ErrorCode;
use logrun_wire::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use logrun_wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

use crate::Broker;
use crate::context::RequestContext;
use crate::errors::Failure;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let described = describe(broker, resource);
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            error_message: Some(Str::EMPTY),
            ..Default::default()
        };
        match described {
            Ok(all) => {
                let all = all.into_iter();
                let shown = all.map(|d| shown(d, request.include_synonyms, request.include_documentation));
                result.error_message = None;
                result.configs = shown.collect();
            }
            Err(failure) => {
                result.error_code = failure.code.code();
                result.error_message = failure.message.as_deref().map(Into::into);
            }
        }
        result
    });
    DescribeConfigsResponse { results: results.collect(), ..Default::default() }
}

fn describe(broker: &Broker, resource: &DescribeConfigsResource) -> Result<Vec<Described>, Failure> {
    let keys: Option<BTreeSet<&str>> = resource
        .configuration_keys
        .as_ref()
        .filter(|keys| !keys.is_empty())
        .map(|keys| keys.iter().map(Str::as_str).collect());
    let wanted = |name: &str| keys.as_ref().is_none_or(|keys| keys.contains(name));
    let config = broker.config();
    let image = broker.image();
    let name = resource.resource_name.as_str();
    let own = |kind| image.configs.of(&ConfigResource::new(kind, resource.resource_name.clone()));
    match resource.resource_type {
        TOPIC => {
            if let Err(e) = validate_topic_name(name) {
                return Err(Failure::with(ErrorCode::InvalidTopicException, e.to_string()));
            }
            if image.topics.by_name(name).is_none() {
                return Err(Failure::of(ErrorCode::UnknownTopicOrPartition));
            }
            describe::topic(&config.settings, &own(ConfigResourceType::Topic), &wanted).map_err(unreadable)
        }
        BROKER if name.is_empty() => Ok(describe::broker_default(&config.settings.dynamic_default, &wanted)),
        BROKER => match name.parse::<i32>() {
            Ok(id) if id == broker.node_id().get() => Ok(describe::broker(&config.settings, &wanted)),
            Ok(id) => Err(Failure::with(
                ErrorCode::InvalidRequest,
                format!("Unexpected broker id, expected {} or empty string, but received {id}", broker.node_id()),
            )),
            Err(_) => Err(Failure::with(
                ErrorCode::InvalidRequest,
                format!("Broker id must be an integer, but it is: {name}"),
            )),
        },
        GROUP if name.is_empty() => Err(Failure::with(ErrorCode::InvalidRequest, "Group name must not be empty")),
        GROUP => describe::group(&config.settings, &own(ConfigResourceType::Group), &wanted).map_err(unreadable),
        CLIENT_METRICS if name.is_empty() => {
            Err(Failure::with(ErrorCode::InvalidRequest, "Client metrics subscription name must not be empty"))
        }
        CLIENT_METRICS => {
            let own = own(ConfigResourceType::ClientMetrics);
            describe::client_metrics(&own, &wanted).map_err(unreadable)
        }
        BROKER_LOGGER => Err(Failure::with(
            ErrorCode::InvalidRequest,
            "this broker's log levels are set by RUST_LOG or --log-level at its start",
        )),
        other => Err(Failure::with(ErrorCode::InvalidRequest, format!("Unsupported resource type: {other}"))),
    }
}

fn unreadable(e: ConfigError) -> Failure {
    Failure::with(ErrorCode::InvalidConfig, e.to_string())
}

fn shown(d: Described, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult {
    let config_type = d.type_code();
    DescribeConfigsResourceResult {
        name: d.name.into(),
        value: d.value.map(Str::from),
        read_only: d.read_only,
        config_source: d.source.code(),
        is_sensitive: d.is_sensitive,
        synonyms: if synonyms { d.synonyms.into_iter().map(synonym).collect() } else { Vec::new() },
        config_type,
        documentation: d.documentation.filter(|_| documentation).map(Str::from),
        ..Default::default()
    }
}

fn synonym(s: describe::SynonymValue) -> DescribeConfigsSynonym {
    let source: ConfigSource = s.source;
    DescribeConfigsSynonym {
        name: s.name.into(),
        value: s.value.map(Str::from),
        source: source.code(),
        ..Default::default()
    }
}
