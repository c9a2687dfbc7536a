//! Broker options: Authorisation, principals, delegation tokens.

use crate::key::DefaultValue::{Null, Text};
use crate::key::Valid::{Any, AtLeast};
use crate::key::Why::{Acls, DelegationTokens, JavaClass};
use crate::key::{ConfigKey, broker_options, no};

#[rustfmt::skip]
pub(super) static OPTIONS: &[ConfigKey] = broker_options![
    ("authorizer.class.name", String, Text(""), Any, Low, ReadOnly, no(Acls),
     "The authorizer that checks ACLs."),
    ("principal.builder.class", Class, Text("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"), Any, Medium, PerBroker, no(JavaClass),
     "The Java class that makes the principal of a connection."),
    ("security.providers", String, Null, Any, Low, ReadOnly, no(JavaClass),
     "Java classes that bring security algorithms."),
    ("delegation.token.secret.key", Password, Null, Any, Medium, ReadOnly, no(DelegationTokens),
     "The secret that delegation tokens are signed with; the same on all nodes."),
    ("delegation.token.expiry.time.ms", Long, Text("86400000"), AtLeast(1), Medium, ReadOnly, no(DelegationTokens),
     "How long a delegation token is valid before it must be renewed."),
    ("delegation.token.max.lifetime.ms", Long, Text("604800000"), AtLeast(1), Medium, ReadOnly, no(DelegationTokens),
     "How long a delegation token can be renewed at all."),
    ("delegation.token.expiry.check.interval.ms", Long, Text("3600000"), AtLeast(1), Low, ReadOnly, no(DelegationTokens),
     "How often expired delegation tokens are removed."),
];
