//! What must hold between options: `KafkaConfig.validateValues`.
//!
//! And what a user may count on that Logrun would silently not do: that is refused here rather than left out,
//! where leaving it out would open what they meant to close.

use crate::broker::BrokerConfig;
use crate::error::{ConfigError, inconsistent};
use crate::listeners::{Listener, SecurityProtocol};

/// Checks the whole.
///
/// # Errors
/// The first contradiction, with its remedy.
pub(crate) fn check(config: &BrokerConfig) -> Result<(), ConfigError> {
    protection(config)?;
    retention(config)?;
    let groups = &config.groups;
    order(
        "group.min.session.timeout.ms",
        groups.min_session_timeout_ms,
        "group.max.session.timeout.ms",
        groups.max_session_timeout_ms,
    )?;
    let lifecycle = &config.lifecycle;
    if lifecycle.session_timeout_ms < lifecycle.heartbeat_interval_ms.saturating_mul(2) {
        return Err(inconsistent(format!(
            "broker.session.timeout.ms={} is less than twice broker.heartbeat.interval.ms={}: one lost heartbeat would \
             fence the broker, so raise the first or lower the second",
            lifecycle.session_timeout_ms, lifecycle.heartbeat_interval_ms
        )));
    }
    let number = |name: &str| config.settings.text(name).and_then(|text| text.trim().parse::<i64>().ok());
    for (small, large) in [
        ("replica.fetch.wait.max.ms", "replica.socket.timeout.ms"),
        ("replica.fetch.wait.max.ms", "replica.lag.time.max.ms"),
    ] {
        if let (Some(a), Some(b)) = (number(small), number(large)) {
            order(small, a, large, b)?;
        }
    }
    for kind in ["consumer", "share", "streams"] {
        for what in ["heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"] {
            let of = |bound: &str| {
                let name = format!("group.{kind}.{bound}{what}");
                number(&name).map(|n| (name, n))
            };
            if let (Some(least), Some(value), Some(most)) = (of("min."), of(""), of("max.")) {
                order(&least.0, least.1, &value.0, value.1)?;
                order(&value.0, value.1, &most.0, most.1)?;
            }
        }
        let (beat, session) =
            (format!("group.{kind}.heartbeat.interval.ms"), format!("group.{kind}.session.timeout.ms"));
        if let (Some(a), Some(b)) = (number(&beat), number(&session))
            && a >= b
        {
            return Err(inconsistent(format!("{beat}={a} is not below {session}={b}: members would time out")));
        }
    }
    if !(0..=4).contains(&number("offsets.topic.compression.codec").unwrap_or(0)) {
        return Err(inconsistent(
            "offsets.topic.compression.codec: give 0 (none), 1 (gzip), 2 (snappy), 3 (lz4) or 4 (zstd)",
        ));
    }
    per_ip(config)
}

fn order<T: PartialOrd + std::fmt::Display>(small: &str, a: T, large: &str, b: T) -> Result<(), ConfigError> {
    if a > b {
        return Err(inconsistent(format!("{small}={a} is more than {large}={b}: lower the first or raise the second")));
    }
    Ok(())
}

/// `max.connections.per.ip.overrides`.
fn per_ip(config: &BrokerConfig) -> Result<(), ConfigError> {
    const OPTION: &str = "max.connections.per.ip.overrides";
    let text = config.settings.text(OPTION).unwrap_or("");
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let count = item
            .rsplit_once(':')
            .and_then(|(host, count)| count.trim().parse::<i32>().ok().filter(|n| *n >= 0 && !host.is_empty()));
        if count.is_none() {
            return Err(inconsistent(format!("{OPTION}: `{item}` is no pair: write host:count")));
        }
    }
    Ok(())
}

/// Kafka takes any negative retention as none, and refuses zero.
fn retention(config: &BrokerConfig) -> Result<(), ConfigError> {
    if config.topic_defaults.retention_ms == 0 {
        return Err(inconsistent(
            "log.retention is 0, so that every record would be gone at once: give -1 for ever, or 1 or more",
        ));
    }
    Ok(())
}

/// A listener or an authorizer that would leave the node open where its owner closed it.
fn protection(config: &BrokerConfig) -> Result<(), ConfigError> {
    let listeners = &config.listeners;
    let protected = |l: &&Listener| l.protocol != SecurityProtocol::Plaintext;
    if let Some(l) = listeners.broker.iter().chain(&listeners.controller).find(protected) {
        return Err(inconsistent(format!(
            "the listener {} is to speak {}, which Logrun doesn't serve yet: it serves PLAINTEXT only, and rather stops \
             than serve without protection",
            l.name,
            l.protocol.name()
        )));
    }
    // Without a single ACL, which can't be made here yet, such an authorizer lets everybody in as well.
    let open = config.settings.text("allow.everyone.if.no.acl.found").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    if !open && config.settings.text("authorizer.class.name").is_some_and(|name| !name.is_empty()) {
        return Err(inconsistent(
            "authorizer.class.name is set, and Logrun doesn't check ACLs yet: remove it, or set allow.everyone.if.no.acl.found=true, to serve everybody",
        ));
    }
    Ok(())
}
