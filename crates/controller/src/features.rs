//! UpdateFeatures: Kafka's `FeatureControlManager` (KIP-584, KIP-778). All updates of a request or none.

use logrun_coordinator::Decision;
use logrun_metadata::features::{
    ELIGIBLE_LEADER_REPLICAS_VERSION, Feature, KRAFT_VERSION, METADATA_VERSION, MetadataVersion,
};
use logrun_metadata::records::{ConfigRecord, FeatureLevelRecord, MetadataRecord};
use logrun_metadata::{ConfigResourceType, FeatureRange};
use logrun_wire::ErrorCode;
use logrun_wire::messages::update_features_request::FeatureUpdateKey;
use logrun_wire::messages::update_features_response::UpdatableFeatureResult;
use logrun_wire::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use crate::command::Reply;
use crate::error::{ApiError, outcome};
use crate::machine::{Controller, Decided, MIN_INSYNC_REPLICAS};

const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

impl Controller {
    /// Whether the request, decided now, raises `kraft.version`: that is for the quorum to do, and before the records of
    /// the decision are appended.
    pub fn raises_kraft_version(&self, request: &UpdateFeaturesRequest, kraft_version: i16) -> bool {
        !request.validate_only
            && request.feature_updates.iter().all(|u| self.update_feature(u, kraft_version).is_ok())
            && request.feature_updates.iter().any(|u| u.feature == KRAFT_VERSION && u.max_version_level > kraft_version)
    }

    pub(crate) fn update_features(&self, request: &UpdateFeaturesRequest, kraft_version: i16) -> Decided {
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(request.feature_updates.len());
        let mut first_error = Ok(());
        for u in &request.feature_updates {
            let result = self.update_feature(u, kraft_version);
            let (error_code, error_message) = outcome(&result);
            match result {
                Ok(r) => records.extend(r),
                Err(e) if first_error.is_ok() => first_error = Err(e),
                Err(_) => {}
            }
            let feature = u.feature.clone();
            results.push(UpdatableFeatureResult { feature, error_code, error_message, ..Default::default() });
        }
        let (error_code, error_message) = outcome(&first_error);
        if first_error.is_err() || request.validate_only {
            records.clear();
        }
        if first_error.is_err() {
            // What is not refused is not done either.
            for r in results.iter_mut().filter(|r| r.error_code == ErrorCode::None.code()) {
                r.error_code = ErrorCode::InvalidUpdateVersion.code();
                r.error_message = Some("Another update of the same request was refused.".into());
            }
        }
        let response = UpdateFeaturesResponse { error_code, error_message, results, ..Default::default() };
        Decision { records, reply: Reply::UpdateFeatures(response) }
    }

    fn update_feature(&self, u: &FeatureUpdateKey, kraft_version: i16) -> Result<Vec<MetadataRecord>, ApiError> {
        let name = &u.feature;
        let refuse_level = |why: String| {
            let message = format!("Invalid update version {} for feature {name}. {why}", u.max_version_level);
            Err(ApiError::new(ErrorCode::InvalidUpdateVersion, message))
        };
        // Version 0 of the request has a flag instead of the type.
        let upgrade_type = if u.allow_downgrade { SAFE_DOWNGRADE } else { u.upgrade_type };
        let (new, current) = (u.max_version_level, self.image.feature_level(name));
        if !matches!(upgrade_type, UPGRADE | SAFE_DOWNGRADE | UNSAFE_DOWNGRADE) {
            return refuse_level(format!("The upgrade type {upgrade_type} is not one that the controller supports."));
        }
        if new < 0 {
            return refuse_level("A feature version cannot be less than 0.".into());
        }
        if !Feature::by_name(name).is_some_and(|f| f.served && f.contains(new)) {
            return refuse_level(format!("This node does not support version {new} of the feature."));
        }
        if *name == KRAFT_VERSION {
            return if new < kraft_version { refuse_level("It can't be lowered.".into()) } else { Ok(Vec::new()) };
        }
        self.check_nodes_support(u)?;
        if new == current {
            return Ok(Vec::new());
        }
        if new < current && upgrade_type == UPGRADE {
            return refuse_level(
                "A version can't be lowered unless the upgrade type is a safe or unsafe downgrade.".into(),
            );
        }
        if new > current && upgrade_type != UPGRADE {
            return refuse_level("A downgrade can't go to a newer version.".into());
        }
        if *name == METADATA_VERSION {
            check_metadata_version(MetadataVersion(current), MetadataVersion(new), upgrade_type)?;
        }
        let record = FeatureLevelRecord { name: name.detached(), feature_level: new, ..Default::default() };
        let mut records = vec![record.into()];
        if *name == ELIGIBLE_LEADER_REPLICAS_VERSION && new > 0 {
            records.extend(self.enabling_elr());
        }
        Ok(records)
    }

    /// Every registered node must support the level.
    fn check_nodes_support(&self, u: &FeatureUpdateKey) -> Result<(), ApiError> {
        let supports = |features: &[FeatureRange]| {
            let range = features.iter().find(|f| f.name == u.feature).map_or((0, 0), |f| (f.min, f.max));
            (range.0..=range.1).contains(&u.max_version_level)
        };
        let cluster = &self.image.cluster;
        let broker = cluster.brokers.values().find(|b| !supports(&b.features)).map(|b| ("Broker", b.id));
        let lagging = broker
            .or_else(|| cluster.controllers.values().find(|c| !supports(&c.features)).map(|c| ("Controller", c.id)));
        match lagging {
            Some((kind, id)) => Err(ApiError::new(
                ErrorCode::InvalidUpdateVersion,
                format!(
                    "Invalid update version {} for feature {}. {kind} {id} does not support it.",
                    u.max_version_level, u.feature
                ),
            )),
            None => Ok(()),
        }
    }

    /// The minimum ISR becomes the cluster's: it gets a value, and the brokers' own ones go.
    fn enabling_elr(&self) -> Vec<MetadataRecord> {
        let broker_type = ConfigResourceType::Broker;
        let mut records: Vec<MetadataRecord> = Vec::new();
        let configs = &self.image.configs;
        if configs.get(&logrun_metadata::ConfigResource::DEFAULT_BROKER, MIN_INSYNC_REPLICAS).is_none() {
            records.push(self.cluster_min_isr_record().into());
        }
        let own = configs.of_type(broker_type).filter(|(r, c)| !r.is_default() && c.contains_key(MIN_INSYNC_REPLICAS));
        records.extend(own.map(|(r, _)| {
            ConfigRecord {
                resource_type: broker_type.id(),
                resource_name: r.name.clone(),
                name: MIN_INSYNC_REPLICAS.into(),
                value: None,
                ..Default::default()
            }
            .into()
        }));
        records
    }
}

fn check_metadata_version(current: MetadataVersion, new: MetadataVersion, upgrade_type: i8) -> Result<(), ApiError> {
    if new > current {
        return Ok(());
    }
    let refuse = |why: &str| {
        let message = format!("Invalid metadata.version {}. {why}", new.0);
        Err(ApiError::new(ErrorCode::InvalidUpdateVersion, message))
    };
    if upgrade_type == UNSAFE_DOWNGRADE {
        return refuse("An unsafe downgrade of the metadata is not supported.");
    }
    // The versions at which the records themselves changed: below them, something in the log could not be written.
    let changed = [8, 11, 13, 14, 15, 17, 23, 30];
    if changed.iter().any(|v| new.0 < *v && *v <= current.0) {
        return refuse("The metadata between the two versions has changed: the downgrade could lose some of it.");
    }
    Ok(())
}
