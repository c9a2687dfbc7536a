//! What the configs of groups and of client-metrics subscriptions must keep to besides their own ranges:
//! `GroupConfig.validate`, `ClientMetricsConfigs.validate`.

use crate::error::{ConfigError, inconsistent};
use crate::fields::Values;
use crate::settings::{BrokerSettings, Overrides};
use crate::tables::group_options;
use crate::topic::Resolved;
use crate::value::Value;

/// The broker options that bound a group option: the group's, the least, the most.
const BOUNDS: &[(&str, &str, &str)] = &[
    ("consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
    (
        "consumer.heartbeat.interval.ms",
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
    ),
    (
        "consumer.assignment.interval.ms",
        "group.consumer.min.assignment.interval.ms",
        "group.consumer.max.assignment.interval.ms",
    ),
    ("share.session.timeout.ms", "group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"),
    ("share.heartbeat.interval.ms", "group.share.min.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"),
    (
        "share.assignment.interval.ms",
        "group.share.min.assignment.interval.ms",
        "group.share.max.assignment.interval.ms",
    ),
    (
        "share.record.lock.duration.ms",
        "group.share.min.record.lock.duration.ms",
        "group.share.max.record.lock.duration.ms",
    ),
    ("share.delivery.count.limit", "group.share.min.delivery.count.limit", "group.share.max.delivery.count.limit"),
    (
        "share.partition.max.record.locks",
        "group.share.min.partition.max.record.locks",
        "group.share.max.partition.max.record.locks",
    ),
    ("streams.session.timeout.ms", "group.streams.min.session.timeout.ms", "group.streams.max.session.timeout.ms"),
    (
        "streams.heartbeat.interval.ms",
        "group.streams.min.heartbeat.interval.ms",
        "group.streams.max.heartbeat.interval.ms",
    ),
    (
        "streams.assignment.interval.ms",
        "group.streams.min.assignment.interval.ms",
        "group.streams.max.assignment.interval.ms",
    ),
    ("streams.num.standby.replicas", "", "group.streams.max.standby.replicas"),
];

fn number(value: Option<Value>) -> Option<i64> {
    match value {
        Some(Value::Int(n)) => Some(i64::from(n)),
        Some(Value::Long(n)) => Some(n),
        _ => None,
    }
}

/// Checks a group's configs against the broker's bounds and each other.
pub(crate) fn check_group(settings: &BrokerSettings, configs: &Overrides) -> Result<(), ConfigError> {
    let resolved = Resolved { settings, overrides: configs, options: group_options() };
    for (name, least, most) in BOUNDS {
        if !configs.contains_key(*name) {
            continue;
        }
        let Some(n) = number(resolved.value(name)?) else { continue };
        if let Some(bound) = number(settings.value(least)?).filter(|bound| n < *bound) {
            return Err(inconsistent(format!("{name}={n} is below the broker's {least}={bound}: raise it")));
        }
        if let Some(bound) = number(settings.value(most)?).filter(|bound| n > *bound) {
            return Err(inconsistent(format!("{name}={n} is above the broker's {most}={bound}: lower it")));
        }
    }
    for kind in ["consumer", "share", "streams"] {
        let (beat, session) = (format!("{kind}.heartbeat.interval.ms"), format!("{kind}.session.timeout.ms"));
        if let (Some(a), Some(b)) = (number(resolved.value(&beat)?), number(resolved.value(&session)?))
            && a >= b
        {
            return Err(inconsistent(format!("{beat}={a} is not below {session}={b}: members would time out")));
        }
    }
    Ok(())
}

/// What clients can be chosen by (KIP-714).
const MATCHES: &[&str] = &[
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// Checks the configs of a client-metrics subscription. Patterns are kept as they are: they are Java's.
pub(crate) fn check_client_metrics(configs: &Overrides) -> Result<(), ConfigError> {
    if let Some(ms) = configs.get("interval.ms").and_then(|text| text.parse::<i64>().ok())
        && !(100..=3_600_000).contains(&ms)
    {
        return Err(inconsistent(format!("interval.ms={ms}: give 100 to 3600000")));
    }
    for item in configs.get("match").map_or("", |text| text.as_str()).split(',').map(str::trim) {
        let known =
            item.split_once('=').is_some_and(|(name, pattern)| MATCHES.contains(&name.trim()) && !pattern.is_empty());
        if !item.is_empty() && !known {
            return Err(inconsistent(format!(
                "match: `{item}` chooses no client: write one of {} = pattern",
                MATCHES.join(", ")
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, value: &str) -> Result<(), String> {
        let configs: Overrides = [(name.into(), value.into())].into_iter().collect();
        check_group(&BrokerSettings::default(), &configs).map_err(|e| e.to_string())
    }

    #[test]
    fn groups_keep_to_the_brokers_bounds() {
        assert_eq!(group("consumer.session.timeout.ms", "50000"), Ok(()));
        assert!(group("consumer.session.timeout.ms", "70000").is_err());
        assert!(group("consumer.session.timeout.ms", "1000").is_err());
        assert!(group("streams.num.standby.replicas", "3").is_err());
    }

    #[test]
    fn every_bound_is_an_option() {
        for (name, least, most) in BOUNDS {
            assert!(group_options().get(name).is_some(), "{name}");
            for bound in [least, most] {
                assert!(bound.is_empty() || crate::tables::broker_options().get(bound).is_some(), "{bound}");
            }
        }
    }

    #[test]
    fn client_metrics() {
        let check = |name: &str, value: &str| {
            check_client_metrics(&[(name.into(), value.into())].into_iter().collect()).is_ok()
        };
        assert!(check("interval.ms", "60000") && !check("interval.ms", "99"));
        assert!(
            check("match", "client_id=a.*,client_software_name=x")
                && !check("match", "id=a")
                && !check("match", "client_id")
        );
    }
}
