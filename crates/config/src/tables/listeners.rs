//! Broker options: Listeners, advertised addresses, security protocols.

use crate::key::DefaultValue::{Null, Required, Text};
use crate::key::Valid::{Any, OneOf, SomeItems};
use crate::key::{ACTIVE, ConfigKey, broker_options};

#[rustfmt::skip]
pub(super) static OPTIONS: &[ConfigKey] = broker_options![
    ("listeners", List, Text("PLAINTEXT://:9092"), SomeItems, High, PerBroker, ACTIVE,
     "Where the node listens: `NAME://host:port`, several with commas. An empty host is every interface. A name that is no security protocol needs `listener.security.protocol.map`."),
    ("advertised.listeners", List, Null, SomeItems, High, ReadOnly, ACTIVE,
     "The addresses that clients are told to connect to, by listener. Unset, a client is told the address that it used itself, which suits laptops, containers and forwarded ports alike."),
    ("listener.security.protocol.map", String, Text("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"), Any, Low, PerBroker, ACTIVE,
     "The security protocol of each listener name: `NAME:PROTOCOL`, several with commas."),
    ("inter.broker.listener.name", String, Null, Any, Medium, ReadOnly, ACTIVE,
     "The listener that brokers use among themselves. Not together with `security.inter.broker.protocol`."),
    ("security.inter.broker.protocol", String, Text("PLAINTEXT"), OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), Medium, ReadOnly, ACTIVE,
     "The protocol, and so the listener, that brokers use among themselves when `inter.broker.listener.name` is unset."),
    ("controller.listener.names", List, Required, SomeItems, High, ReadOnly, ACTIVE,
     "The listeners on which controllers are reached. A combined or controller node has them among its `listeners`; a broker must not."),
];
