//! One option as it is declared: `ConfigDef.ConfigKey` of Kafka, as a row of a table.
//!
//! The rows are the only place where an option's name, type, default, range, importance, mode of change
//! and text are written; the parser, the typed structs, DescribeConfigs and the reference page read them.

/// The type of an option's value: `ConfigDef.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

impl Type {
    /// The number that DescribeConfigs answers with (KIP-569).
    pub const fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }

    /// Kafka's name of the type, in lower case as its reference pages have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Int => "int",
            Self::Short => "short",
            Self::Long => "long",
            Self::Double => "double",
            Self::List => "list",
            Self::Class => "class",
            Self::Password => "password",
        }
    }
}

/// What an option is when nobody sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// It has to be set.
    Required,
    /// It has no value.
    Null,
    /// In the form in which a file would have it.
    Text(&'static str),
}

impl DefaultValue {
    pub const fn text(self) -> Option<&'static str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Required => None,
        }
    }
}

/// Which values are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Valid {
    /// Any of the type.
    Any,
    /// A number from here on.
    AtLeast(i64),
    /// A number from the first to the second, both included.
    Between(i64, i64),
    /// As `Between`, or -1.
    BetweenOrMinusOne(i64, i64),
    /// A fraction from the first to the second, both included.
    Fraction(f64, f64),
    /// A text that is not empty.
    NotEmpty,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these texts, in any case.
    OneOfIgnoringCase(&'static [&'static str]),
    /// A list without empty items; items that come twice count once.
    Items,
    /// As `Items`, with at least one item.
    SomeItems,
    /// A list of items out of these.
    ItemsOf(&'static [&'static str]),
    /// A list of at least one item out of these.
    SomeItemsOf(&'static [&'static str]),
    /// `partition:broker` pairs or `*` (KIP-73).
    ThrottledReplicas,
    /// `earliest`, `latest` or `by_duration:` and an ISO 8601 duration (KIP-1106).
    OffsetReset,
    /// As `OffsetReset`, or `none`.
    OffsetResetOrNone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    High,
    Medium,
    Low,
}

impl Importance {
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// How a broker option may change while the broker runs (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateMode {
    /// Only by a restart.
    ReadOnly,
    /// For one broker at a time.
    PerBroker,
    /// For one broker or as the default of all.
    ClusterWide,
}

impl UpdateMode {
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::PerBroker => "per-broker",
            Self::ClusterWide => "cluster-wide",
        }
    }
}

/// What Logrun does with an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It acts on it as Kafka does.
    Active,
    /// It takes, keeps and describes it, and does nothing else; a user who sets it is told so.
    Accepted(Why),
}

/// Why an option is accepted and not acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    NotYet,
    Replicas,
    Transactions,
    ConsumerGroups,
    ShareGroups,
    StreamsGroups,
    Tls,
    Sasl,
    Acls,
    DelegationTokens,
    Quotas,
    Metrics,
    Telemetry,
    TieredStorage,
    Quorum,
    JavaClass,
    Threads,
    Buffers,
    Purgatory,
    OneEncoder,
    Needless,
}

impl Why {
    /// The reason as a clause that follows "because".
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotYet => "Logrun doesn't do it yet",
            Self::Replicas => "a partition has one replica so far",
            Self::Transactions => "transactions are not served yet",
            Self::ConsumerGroups => "the consumer group protocol of KIP-848 is not served yet",
            Self::ShareGroups => "share groups are not served yet",
            Self::StreamsGroups => "streams groups are not served yet",
            Self::Tls => "TLS is not served yet",
            Self::Sasl => "SASL is not served yet",
            Self::Acls => "ACLs are not served yet",
            Self::DelegationTokens => "delegation tokens are not served yet",
            Self::Quotas => "quotas are not enforced yet",
            Self::Metrics => "metrics are not served yet",
            Self::Telemetry => "client telemetry is not served yet",
            Self::TieredStorage => "tiered storage is not served yet",
            Self::Quorum => "the quorum has one voter so far",
            Self::JavaClass => "a native program can't load a Java class",
            Self::Threads => "Logrun's threads follow the machine's cores",
            Self::Buffers => "Logrun sizes its buffers by itself",
            Self::Purgatory => "Logrun has no purgatory to sweep",
            Self::OneEncoder => "there is one LZ4 encoder, the fast one",
            Self::Needless => "Logrun has no need of it",
        }
    }

    /// Whether a user may count on something that is silently missing. Of a whole feature that isn't there yet the
    /// user hears at the first use of it.
    pub const fn is_gap(self) -> bool {
        matches!(
            self,
            Self::NotYet
                | Self::Quotas
                | Self::Tls
                | Self::Sasl
                | Self::Acls
                | Self::DelegationTokens
                | Self::TieredStorage
                | Self::Metrics
                | Self::JavaClass
        )
    }
}

/// A broker option that a topic or group option falls back on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    pub name: &'static str,
    /// What its number is multiplied by: 3,600,000 from hours to milliseconds.
    pub factor: i64,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct ConfigKey {
    pub name: &'static str,
    pub kind: Type,
    pub default: DefaultValue,
    pub valid: Valid,
    pub importance: Importance,
    /// Of a broker option; topic and group options can always change.
    pub update: UpdateMode,
    /// Not in Kafka's reference and not described to clients.
    pub internal: bool,
    pub effect: Effect,
    /// Of topic and group options, the one that wins first.
    pub synonyms: &'static [Synonym],
    /// What it is for, in Markdown.
    pub text: &'static str,
}

impl ConfigKey {
    /// Whether its value is kept from whoever asks.
    pub const fn is_sensitive(&self) -> bool {
        matches!(self.kind, Type::Password)
    }
}

pub(crate) const ACTIVE: Effect = Effect::Active;

pub(crate) const fn no(why: Why) -> Effect {
    Effect::Accepted(why)
}

/// A table of broker options: name, type, default, valid values, importance, mode of change, effect, text.
macro_rules! broker_options {
    ($(($name:literal, $kind:ident, $default:expr, $valid:expr, $importance:ident, $update:ident, $effect:expr, $text:literal $(, $internal:ident)?)),* $(,)?) => {
        &[$($crate::key::ConfigKey {
            name: $name,
            kind: $crate::key::Type::$kind,
            default: $default,
            valid: $valid,
            importance: $crate::key::Importance::$importance,
            update: $crate::key::UpdateMode::$update,
            internal: broker_options!(@internal $($internal)?),
            effect: $effect,
            synonyms: &[],
            text: $text,
        }),*]
    };
    (@internal) => { false };
    (@internal internal) => { true };
}

/// A table of topic, group or client-metrics options: name, type, default, valid values, the broker options that
/// they fall back on, effect, text.
macro_rules! resource_options {
    ($(($name:literal, $kind:ident, $default:expr, $valid:expr, [$($synonym:literal * $factor:literal),*], $effect:expr, $text:literal $(, $internal:ident)?)),* $(,)?) => {
        &[$($crate::key::ConfigKey {
            name: $name,
            kind: $crate::key::Type::$kind,
            default: $default,
            valid: $valid,
            importance: $crate::key::Importance::Medium,
            update: $crate::key::UpdateMode::ClusterWide,
            internal: broker_options!(@internal $($internal)?),
            effect: $effect,
            synonyms: &[$($crate::key::Synonym { name: $synonym, factor: $factor }),*],
            text: $text,
        }),*]
    };
}

pub(crate) use {broker_options, resource_options};
