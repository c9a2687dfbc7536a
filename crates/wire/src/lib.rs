//! Kafka's wire protocol: frames, primitives, API keys, error codes and the generated messages.
