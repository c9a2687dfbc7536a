//! JoinGroup: new members, members that come back, static members that replace themselves.
//! KIP-345 (static members), KIP-394 (MEMBER_ID_REQUIRED), KIP-814 (a static leader may skip its assignment).

use bytes::Bytes;
use logrun_model::{GenerationId, MemberId, Str};
use logrun_wire::ErrorCode;
use logrun_wire::messages::join_group_response::JoinGroupResponseMember;
use logrun_wire::messages::{JoinGroupRequest, JoinGroupResponse};

use super::member::{Member, Protocol, new_member_id, protocols_of};
use super::{ClassicGroup, State, Timer, Turn, Write};
use crate::config::GroupConfig;
use crate::request::{Client, Response, Token, join_refused};

/// From this version on a new dynamic member must come back with the id that it is given (KIP-394).
const KNOWN_MEMBER_ID_SINCE: i16 = 4;
/// From this version on a returning static leader is told to keep the assignment (KIP-814).
const SKIP_ASSIGNMENT_SINCE: i16 = 9;

/// A static member that took its old place under a new id: what its reply needs once the record is committed, and
/// what must be put back if it is not.
#[derive(Debug)]
pub(super) struct Replaced {
    instance_id: Str,
    new_id: MemberId,
    old_id: MemberId,
    old_protocols: Vec<Protocol>,
    old_rebalance_timeout_ms: i32,
    old_session_timeout_ms: i32,
    old_leader: Option<MemberId>,
    generation: GenerationId,
    api_version: i16,
}

/// A JoinGroup under way: who asks, and its protocols copied out of the frame.
struct Joining<'a> {
    token: Token,
    client: &'a Client,
    request: &'a JoinGroupRequest,
    protocols: Vec<Protocol>,
}

impl ClassicGroup {
    pub(super) fn join(&mut self, turn: &mut Turn<'_>, token: Token, client: &Client, request: &JoinGroupRequest) {
        let joining = Joining { token, client, request, protocols: protocols_of(&request.protocols) };
        let id = &request.member_id;
        if !self.accepts(turn.config, id) {
            self.remove(turn, id);
            turn.refuse_join(token, Str::EMPTY, ErrorCode::GroupMaxSizeReached);
            // The others may have waited for just this one.
            self.maybe_complete_join(turn);
        } else if !self.supports_protocols(&request.protocol_type, &joining.protocols) {
            turn.refuse_join(token, id.clone(), ErrorCode::InconsistentGroupProtocol);
        } else if id.is_empty() {
            self.join_new(turn, joining);
        } else if request.group_instance_id.is_none() && self.pending.contains(id) {
            self.join_added(turn, joining, id.detached());
        } else {
            match self.validate_member(id, request.group_instance_id.as_ref()) {
                Ok(()) => self.join_again(turn, joining),
                Err(error) => {
                    // The one refusal that says null where the version allows it, as Kafka's does.
                    let protocol_name = if client.api_version >= 7 { None } else { Some(Str::EMPTY) };
                    let refused = join_refused(id.clone(), error);
                    turn.reply(token, Response::JoinGroup(JoinGroupResponse { protocol_name, ..refused }));
                }
            }
        }
    }

    /// `group.max.size`. While members join, those parked are counted: the group may be above a size that was
    /// lowered, and those that come last are to go.
    fn accepts(&self, config: &GroupConfig, member_id: &MemberId) -> bool {
        let max = usize::try_from(config.group_max_size).unwrap_or(0);
        let member = self.members.get(member_id);
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => member.is_some_and(|m| m.awaiting_join.is_some()) || self.awaiting_join < max,
            State::CompletingRebalance | State::Stable => member.is_some() || self.members.len() < max,
        }
    }

    fn join_new(&mut self, turn: &mut Turn<'_>, joining: Joining<'_>) {
        let Joining { client, request, .. } = joining;
        if let Some(instance_id) = &request.group_instance_id {
            let new_id = new_member_id(instance_id, client.random);
            match self.static_members.get(instance_id).cloned() {
                Some(old_id) => self.join_replacing(turn, joining, instance_id, old_id, new_id),
                None => self.join_added(turn, joining, new_id),
            }
            return;
        }
        let new_id = new_member_id(&client.client_id, client.random);
        if client.api_version >= KNOWN_MEMBER_ID_SINCE {
            self.pending.insert(new_id.clone());
            self.restart_session_of(turn.now, &new_id, request.session_timeout_ms);
            turn.refuse_join(joining.token, new_id, ErrorCode::MemberIdRequired);
        } else {
            self.join_added(turn, joining, new_id);
        }
    }

    /// Adds a member whose id is not in the group yet, and begins or ends a rebalance.
    fn join_added(&mut self, turn: &mut Turn<'_>, joining: Joining<'_>, id: MemberId) {
        let Joining { token, client, request, protocols } = joining;
        if self.state == State::PreparingRebalance && self.previous == Some(State::Empty) {
            self.new_member_added = true;
        }
        let member = Member {
            id: id.clone(),
            instance_id: request.group_instance_id.as_ref().map(Str::detached),
            client_id: client.client_id.detached(),
            client_host: client.client_host.detached(),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols,
            assignment: Bytes::new(),
            awaiting_join: Some(token),
            awaiting_sync: None,
            is_new: true,
        };
        self.add(&request.protocol_type, member);
        // It can't send heartbeats while parked, and a client that has gone is not noticed. A bound of its own
        // keeps those from piling up through a long rebalance.
        self.restart_session_of(turn.now, &id, turn.config.new_member_join_timeout_ms);
        self.rebalance_or_complete_join(turn);
    }

    /// A member of the group joins again.
    fn join_again(&mut self, turn: &mut Turn<'_>, joining: Joining<'_>) {
        let id = &joining.request.member_id;
        let unchanged = self.members.get(id).is_some_and(|m| m.protocols == joining.protocols);
        let same_generation = match self.state {
            // It may have missed the reply to its join.
            State::CompletingRebalance => unchanged,
            // A leader asks for a rebalance by joining: it may have seen new partitions.
            State::Stable => unchanged && !self.is_leader(id),
            State::PreparingRebalance | State::Empty => false,
        };
        if same_generation {
            let members = if self.is_leader(id) { self.joined_members() } else { Vec::new() };
            let response = JoinGroupResponse { members, member_id: id.clone(), ..self.joined() };
            turn.reply(joining.token, Response::JoinGroup(response));
            return;
        }
        let id = id.clone();
        self.update(turn, &id, joining);
        self.rebalance_or_complete_join(turn);
    }

    /// A static member comes without its id: it takes its old place, and whoever holds that is fenced.
    fn join_replacing(
        &mut self,
        turn: &mut Turn<'_>,
        joining: Joining<'_>,
        instance_id: &Str,
        old_id: MemberId,
        new_id: MemberId,
    ) {
        let Some(old) = self.members.get(&old_id) else {
            // The map of static members and the members agree; were it not so, the client may begin anew.
            turn.refuse_join(joining.token, Str::EMPTY, ErrorCode::UnknownMemberId);
            return;
        };
        let replaced = Replaced {
            instance_id: instance_id.detached(),
            new_id: new_id.clone(),
            old_id: old_id.clone(),
            old_protocols: old.protocols.clone(),
            old_rebalance_timeout_ms: old.rebalance_timeout_ms,
            old_session_timeout_ms: old.session_timeout_ms,
            old_leader: self.leader.clone(),
            generation: self.generation,
            api_version: joining.client.api_version,
        };
        self.replace_static(turn, &old_id, &new_id);
        self.update(turn, &new_id, joining);
        self.restart_session(turn.now, &new_id);
        match self.state {
            State::Stable if self.select_protocol() == self.protocol => {
                self.subscribed = self.subscribed_topics();
                let value = self.to_record(|m| m.assignment.clone());
                self.write(turn, Write::StaticMember(Box::new(replaced)), value);
            }
            State::Stable => self.rebalance_or_complete_join(turn),
            // The leader may have been given the old id to assign to.
            State::CompletingRebalance => self.prepare_rebalance(turn),
            State::PreparingRebalance | State::Empty => self.maybe_complete_join(turn),
        }
    }

    pub(super) fn replacement_written(
        &mut self,
        turn: &mut Turn<'_>,
        replaced: Replaced,
        outcome: Result<(), ErrorCode>,
    ) {
        // The member may have left, been replaced again, or been caught up in a rebalance that will answer it.
        let in_place = self.members.contains_key(&replaced.new_id);
        let undisturbed = self.state == State::Stable && self.generation == replaced.generation;
        if !in_place || (outcome.is_ok() && !undisturbed) {
            return;
        }
        let token = self.take_awaiting_join(&replaced.new_id);
        // Its session may have run out unnoticed while it was parked.
        self.restart_session(turn.now, &replaced.new_id);
        let response = match outcome {
            Ok(()) if replaced.api_version >= SKIP_ASSIGNMENT_SINCE => {
                let is_leader = self.is_leader(&replaced.new_id);
                let members = if is_leader { self.joined_members() } else { Vec::new() };
                let member_id = replaced.new_id.clone();
                JoinGroupResponse { members, member_id, skip_assignment: is_leader, ..self.joined() }
            }
            // Told of itself as leader, an older client would assign again; so it hears of the old id.
            Ok(()) => JoinGroupResponse {
                member_id: replaced.new_id.clone(),
                leader: replaced.old_leader.unwrap_or_default(),
                ..self.joined()
            },
            Err(error) => {
                let leader = replaced.old_leader.clone().unwrap_or_default();
                let refused = JoinGroupResponse { error_code: error.code(), leader, ..self.joined() };
                self.put_back(turn, replaced);
                refused
            }
        };
        if let Some(token) = token {
            turn.reply(token, Response::JoinGroup(response));
        }
    }

    fn put_back(&mut self, turn: &mut Turn<'_>, replaced: Replaced) {
        let Replaced { instance_id, new_id, old_id, .. } = replaced;
        if self.static_members.get(&instance_id) != Some(&new_id) {
            return;
        }
        self.replace_static(turn, &new_id, &old_id);
        let new_protocols = match self.members.get_mut(&old_id) {
            Some(member) => {
                member.rebalance_timeout_ms = replaced.old_rebalance_timeout_ms;
                member.session_timeout_ms = replaced.old_session_timeout_ms;
                std::mem::replace(&mut member.protocols, replaced.old_protocols.clone())
            }
            None => return,
        };
        self.uncount_protocols(&new_protocols);
        self.count_protocols(&replaced.old_protocols);
        self.restart_session(turn.now, &old_id);
    }

    /// Gives a static member another id. Requests that are parked under the old one are fenced.
    fn replace_static(&mut self, turn: &mut Turn<'_>, old_id: &MemberId, new_id: &MemberId) {
        let Some(mut member) = self.members.remove(old_id) else { return };
        if let Some(token) = member.awaiting_join.take() {
            self.awaiting_join -= 1;
            turn.refuse_join(token, old_id.clone(), ErrorCode::FencedInstanceId);
        }
        if let Some(token) = member.awaiting_sync.take() {
            turn.refuse_sync(token, ErrorCode::FencedInstanceId);
        }
        self.timers.cancel(&Timer::Session(old_id.clone()));
        if self.pending_sync.remove(old_id) && self.pending_sync.is_empty() {
            self.timers.cancel(&Timer::Sync);
        }
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), new_id.clone());
        }
        member.id = new_id.clone();
        member.is_new = false;
        self.members.insert(new_id.clone(), member);
    }

    /// Takes over what a member says of itself in a join, and parks the join.
    fn update(&mut self, turn: &mut Turn<'_>, id: &MemberId, joining: Joining<'_>) {
        let Joining { token, request, protocols, .. } = joining;
        self.count_protocols(&protocols);
        let Some(member) = self.members.get_mut(id) else { return };
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.session_timeout_ms = request.session_timeout_ms;
        let old_protocols = std::mem::replace(&mut member.protocols, protocols);
        match member.awaiting_join.replace(token) {
            // The client asked again on another connection. Kafka forgets the first request; here each is
            // answered, since a connection's later responses wait for it.
            Some(overtaken) => turn.refuse_join(overtaken, id.clone(), ErrorCode::RebalanceInProgress),
            None => self.awaiting_join += 1,
        }
        self.uncount_protocols(&old_protocols);
    }

    /// What every member is told of the present generation.
    pub(super) fn joined(&self) -> JoinGroupResponse {
        JoinGroupResponse {
            generation_id: self.generation.get(),
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone().or(Some(Str::EMPTY)),
            leader: self.leader.clone().unwrap_or_default(),
            ..Default::default()
        }
    }

    /// What the leader is told of the members.
    pub(super) fn joined_members(&self) -> Vec<JoinGroupResponseMember> {
        let member = |m: &Member| JoinGroupResponseMember {
            member_id: m.id.clone(),
            group_instance_id: m.instance_id.clone(),
            metadata: m.metadata(self.protocol.as_ref()),
            ..Default::default()
        };
        self.members.values().map(member).collect()
    }
}
