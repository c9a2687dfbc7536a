//! Configs of topics, brokers, groups and client-metrics subscriptions: describe, alter, list resources.

use std::collections::BTreeMap;

use logrun_model::{NodeId, Str};
use logrun_wire::messages::describe_configs_request::DescribeConfigsResource;
use logrun_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use logrun_wire::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest};

use super::{Admin, Each};
use crate::client::Target;
use crate::error::{Error, check};

/// What can have configs: `ConfigResource.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum ResourceType {
    /// A topic.
    Topic = 2,
    /// A broker by its id, or all of them by the empty name.
    Broker = 4,
    /// A broker's loggers.
    BrokerLogger = 8,
    /// A client-metrics subscription (KIP-714).
    ClientMetrics = 16,
    /// A group.
    Group = 32,
}

impl ResourceType {
    /// The number on the wire.
    pub const fn id(self) -> i8 {
        self as i8
    }

    /// The type with this number.
    pub fn from_id(id: i8) -> Option<Self> {
        [Self::Topic, Self::Broker, Self::BrokerLogger, Self::ClientMetrics, Self::Group]
            .into_iter()
            .find(|t| t.id() == id)
    }
}

/// Something that has configs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    /// What it is.
    pub kind: ResourceType,
    /// Its name; a broker's is its id.
    pub name: Str,
}

impl ConfigResource {
    /// A resource of this kind and name.
    pub fn new(kind: ResourceType, name: impl Into<Str>) -> Self {
        Self { kind, name: name.into() }
    }

    /// A topic.
    pub fn topic(name: impl Into<Str>) -> Self {
        Self::new(ResourceType::Topic, name)
    }

    /// A broker; `None` for the defaults of all.
    pub fn broker(id: Option<NodeId>) -> Self {
        Self::new(ResourceType::Broker, id.map_or_else(String::new, |id| id.to_string()))
    }

    /// The node that has to be asked: a broker's own static configs and loggers are only known to itself.
    fn target(&self) -> Result<Target, Error> {
        match self.kind {
            ResourceType::Broker if self.name.is_empty() => Ok(Target::Any),
            ResourceType::Broker | ResourceType::BrokerLogger => {
                let id = self.name.parse().map_err(|_| Error::Invalid(format!("`{}` is no broker's id", self.name)))?;
                Ok(Target::Node(NodeId(id)))
            }
            _ => Ok(Target::Any),
        }
    }
}

/// One config as a broker describes it.
pub use logrun_wire::messages::describe_configs_response::DescribeConfigsResourceResult as ConfigDescription;

/// What is done to one config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum AlterOp {
    /// It gets this value.
    Set = 0,
    /// It goes back to its default.
    Delete = 1,
    /// These items are added to the list.
    Append = 2,
    /// These items are taken from the list.
    Subtract = 3,
}

/// A change of one config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigAlteration {
    /// Its name.
    pub name: Str,
    /// What is done.
    pub op: AlterOp,
    /// With what; `None` for [`AlterOp::Delete`].
    pub value: Option<Str>,
}

impl ConfigAlteration {
    /// Sets a value.
    pub fn set(name: impl Into<Str>, value: impl Into<Str>) -> Self {
        Self { name: name.into(), op: AlterOp::Set, value: Some(value.into()) }
    }

    /// Goes back to the default.
    pub fn delete(name: impl Into<Str>) -> Self {
        Self { name: name.into(), op: AlterOp::Delete, value: None }
    }
}

impl Admin {
    /// The configs of resources, in the order in which brokers give them; with their synonyms and documentation if
    /// asked for.
    pub async fn describe_configs(
        &self,
        resources: &[ConfigResource],
        synonyms: bool,
        documentation: bool,
    ) -> Each<ConfigResource, Vec<ConfigDescription>> {
        let request = |resources: &[ConfigResource]| DescribeConfigsRequest {
            resources: resources
                .iter()
                .map(|r| DescribeConfigsResource {
                    resource_type: r.kind.id(),
                    resource_name: r.name.clone(),
                    configuration_keys: None,
                    ..Default::default()
                })
                .collect(),
            include_synonyms: synonyms,
            include_documentation: documentation,
            ..Default::default()
        };
        self.by_target(resources, async |target, resources| {
            let response = self.ask(target, request(resources), |_| Ok(())).await?;
            let results = response.results.into_iter().filter_map(|r| {
                let kind = ResourceType::from_id(r.resource_type)?;
                let outcome = check(r.error_code, r.error_message.as_ref()).map(|()| r.configs);
                Some((ConfigResource { kind, name: r.resource_name }, outcome))
            });
            Ok(results.collect())
        })
        .await
    }

    /// Changes configs, leaving all others as they are; or with `validate_only` says what would come of it.
    pub async fn incremental_alter_configs(
        &self,
        alterations: &BTreeMap<ConfigResource, Vec<ConfigAlteration>>,
        validate_only: bool,
    ) -> Each<ConfigResource, ()> {
        let alterable = |a: &ConfigAlteration| AlterableConfig {
            name: a.name.clone(),
            config_operation: a.op as i8,
            value: a.value.clone(),
            ..Default::default()
        };
        let request = |resources: &[ConfigResource]| IncrementalAlterConfigsRequest {
            resources: resources
                .iter()
                .map(|r| AlterConfigsResource {
                    resource_type: r.kind.id(),
                    resource_name: r.name.clone(),
                    configs: alterations.get(r).into_iter().flatten().map(alterable).collect(),
                    ..Default::default()
                })
                .collect(),
            validate_only,
            ..Default::default()
        };
        let resources: Vec<ConfigResource> = alterations.keys().cloned().collect();
        self.by_target(&resources, async |target, resources| {
            let response = self.ask(target, request(resources), |_| Ok(())).await?;
            let results = response.responses.into_iter().filter_map(|r| {
                let kind = ResourceType::from_id(r.resource_type)?;
                Some((ConfigResource { kind, name: r.resource_name }, check(r.error_code, r.error_message.as_ref())))
            });
            Ok(results.collect())
        })
        .await
    }

    /// The resources that have configs of their own: of these kinds, or of all that the broker lists (KIP-1142). An old
    /// broker lists client-metrics subscriptions only.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn list_config_resources(&self, kinds: &[ResourceType]) -> Result<Vec<ConfigResource>, Error> {
        let only_metrics = kinds == [ResourceType::ClientMetrics];
        let build = |version| match version {
            0 if !only_metrics => {
                Err(Error::Invalid("the broker can list client-metrics subscriptions only".to_owned()))
            }
            0 => Ok(ListConfigResourcesRequest::default()),
            _ => {
                let resource_types = kinds.iter().map(|k| k.id()).collect();
                Ok(ListConfigResourcesRequest { resource_types, ..Default::default() })
            }
        };
        let call = self.to(Target::Any);
        let response = self.client.call_with(call, build, |_, r| check(r.error_code, None)).await?;
        let resources = response.config_resources.into_iter().filter_map(|r| {
            Some(ConfigResource { kind: ResourceType::from_id(r.resource_type)?, name: r.resource_name })
        });
        Ok(resources.collect())
    }

    /// Splits resources by the node that has to be asked.
    async fn by_target<V>(
        &self,
        resources: &[ConfigResource],
        ask: impl AsyncFn(Target, &[ConfigResource]) -> Result<Vec<(ConfigResource, Result<V, Error>)>, Error>,
    ) -> Each<ConfigResource, V> {
        let mut results = Each::new();
        let mut groups: Vec<(Target, Vec<ConfigResource>)> = Vec::new();
        for r in resources {
            match r.target() {
                Ok(target) => match groups.iter_mut().find(|(t, _)| *t == target) {
                    Some((_, group)) => group.push(r.clone()),
                    None => groups.push((target, vec![r.clone()])),
                },
                Err(e) => drop(results.insert(r.clone(), Err(e))),
            }
        }
        for (target, group) in groups {
            match ask(target, &group).await {
                Ok(answers) => results.extend(answers),
                Err(e) => results.extend(group.into_iter().map(|r| (r, Err(e.clone())))),
            }
        }
        results
    }
}
