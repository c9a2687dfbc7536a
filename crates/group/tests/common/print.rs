//! Responses and records as short text.

use bytes::Bytes;
use logrun_coordinator::records::GroupRecord;
use logrun_group::{KeyValue, Response};
use logrun_wire::ErrorCode;

/// Writes member ids with `#n` for their UUIDs.
fn short(text: &str) -> String {
    const HEAD: &str = "00000000-0000-4000-8000-";
    let mut out = String::new();
    let mut rest = text;
    while let Some(i) = rest.find(HEAD) {
        let (n, after) = rest[i + HEAD.len()..].split_at(12);
        let n = u64::from_str_radix(n, 16).expect("hex");
        out.push_str(&format!("{}#{n}", &rest[..i]));
        rest = after;
    }
    out + rest
}

fn error(code: i16) -> String {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => "ok".to_string(),
        Some(e) => e.name().to_string(),
        None => code.to_string(),
    }
}

fn bytes(bytes: &Bytes) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(|c| c.is_ascii_graphic()) => format!("\"{text}\""),
        // A subscription: its topics are what counts.
        _ => format!("{}B", bytes.len()),
    }
}

fn list<T>(items: &[T], f: impl Fn(&T) -> String) -> String {
    format!("[{}]", items.iter().map(f).collect::<Vec<_>>().join(", "))
}

fn optional(text: &Option<logrun_model::Str>) -> String {
    text.as_ref().map_or("null".to_string(), |t| short(t))
}

pub fn response(response: &Response) -> String {
    match response {
        Response::JoinGroup(r) if r.error_code != 0 => {
            format!("join {} member={}", error(r.error_code), short(&r.member_id))
        }
        Response::JoinGroup(r) => {
            let skip = if r.skip_assignment { " skip-assignment" } else { "" };
            let instance = |i: &Option<logrun_model::Str>| i.as_ref().map_or(String::new(), |i| format!("/{i}"));
            let members = list(&r.members, |m| {
                format!("{}{} {}", short(&m.member_id), instance(&m.group_instance_id), bytes(&m.metadata))
            });
            format!(
                "join ok gen={} protocol={}/{} leader={} member={}{skip} members={members}",
                r.generation_id,
                optional(&r.protocol_type),
                optional(&r.protocol_name),
                short(&r.leader),
                short(&r.member_id),
            )
        }
        Response::SyncGroup(r) if r.error_code != 0 => format!("sync {}", error(r.error_code)),
        Response::SyncGroup(r) => {
            format!("sync ok {}/{} {}", optional(&r.protocol_type), optional(&r.protocol_name), bytes(&r.assignment))
        }
        Response::Heartbeat(r) => format!("heartbeat {}", error(r.error_code)),
        Response::LeaveGroup(r) => {
            let member = |m: &logrun_wire::messages::leave_group_response::MemberResponse| {
                format!("{} {}", short(&m.member_id), error(m.error_code))
            };
            format!("leave {} {}", error(r.error_code), list(&r.members, member))
        }
        Response::OffsetCommit(r) => {
            let topic = |t: &logrun_wire::messages::offset_commit_response::OffsetCommitResponseTopic| {
                format!(
                    "{} {}",
                    t.name,
                    list(&t.partitions, |p| format!("{} {}", p.partition_index, error(p.error_code)))
                )
            };
            format!("offset-commit {}", list(&r.topics, topic))
        }
        Response::OffsetFetch(r) => {
            let topic = |t: &logrun_wire::messages::offset_fetch_response::OffsetFetchResponseTopics| {
                let partition = |p: &logrun_wire::messages::offset_fetch_response::OffsetFetchResponsePartitions| {
                    let metadata = p.metadata.as_ref().filter(|m| !m.is_empty());
                    let metadata = metadata.map_or(String::new(), |m| format!("/{m}"));
                    let failed = if p.error_code == 0 { String::new() } else { format!(" {}", error(p.error_code)) };
                    format!("{}={}{metadata}{failed}", p.partition_index, p.committed_offset)
                };
                format!("{} {}", t.name, list(&t.partitions, partition))
            };
            format!("offset-fetch {} {} {}", r.group_id, error(r.error_code), list(&r.topics, topic))
        }
        Response::OffsetDelete(r) => {
            let topic = |t: &logrun_wire::messages::offset_delete_response::OffsetDeleteResponseTopic| {
                format!(
                    "{} {}",
                    t.name,
                    list(&t.partitions, |p| format!("{} {}", p.partition_index, error(p.error_code)))
                )
            };
            format!("offset-delete {} {}", error(r.error_code), list(&r.topics, topic))
        }
        Response::DescribeGroups(groups) => format!(
            "describe {}",
            list(groups, |g| {
                let member = |m: &logrun_wire::messages::describe_groups_response::DescribedGroupMember| {
                    let instance = m.group_instance_id.as_ref().map_or(String::new(), |i| format!("/{i}"));
                    let (metadata, assignment) = (bytes(&m.member_metadata), bytes(&m.member_assignment));
                    format!("{}{instance} {} {metadata} {assignment}", short(&m.member_id), m.client_host)
                };
                format!(
                    "{} {} {} {}/{} {}",
                    g.group_id,
                    error(g.error_code),
                    g.group_state,
                    g.protocol_type,
                    g.protocol_data,
                    list(&g.members, member)
                )
            })
        ),
        Response::ListGroups(r) => {
            let group = |g: &logrun_wire::messages::list_groups_response::ListedGroup| {
                format!("{} {} {} \"{}\"", g.group_id, g.group_type, g.group_state, g.protocol_type)
            };
            format!("list {} {}", error(r.error_code), list(&r.groups, group))
        }
        Response::DeleteGroups(results) => {
            format!("delete {}", list(results, |r| format!("{} {}", r.group_id, error(r.error_code))))
        }
    }
}

pub fn record((key, value): &KeyValue) -> String {
    match GroupRecord::decode(key.clone(), value.clone()) {
        Ok(GroupRecord::OffsetCommit { key, value }) => {
            let place = format!("{} {}:{}", key.group, key.topic, key.partition);
            match value {
                Some(v) => {
                    let expiry = if v.expire_timestamp == -1 { "" } else { " with expiry" };
                    format!("offset {place}={}{expiry}", v.offset)
                }
                None => format!("offset {place} tombstone"),
            }
        }
        Ok(GroupRecord::GroupMetadata { key, value: None }) => format!("group {} tombstone", key.group),
        Ok(GroupRecord::GroupMetadata { key, value: Some(v) }) => {
            let members = list(&v.members, |m| format!("{} {}", short(&m.member_id), bytes(&m.assignment)));
            format!(
                "group {} gen={} protocol={}/{} leader={} {members}",
                key.group,
                v.generation,
                v.protocol_type,
                optional(&v.protocol),
                optional(&v.leader)
            )
        }
        Ok(other) => {
            format!("type {} {}", other.record_type(), if other.is_tombstone() { "tombstone" } else { "value" })
        }
        Err(e) => format!("unreadable: {e}"),
    }
}
