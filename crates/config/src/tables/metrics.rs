//! Broker options: Metrics and telemetry.

use crate::key::DefaultValue::Text;
use crate::key::Valid::{Any, AtLeast, Items};
use crate::key::Why::{JavaClass, Metrics, Telemetry};
use crate::key::{ConfigKey, broker_options, no};

#[rustfmt::skip]
pub(super) static OPTIONS: &[ConfigKey] = broker_options![
    ("metric.reporters", List, Text("org.apache.kafka.common.metrics.JmxReporter"), Items, Low, ClusterWide, no(JavaClass),
     "Java classes that report metrics."),
    ("metrics.num.samples", Int, Text("2"), AtLeast(1), Low, ReadOnly, no(Metrics),
     "Samples that a metric is computed over."),
    ("metrics.sample.window.ms", Long, Text("30000"), AtLeast(1), Low, ReadOnly, no(Metrics),
     "The length of one of those samples."),
    ("metrics.recording.level", String, Text("INFO"), Any, Low, ReadOnly, no(Metrics),
     "Which metrics are kept: `INFO`, `DEBUG` or `TRACE`."),
    ("kafka.metrics.reporters", List, Text(""), Items, Low, ReadOnly, no(JavaClass),
     "Java classes that report Kafka's older metrics."),
    ("kafka.metrics.polling.interval.secs", Int, Text("10"), AtLeast(1), Low, ReadOnly, no(JavaClass),
     "How often those classes are asked."),
    ("telemetry.max.bytes", Int, Text("1048576"), AtLeast(1), Low, ReadOnly, no(Telemetry),
     "The largest batch of metrics that a client may push."),
];
