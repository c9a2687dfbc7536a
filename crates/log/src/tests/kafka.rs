//! Files that Apache Kafka wrote, and Apache Kafka's judgement of ours.
