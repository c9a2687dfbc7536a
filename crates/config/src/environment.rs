//! Environment variables as the well-known container images name them.
//!
//! `KAFKA_LOG_RETENTION_MS` is `log.retention.ms`; two underscores are an underscore and three a hyphen, as in
//! Apache's image; Bitnami's `KAFKA_CFG_` is read the same way. Much else begins with `KAFKA_` in such an environment:
//! what steers a JVM or an image's own scripts, and what Kubernetes adds for a service that is called kafka.
//!
//! This never reads the environment: the caller hands the variables in.

use crate::key::ConfigKey;
use crate::tables::broker_options;

/// What a variable means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// An option, by its name in a file.
    Option(String),
    /// The id of the cluster.
    ClusterId,
    /// Nothing to a broker.
    Ignored,
}

/// What begins so is a JVM's, an image's or Kubernetes'.
const IGNORED_PREFIXES: &[&str] = &[
    "KAFKA_JMX_",
    "KAFKA_LOG4J_",
    "KAFKA_TOOLS_LOG4J_",
    "KAFKA_REST_",
    "KAFKA_CONNECT_",
    "KAFKA_SCHEMA_REGISTRY_",
    "KAFKA_MOUNTED_",
    "KAFKA_CLIENT_",
    "KAFKA_SERVICE_",
    "KAFKA_PORT_",
    "KAFKA_CONTROLLER_PASSWORD",
    "KAFKA_INTER_BROKER_PASSWORD",
    "KAFKA_CFG_FILE",
];

const IGNORED: &[&str] = &[
    "KAFKA_HEAP_OPTS",
    "KAFKA_OPTS",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_DEBUG",
    "KAFKA_DEBUG_OPTS",
    "KAFKA_EXTRA_ARGS",
    "KAFKA_VERSION",
    "KAFKA_HOME",
    "KAFKA_BASE_DIR",
    "KAFKA_VOLUME_DIR",
    "KAFKA_CONF_DIR",
    "KAFKA_CONF_FILE",
    "KAFKA_DATA_DIR",
    "KAFKA_USER",
    "KAFKA_GROUP",
    "KAFKA_DAEMON_USER",
    "KAFKA_DAEMON_GROUP",
    "KAFKA_LICENSE",
    "KAFKA_SCRIPTS",
    "KAFKA_JUDGE",
    "KAFKA_INITIAL_CONTROLLERS",
    "KAFKA_INITIALIZED",
    "KAFKA_SKIP_KRAFT_STORAGE_INIT",
    "KAFKA_URL",
];

/// What the variable `name` with that value means.
pub fn variable(name: &str, value: &str) -> Variable {
    match name {
        "CLUSTER_ID" | "KAFKA_CLUSTER_ID" | "KAFKA_KRAFT_CLUSTER_ID" => return Variable::ClusterId,
        // Kubernetes: `tcp://10.0.0.1:9092`.
        "KAFKA_PORT" if value.contains("://") => return Variable::Ignored,
        _ => {}
    }
    let Some(rest) = name.strip_prefix("KAFKA_") else { return Variable::Ignored };
    let option = option_name(rest.strip_prefix("CFG_").unwrap_or(rest));
    let foreign = IGNORED.contains(&name) || IGNORED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if option.is_empty() || (foreign && broker_options().get(&option).is_none()) {
        Variable::Ignored
    } else {
        Variable::Option(option)
    }
}

/// `LOG_RETENTION_MS` to `log.retention.ms`; `__` to `_`, `___` to `-`.
fn option_name(rest: &str) -> String {
    let mut name = String::with_capacity(rest.len());
    let mut underscores = 0;
    for c in rest.chars().chain(['\0']) {
        if c == '_' {
            underscores += 1;
            continue;
        }
        while underscores > 0 {
            let take = underscores.min(3);
            name.push(match take {
                1 => '.',
                2 => '_',
                _ => '-',
            });
            underscores -= take;
        }
        if c != '\0' {
            name.extend(c.to_lowercase());
        }
    }
    name
}

/// The variable that sets an option, for the reference page: `KAFKA_LOG_RETENTION_MS`.
pub fn variable_of(key: &ConfigKey) -> String {
    format!("KAFKA_{}", key.name.replace('_', "__").replace('-', "___").replace('.', "_").to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let option = |name: &str| match variable(name, "x") {
            Variable::Option(name) => name,
            other => format!("{other:?}"),
        };
        assert_eq!(option("KAFKA_LOG_RETENTION_MS"), "log.retention.ms");
        assert_eq!(option("KAFKA_CFG_NODE_ID"), "node.id");
        assert_eq!(
            option("KAFKA_LISTENER_NAME_SASL__SSL_SASL_ENABLED_MECHANISMS"),
            "listener.name.sasl_ssl.sasl.enabled.mechanisms"
        );
        assert_eq!(option("KAFKA_A___B"), "a-b");
        assert_eq!(option("KAFKA_ZOOKEEPER_CONNECT"), "zookeeper.connect");
        assert_eq!(option("KAFKA_PORT"), "port");
        for name in
            ["KAFKA_HEAP_OPTS", "KAFKA_JMX_PORT", "KAFKA_LOG4J_LOGGERS", "KAFKA_PORT_9092_TCP_ADDR", "PATH", "KAFKA_"]
        {
            assert_eq!(variable(name, "x"), Variable::Ignored, "{name}");
        }
        assert_eq!(variable("KAFKA_PORT", "tcp://10.0.0.1:9092"), Variable::Ignored);
        assert_eq!(variable("CLUSTER_ID", "x"), Variable::ClusterId);
    }

    #[test]
    fn every_option_has_a_variable_that_leads_back_to_it() {
        for key in broker_options().iter() {
            assert_eq!(variable(&variable_of(key), "x"), Variable::Option(key.name.to_owned()));
        }
    }
}
