//! Ids of nodes, producers, groups and members.

use std::fmt;

use crate::Str;

/// The id of a node: `node.id`, which is also its broker id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub i32);

impl NodeId {
    /// No node: an offline partition's leader, an unknown controller.
    pub const NONE: Self = Self(-1);

    pub const fn get(self) -> i32 {
        self.0
    }
}

/// The id that the controller hands to an idempotent or transactional producer (KIP-98).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ProducerId(pub i64);

impl ProducerId {
    /// A producer without idempotence.
    pub const NONE: Self = Self(-1);

    pub const fn get(self) -> i64 {
        self.0
    }

    /// Whether the producer is idempotent.
    pub const fn is_some(self) -> bool {
        self.0 >= 0
    }
}

macro_rules! display {
    ($($name:ty),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )*};
}
display!(NodeId, ProducerId);

impl From<i32> for NodeId {
    fn from(v: i32) -> Self {
        Self(v)
    }
}

impl From<i64> for ProducerId {
    fn from(v: i64) -> Self {
        Self(v)
    }
}

/// The name of a consumer group.
pub type GroupId = Str;

/// The id that the coordinator gives a member of a group.
pub type MemberId = Str;
