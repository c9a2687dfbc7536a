//! Errors in the words that people know from Kafka's tools: the exceptions' names and what they say.
//!
//! The broker's own words come first; these stand in where it gives only a code.

use logrun_client::Error;
use logrun_wire::ErrorCode;

/// What a code says when the broker adds nothing.
fn plain(code: ErrorCode) -> &'static str {
    use ErrorCode as E;
    match code {
        E::UnknownTopicOrPartition => "This server does not host this topic-partition.",
        E::UnknownTopicId => "This server does not host this topic ID.",
        E::OffsetOutOfRange => "The requested offset is not within the range of offsets maintained by the server.",
        E::LeaderNotAvailable => {
            "There is no leader for this topic-partition as we are in the middle of a leadership election."
        }
        E::NotLeaderOrFollower => {
            "For requests intended only for the leader, this error indicates that the broker is not the current leader. For requests intended for any replica, this error indicates that the broker is not a replica of the topic partition."
        }
        E::RequestTimedOut => "The request timed out.",
        E::ReplicaNotAvailable => "The replica is not available for the requested topic-partition.",
        E::MessageTooLarge => "The request included a message larger than the max message size the server will accept.",
        E::CoordinatorNotAvailable => "The coordinator is not available.",
        E::CoordinatorLoadInProgress => "The coordinator is loading and hence can't process requests.",
        E::NotCoordinator => "This is not the correct coordinator.",
        E::InvalidTopicException => "The request attempted to perform an operation on an invalid topic.",
        E::InvalidGroupId => "The group id is invalid.",
        E::TopicAuthorizationFailed => "Topic authorization failed.",
        E::GroupAuthorizationFailed => "Group authorization failed.",
        E::ClusterAuthorizationFailed => "Cluster authorization failed.",
        E::TopicAlreadyExists => "Topic with this name already exists.",
        E::InvalidPartitions => "Number of partitions is below 1.",
        E::InvalidReplicationFactor => "Replication factor is below 1 or larger than the number of available brokers.",
        E::InvalidReplicaAssignment => "Replica assignment is invalid.",
        E::InvalidConfig => "Configuration is invalid.",
        E::NotController => "This is not the correct controller for this cluster.",
        E::InvalidRequest => {
            "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details."
        }
        E::UnsupportedVersion => "The version of API is not supported.",
        E::PolicyViolation => "Request parameters do not satisfy the configured policy.",
        E::SecurityDisabled => "Security features are disabled.",
        E::NonEmptyGroup => "The group is not empty.",
        E::GroupIdNotFound => "The group id does not exist.",
        E::ElectionNotNeeded => "Leader election not needed for topic partition.",
        E::NoReassignmentInProgress => "No partition reassignment is in progress.",
        E::GroupSubscribedToTopic => {
            "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it."
        }
        E::PreferredLeaderNotAvailable => "The preferred leader was not available.",
        E::EligibleLeadersNotAvailable => "Eligible topic partition leaders are not available.",
        E::TransactionalIdNotFound => "The transactionalId could not be found",
        E::TopicDeletionDisabled => "Topic deletion is disabled.",
        E::UnknownMemberId => "The coordinator is not aware of this member.",
        E::KafkaStorageError => "Disk error when trying to access log file on the disk.",
        E::LogDirNotFound => "The user-specified log directory is not found in the broker config.",
        E::UnknownServerError => "The server experienced an unexpected error when processing the request.",
        E::BrokerIdNotRegistered => "The given broker ID was not registered.",
        E::ResourceNotFound => "The requested resource was not found.",
        E::FeatureUpdateFailed => "Unable to update finalized features due to an unexpected server error.",
        _ => "",
    }
}

/// The name of Kafka's exception class for a code.
pub fn class(code: ErrorCode) -> String {
    use ErrorCode as E;
    let special = match code {
        E::TopicAlreadyExists => Some("TopicExists"),
        E::InvalidConfig => Some("InvalidConfiguration"),
        E::InvalidTopicException => Some("InvalidTopic"),
        E::MessageTooLarge => Some("RecordTooLarge"),
        E::RequestTimedOut => Some("Timeout"),
        E::NonEmptyGroup => Some("GroupNotEmpty"),
        E::KafkaStorageError => Some("KafkaStorage"),
        E::NetworkException => Some("Network"),
        E::TopicDeletionDisabled => Some("TopicDeletionDisabled"),
        _ => None,
    };
    let camel: String = match special {
        Some(name) => name.to_owned(),
        None => code
            .name()
            .split('_')
            .map(|word| {
                let (head, tail) = word.split_at_checked(1).unwrap_or((word, ""));
                format!("{head}{}", tail.to_lowercase())
            })
            .collect(),
    };
    format!("org.apache.kafka.common.errors.{camel}Exception")
}

/// The sentence of a code, the broker's own if it gave one.
pub fn message(code: i16, said: Option<&str>) -> String {
    if let Some(said) = said.filter(|m| !m.is_empty()) {
        return said.to_owned();
    }
    match ErrorCode::from_code(code) {
        Some(code) if !plain(code).is_empty() => plain(code).to_owned(),
        Some(code) => code.to_string(),
        None => format!("the broker answered with error {code}, which nobody knows"),
    }
}

/// The class and the sentence, as Java prints an exception: `org.apache.kafka.common.errors.X: sentence`.
pub fn exception(code: i16, said: Option<&str>) -> String {
    let class = ErrorCode::from_code(code).map_or_else(|| "java.lang.Exception".to_owned(), class);
    format!("{class}: {}", message(code, said))
}

/// What the client says, in the broker's words where the broker spoke.
pub fn sentence(error: &Error) -> String {
    match error {
        Error::Broker { code, message: said } => message(code.code(), said.as_deref()),
        Error::Unsupported { address, api, theirs, .. } => {
            let has =
                if theirs.is_empty() { "does not have it".to_owned() } else { format!("has it in versions {theirs}") };
            format!("UNSUPPORTED_VERSION: this needs {}, and the broker at {address} {has}.", api.name())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sentences_are_kafkas() {
        assert_eq!(
            exception(3, None),
            "org.apache.kafka.common.errors.UnknownTopicOrPartitionException: This server does not host this topic-partition."
        );
        assert_eq!(
            exception(36, Some("Topic 'a' already exists.")),
            "org.apache.kafka.common.errors.TopicExistsException: Topic 'a' already exists."
        );
        assert_eq!(class(ErrorCode::GroupIdNotFound), "org.apache.kafka.common.errors.GroupIdNotFoundException");
        assert_eq!(message(9999, None), "the broker answered with error 9999, which nobody knows");
    }
}
