//! IncrementalAlterConfigs and AlterConfigs: Kafka's `ConfigurationControlManager` (KIP-339, KIP-226).
//!
//! Each resource is decided for itself and as a whole: all its changes or none. What a key may hold is asked of the
//! [`crate::ConfigSchema`].

use std::collections::{BTreeMap, BTreeSet};

use logrun_coordinator::Decision;
use logrun_metadata::records::{ClearElrRecord, ConfigRecord, MetadataRecord};
use logrun_metadata::{ConfigResource, ConfigResourceType};
use logrun_model::{NodeId, Str, validate_topic_name};
use logrun_wire::ErrorCode;
use logrun_wire::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    alter_configs_request, alter_configs_response, incremental_alter_configs_request,
    incremental_alter_configs_response,
};

use crate::command::Reply;
use crate::error::{ApiError, outcome};
use crate::machine::{Controller, Decided, MIN_INSYNC_REPLICAS};

/// The longest value of a config in bytes: what a string of the log's older formats could hold.
const VALUE_BYTES_MAX: usize = i16::MAX as usize;

/// What is to be done with one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Set,
    Delete,
    Append,
    Subtract,
}

/// A key, what is to be done with it, and the value that goes with that.
type Change = (Str, Operation, Option<Str>);

/// A resource's type and name, and what is to be done with its keys.
type Asked = (i8, Str, Result<Vec<Change>, ApiError>);

/// A resource's type and name, and what became of it: the code and the sentence of an error.
type Outcome = (i8, Str, (i16, Option<Str>));

impl Operation {
    fn from_id(id: i8) -> Result<Self, ApiError> {
        match id {
            0 => Ok(Self::Set),
            1 => Ok(Self::Delete),
            2 => Ok(Self::Append),
            3 => Ok(Self::Subtract),
            other => Err(ApiError::new(ErrorCode::InvalidRequest, format!("Unknown config operation {other}."))),
        }
    }
}

impl Controller {
    pub(crate) fn incremental_alter_configs(&self, request: &IncrementalAlterConfigsRequest) -> Decided {
        let resource = |r: &incremental_alter_configs_request::AlterConfigsResource| {
            let change = |c: &incremental_alter_configs_request::AlterableConfig| -> Result<Change, ApiError> {
                Ok((c.name.clone(), Operation::from_id(c.config_operation)?, c.value.clone()))
            };
            (r.resource_type, r.resource_name.clone(), r.configs.iter().map(change).collect())
        };
        let (records, results) = self.alter_each(request.resources.iter().map(resource), request.validate_only);
        let response = |(resource_type, resource_name, (error_code, error_message))| {
            incremental_alter_configs_response::AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type,
                resource_name,
                ..Default::default()
            }
        };
        let responses = results.into_iter().map(response).collect();
        let response = IncrementalAlterConfigsResponse { responses, ..Default::default() };
        Decision { records, reply: Reply::IncrementalAlterConfigs(response) }
    }

    /// The older form: the given configs replace all others of the resource.
    pub(crate) fn alter_configs(&self, request: &AlterConfigsRequest) -> Decided {
        let resource = |r: &alter_configs_request::AlterConfigsResource| {
            let resource = ConfigResource::new(ConfigResourceType::from_id(r.resource_type), r.resource_name.clone());
            let set = r.configs.iter().map(|c| (c.name.clone(), Operation::Set, c.value.clone()));
            let existing = self.image.configs.of(&resource);
            let dropped = existing.keys().filter(|k| !r.configs.iter().any(|c| c.name == **k));
            let changes = set.chain(dropped.map(|k| (k.clone(), Operation::Delete, None))).collect();
            (r.resource_type, r.resource_name.clone(), Ok(changes))
        };
        let (records, results) = self.alter_each(request.resources.iter().map(resource), request.validate_only);
        let response = |(resource_type, resource_name, (error_code, error_message))| {
            alter_configs_response::AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type,
                resource_name,
                ..Default::default()
            }
        };
        let responses = results.into_iter().map(response).collect();
        Decision { records, reply: Reply::AlterConfigs(AlterConfigsResponse { responses, ..Default::default() }) }
    }

    /// What becomes of each resource; the records are those of all that may be altered, or none if only that was asked.
    fn alter_each(
        &self,
        resources: impl Iterator<Item = Asked>,
        validate_only: bool,
    ) -> (Vec<MetadataRecord>, Vec<Outcome>) {
        let resources: Vec<Asked> = resources.collect();
        let mut times: BTreeMap<(i8, &Str), usize> = BTreeMap::new();
        for (resource_type, name, _) in &resources {
            *times.entry((*resource_type, name)).or_default() += 1;
        }
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(resources.len());
        for (resource_type, name, changes) in &resources {
            let result = match (times.get(&(*resource_type, name)), changes) {
                (Some(1), Ok(changes)) => self.alter_resource(*resource_type, name, changes),
                (Some(1), Err(e)) => Err(e.clone()),
                _ => Err(ApiError::new(ErrorCode::InvalidRequest, "Each resource must appear at most once.")),
            };
            results.push((*resource_type, name.clone(), outcome(&result)));
            records.extend(result.unwrap_or_default());
        }
        if validate_only {
            records.clear();
        }
        (records, results)
    }

    fn alter_resource(
        &self,
        resource_type: i8,
        name: &Str,
        changes: &[Change],
    ) -> Result<Vec<MetadataRecord>, ApiError> {
        let resource = ConfigResource::new(ConfigResourceType::from_id(resource_type), name.detached());
        self.check_resource(&resource)?;
        check_changes(changes)?;
        let existing = self.image.configs.of(&resource);
        let mut configs: BTreeMap<Str, Str> = (*existing).clone();
        let mut changed = Vec::new();
        for (key, operation, value) in changes {
            let value = value.as_ref().map(Str::detached).unwrap_or_default();
            let key = key.detached();
            let new = match operation {
                Operation::Set => Some(value),
                Operation::Delete => None,
                Operation::Append | Operation::Subtract => {
                    Some(self.alter_list(&resource, &configs, &key, *operation, &value)?)
                }
            };
            match &new {
                Some(v) => configs.insert(key.clone(), v.clone()),
                None => configs.remove(&key),
            };
            // A broker reloads what it is told again, such as a key store of the same path.
            if existing.get(&key) != new.as_ref() || resource.resource_type == ConfigResourceType::Broker {
                changed.push((key, new));
            }
        }
        self.check_config_sizes(&configs)?;
        self.check_min_isr(&resource, &changed)?;
        let keys: Vec<Str> = changed.iter().map(|(k, _)| k.clone()).collect();
        self.config.schema.validate(&resource, &configs, &keys)?;
        Ok(self.config_records(&resource, changed))
    }

    fn config_records(&self, resource: &ConfigResource, changed: Vec<(Str, Option<Str>)>) -> Vec<MetadataRecord> {
        // Who was eligible under another minimum is not under the new one.
        let clears_elr = self.elr_enabled()
            && matches!(resource.resource_type, ConfigResourceType::Topic | ConfigResourceType::Broker)
            && changed.iter().any(|(k, _)| *k == MIN_INSYNC_REPLICAS);
        let mut records: Vec<MetadataRecord> = changed
            .into_iter()
            .map(|(name, value)| {
                ConfigRecord {
                    resource_type: resource.resource_type.id(),
                    resource_name: resource.name.clone(),
                    name,
                    value,
                    ..Default::default()
                }
                .into()
            })
            .collect();
        if clears_elr {
            let topic_name =
                if resource.resource_type == ConfigResourceType::Topic { resource.name.clone() } else { Str::EMPTY };
            records.push(ClearElrRecord { topic_name, ..Default::default() }.into());
        }
        records
    }

    fn alter_list(
        &self,
        resource: &ConfigResource,
        configs: &BTreeMap<Str, Str>,
        key: &Str,
        operation: Operation,
        value: &str,
    ) -> Result<Str, ApiError> {
        let schema = &self.config.schema;
        if !schema.is_list(resource.resource_type, key) {
            let message =
                format!("Config value append is not allowed for config key: {key}, whose type is not a list.");
            return Err(ApiError::new(ErrorCode::InvalidConfig, message));
        }
        let current = configs.get(key).cloned().or_else(|| {
            let broker = ConfigResource::broker(self.config.node_id.get());
            let dynamic = self.image.configs.get(&broker, key);
            let dynamic = dynamic.or_else(|| self.image.configs.get(&ConfigResource::DEFAULT_BROKER, key));
            dynamic.cloned().or_else(|| schema.static_or_default(resource.resource_type, key))
        });
        let split = |s: &str| -> Vec<String> {
            s.split(',').map(str::trim).filter(|i| !i.is_empty()).map(str::to_owned).collect()
        };
        let mut items = split(current.as_deref().unwrap_or_default());
        for item in split(value) {
            match operation {
                Operation::Subtract => items.retain(|i| *i != item),
                _ if items.contains(&item) => {}
                _ => items.push(item),
            }
        }
        Ok(items.join(",").into())
    }

    fn check_resource(&self, resource: &ConfigResource) -> Result<(), ApiError> {
        let bad = |message: String| Err(ApiError::new(ErrorCode::InvalidRequest, message));
        let name = &resource.name;
        match resource.resource_type {
            ConfigResourceType::Topic if name.is_empty() => bad("Default topic resources are not allowed.".into()),
            ConfigResourceType::Topic => {
                let invalid =
                    |e| ApiError::new(ErrorCode::InvalidTopicException, format!("Topic name is invalid: {e}"));
                validate_topic_name(name).map_err(invalid)?;
                if self.image.topics.id_of(name).is_none() {
                    let message = format!("The topic '{name}' does not exist.");
                    return Err(ApiError::new(ErrorCode::UnknownTopicOrPartition, message));
                }
                Ok(())
            }
            ConfigResourceType::Broker if name.is_empty() => Ok(()),
            ConfigResourceType::Broker => match name.parse::<i32>() {
                Err(_) => bad(format!("The broker name '{name}' is not a number.")),
                Ok(id) if self.image.cluster.broker(NodeId(id)).is_none() => Err(ApiError::new(
                    ErrorCode::BrokerIdNotRegistered,
                    format!("No broker with id {id} is registered."),
                )),
                Ok(_) => Ok(()),
            },
            ConfigResourceType::ClientMetrics if name.is_empty() => bad("Subscription name can't be empty.".into()),
            ConfigResourceType::Group if name.is_empty() => bad("Group name can't be empty.".into()),
            ConfigResourceType::ClientMetrics | ConfigResourceType::Group => Ok(()),
            other => bad(format!("Configs of the resource type {} can't be altered here.", other.id())),
        }
    }

    pub(crate) fn check_config_sizes(&self, configs: &BTreeMap<Str, Str>) -> Result<(), ApiError> {
        match configs.iter().find(|(_, v)| v.len() > VALUE_BYTES_MAX) {
            Some((key, v)) => {
                let message = format!(
                    "The value of {key} has {} bytes; a configuration value can have at most {VALUE_BYTES_MAX}.",
                    v.len()
                );
                Err(ApiError::new(ErrorCode::InvalidConfig, message))
            }
            None => Ok(()),
        }
    }

    fn check_min_isr(&self, resource: &ConfigResource, changed: &[(Str, Option<Str>)]) -> Result<(), ApiError> {
        if !self.elr_enabled() || resource.resource_type != ConfigResourceType::Broker {
            return Ok(());
        }
        let Some((_, value)) = changed.iter().find(|(k, _)| *k == MIN_INSYNC_REPLICAS) else { return Ok(()) };
        let message = if !resource.is_default() {
            "min.insync.replicas of a single broker can't be altered while eligible leader replicas are enabled."
        } else if value.is_none() {
            "min.insync.replicas of the cluster can't be removed while eligible leader replicas are enabled."
        } else {
            return Ok(());
        };
        Err(ApiError::new(ErrorCode::InvalidConfig, message))
    }
}

fn check_changes(changes: &[Change]) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    for (key, operation, value) in changes {
        if !seen.insert(key) {
            let message = format!("The config key {key} appears more than once.");
            return Err(ApiError::new(ErrorCode::InvalidRequest, message));
        }
        if *operation != Operation::Delete && value.is_none() {
            return Err(ApiError::new(ErrorCode::InvalidRequest, format!("Null value not supported for: {key}")));
        }
    }
    Ok(())
}
