//! The controller's decisions: topics, brokers, configs, leadership, features, producer ids.
