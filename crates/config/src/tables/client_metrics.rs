//! Options of client metrics: Client metrics subscriptions (KIP-714).

use crate::key::DefaultValue::Text;
use crate::key::Valid::{Any, Items};
use crate::key::Why::Telemetry;
use crate::key::{ConfigKey, broker_options, no, resource_options};

#[rustfmt::skip]
pub(super) static OPTIONS: &[ConfigKey] = resource_options![
    ("interval.ms", Int, Text("300000"), Any, [], no(Telemetry),
     "How often clients push their metrics."),
    ("match", List, Text(""), Items, [], no(Telemetry),
     "Which clients: `attribute=pattern` for `client_id`, `client_instance_id`, `client_software_name`, `client_software_version`, `client_source_address`, `client_source_port`."),
    ("metrics", List, Text(""), Items, [], no(Telemetry),
     "Prefixes of the metrics to push; `*` for all, empty for none."),
];
