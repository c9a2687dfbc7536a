//! The start offsets of share groups (KIP-932): list, alter, delete.

use std::collections::BTreeMap;

use logrun_model::{Str, TopicPartition};
use logrun_wire::messages::alter_share_group_offsets_request::{
    AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
};
use logrun_wire::messages::delete_share_group_offsets_request::DeleteShareGroupOffsetsRequestTopic;
use logrun_wire::messages::describe_share_group_offsets_request::{
    DescribeShareGroupOffsetsRequestGroup, DescribeShareGroupOffsetsRequestTopic,
};
use logrun_wire::messages::{
    AlterShareGroupOffsetsRequest, DeleteShareGroupOffsetsRequest, DescribeShareGroupOffsetsRequest,
};

use super::{Admin, Each, by_topic};
use crate::client::Target;
use crate::coordinators::CoordinatorKey;
use crate::error::{Error, check};

/// Where a share group is in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareOffset {
    /// The first offset that isn't done with; `None` if there is none yet.
    pub start_offset: Option<i64>,
    /// The leader's epoch.
    pub leader_epoch: i32,
    /// How many records are to be done, if the broker says.
    pub lag: Option<i64>,
}

impl Admin {
    fn of_group(group: &Str) -> Target {
        Target::Coordinator(CoordinatorKey::Group(group.clone()))
    }

    /// The start offsets of a share group: of these partitions, or all.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn list_share_group_offsets(
        &self,
        group: &Str,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Each<TopicPartition, ShareOffset>, Error> {
        let topics = partitions.map(|partitions| {
            let topics = by_topic(partitions.iter().map(|tp| (tp, ()))).into_iter();
            topics.map(|(name, p)| DescribeShareGroupOffsetsRequestTopic {
                topic_name: name.clone(),
                partitions: p.into_iter().map(|(i, ())| i).collect(),
                ..Default::default()
            })
        });
        let asked = DescribeShareGroupOffsetsRequestGroup {
            group_id: group.clone(),
            topics: topics.map(Iterator::collect),
            ..Default::default()
        };
        let request = DescribeShareGroupOffsetsRequest { groups: vec![asked], ..Default::default() };
        let response = self
            .ask(Self::of_group(group), request, |r| {
                r.groups.first().map_or(Ok(()), |g| check(g.error_code, g.error_message.as_ref()))
            })
            .await?;
        let mut result = Each::new();
        for t in response.groups.into_iter().flat_map(|g| g.topics) {
            for p in t.partitions {
                let found = check(p.error_code, p.error_message.as_ref()).map(|()| ShareOffset {
                    start_offset: (p.start_offset >= 0).then_some(p.start_offset),
                    leader_epoch: p.leader_epoch,
                    lag: (p.lag >= 0).then_some(p.lag),
                });
                result.insert(TopicPartition::new(t.topic_name.clone(), p.partition_index), found);
            }
        }
        Ok(result)
    }

    /// Sets the start offsets of a share group that has no members.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn alter_share_group_offsets(
        &self,
        group: &Str,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<Each<TopicPartition, ()>, Error> {
        let topics = by_topic(offsets).into_iter().map(|(name, p)| AlterShareGroupOffsetsRequestTopic {
            topic_name: name.clone(),
            partitions: p
                .into_iter()
                .map(|(partition_index, start_offset)| AlterShareGroupOffsetsRequestPartition {
                    partition_index,
                    start_offset: *start_offset,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        let request =
            AlterShareGroupOffsetsRequest { group_id: group.clone(), topics: topics.collect(), ..Default::default() };
        let response =
            self.ask(Self::of_group(group), request, |r| check(r.error_code, r.error_message.as_ref())).await?;
        let all = response.responses.iter().flat_map(|t| t.partitions.iter().map(|p| (t.topic_name.clone(), p)));
        Ok(all
            .map(|(name, p)| {
                (TopicPartition::new(name, p.partition_index), check(p.error_code, p.error_message.as_ref()))
            })
            .collect())
    }

    /// Forgets where a share group is in these topics.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn delete_share_group_offsets(&self, group: &Str, topics: &[Str]) -> Result<Each<Str, ()>, Error> {
        let topics = topics
            .iter()
            .map(|t| DeleteShareGroupOffsetsRequestTopic { topic_name: t.clone(), ..Default::default() })
            .collect();
        let request = DeleteShareGroupOffsetsRequest { group_id: group.clone(), topics, ..Default::default() };
        let response =
            self.ask(Self::of_group(group), request, |r| check(r.error_code, r.error_message.as_ref())).await?;
        Ok(response
            .responses
            .into_iter()
            .map(|t| (t.topic_name, check(t.error_code, t.error_message.as_ref())))
            .collect())
    }
}
