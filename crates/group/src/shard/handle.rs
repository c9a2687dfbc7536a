//! Each request's way: the checks that Kafka's `GroupCoordinatorService` makes before a shard is asked, then the
//! group or the ledger.

use std::sync::Arc;

use logrun_coordinator::Phase;
use logrun_model::{GroupId, Now, Str};
use logrun_wire::ErrorCode;
use logrun_wire::messages::describe_groups_response::DescribedGroup;
use logrun_wire::messages::leave_group_request::MemberIdentity;
use logrun_wire::messages::list_groups_response::ListedGroup;
use logrun_wire::messages::{
    JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest,
    OffsetDeleteRequest, SyncGroupRequest,
};

use super::{GroupShard, Refusal, Ticket, Turn};
use crate::classic::{ClassicGroup, Event, Subscribed};
use crate::ledger::{Command, ForeignKind};
use crate::request::{
    Client, Effect, Request, Response, Token, commit_refused, delete_result, describe_refused, join_refused,
    member_left, sync_refused,
};

impl GroupShard {
    /// Takes a request. Its reply is among the effects, of this call or of a later one.
    pub fn handle(&mut self, turn: &mut Turn<'_>, token: Token, client: Client, request: Request) {
        if let Some(refusal) = self.refusal(&client, &request) {
            turn.reply(token, refusal);
            return;
        }
        match request {
            Request::JoinGroup(request) => self.join_group(turn, token, client, request),
            Request::SyncGroup(request) => {
                let id = request.group_id.clone();
                if self.groups.contains_key(&id) {
                    self.group_event(turn, &id, Event::Sync { token, request });
                } else {
                    turn.reply(token, Response::SyncGroup(sync_refused(ErrorCode::UnknownMemberId)));
                }
            }
            Request::Heartbeat(request) => {
                let id = request.group_id.clone();
                if self.groups.contains_key(&id) {
                    self.group_event(turn, &id, Event::Heartbeat { token, request });
                } else {
                    turn.reply(token, Request::Heartbeat(request).refused(ErrorCode::UnknownMemberId));
                }
            }
            Request::LeaveGroup(request) => self.leave_group(turn, token, &client, request),
            Request::OffsetCommit(request) => self.offset_commit(turn, token, &client, request),
            Request::OffsetFetch { group, require_stable } => {
                let group = Arc::new(group);
                let command = Command::FetchOffsets { group: Arc::clone(&group), require_stable };
                self.ask_ledger(turn, token, Refusal::Fetch(group), command);
            }
            Request::OffsetDelete(request) => self.offset_delete(turn, token, request),
            Request::DescribeGroups(ids) => {
                let described = ids.iter().map(|id| self.describe(&client, id)).collect();
                let command = Command::Tell(Response::DescribeGroups(described));
                self.ask_ledger(turn, token, Refusal::Describe(ids), command);
            }
            Request::ListGroups(request) => {
                let command = Command::Tell(Response::ListGroups(self.list(&request)));
                self.ask_ledger(turn, token, Refusal::List, command);
            }
            Request::DeleteGroups(ids) => {
                let results = ids.iter().map(|id| {
                    let error = self.delete_group(turn, id);
                    delete_result(id, error)
                });
                let command = Command::Tell(Response::DeleteGroups(results.collect()));
                self.ask_ledger(turn, token, Refusal::Delete(ids), command);
            }
        }
        // A delay of 0 (`group.initial.rebalance.delay.ms`) is over at once.
        self.run_due(turn);
    }

    /// What is refused before any group is asked.
    fn refusal(&self, client: &Client, request: &Request) -> Option<Response> {
        let error = match self.driver.phase() {
            Phase::Active(_) => None,
            Phase::Unloaded => Some(ErrorCode::NotCoordinator),
            // A member that is well should not rejoin because its coordinator is only just starting.
            Phase::Loading(_) if matches!(request, Request::Heartbeat(_)) => Some(ErrorCode::None),
            Phase::Loading(_) => Some(ErrorCode::CoordinatorLoadInProgress),
        };
        let group_id = match request {
            Request::JoinGroup(r) => Some(&r.group_id),
            Request::SyncGroup(r) => Some(&r.group_id),
            Request::Heartbeat(r) => Some(&r.group_id),
            Request::LeaveGroup(r) => Some(&r.group_id),
            Request::OffsetDelete(r) => Some(&r.group_id),
            // The empty group id is allowed, for the sake of old simple consumers.
            _ => None,
        };
        let is_empty = group_id.is_some_and(|id| id.is_empty());
        let error = error.or(is_empty.then_some(ErrorCode::InvalidGroupId));
        let error = error.or_else(|| match request {
            Request::JoinGroup(r) => {
                let allowed = self.config.group_min_session_timeout_ms..=self.config.group_max_session_timeout_ms;
                (!allowed.contains(&r.session_timeout_ms)).then_some(ErrorCode::InvalidSessionTimeout)
            }
            // From version 5 on both must be there (KIP-559).
            Request::SyncGroup(SyncGroupRequest { protocol_type, protocol_name, .. })
                if client.api_version >= 5 && (protocol_type.is_none() || protocol_name.is_none()) =>
            {
                Some(ErrorCode::InconsistentGroupProtocol)
            }
            _ => None,
        });
        error.map(|error| request.refused(error))
    }

    fn join_group(&mut self, turn: &mut Turn<'_>, token: Token, client: Client, mut request: JoinGroupRequest) {
        if client.api_version == 0 {
            request.rebalance_timeout_ms = request.session_timeout_ms;
        }
        let id = request.group_id.detached();
        if let Some((kind, is_empty)) = self.foreign(turn.now, &id) {
            if !is_empty || kind == ForeignKind::Share {
                let refused = join_refused(Str::EMPTY, ErrorCode::InconsistentGroupProtocol);
                return turn.reply(token, Response::JoinGroup(refused));
            }
            // A consumer or streams group without members becomes classic.
            if let Err(error) = self.bury_foreign(turn, &id) {
                return turn.reply(token, Response::JoinGroup(join_refused(request.member_id, error)));
            }
        }
        if !self.groups.contains_key(&id) {
            if !request.member_id.is_empty() {
                let response = Response::JoinGroup(join_refused(request.member_id, ErrorCode::UnknownMemberId));
                return turn.reply(token, response);
            }
            self.groups.insert(id.clone(), ClassicGroup::new(id.clone(), turn.now));
        }
        self.group_event(turn, &id, Event::Join { token, client, request });
    }

    /// Up to version 2 there is one member, and its error is the response's.
    fn leave_group(&mut self, turn: &mut Turn<'_>, token: Token, client: &Client, mut request: LeaveGroupRequest) {
        let is_single = client.api_version < 3;
        if is_single {
            let member_id = std::mem::take(&mut request.member_id);
            request.members = vec![MemberIdentity { member_id, ..Default::default() }];
        }
        let id = request.group_id.clone();
        let first = turn.effects.len();
        if self.groups.contains_key(&id) {
            self.group_event(turn, &id, Event::Leave { token, request });
        } else {
            let left = |m: MemberIdentity| member_left(m.member_id, m.group_instance_id, ErrorCode::UnknownMemberId);
            let response = logrun_wire::messages::LeaveGroupResponse {
                members: request.members.into_iter().map(left).collect(),
                ..Default::default()
            };
            turn.reply(token, Response::LeaveGroup(response));
        }
        if is_single {
            for effect in &mut turn.effects[first..] {
                if let Effect::Reply { token: of, response: Response::LeaveGroup(response) } = effect
                    && *of == token
                    && let Some(member) = response.members.pop()
                {
                    response.error_code = member.error_code;
                }
            }
        }
    }

    fn offset_commit(&mut self, turn: &mut Turn<'_>, token: Token, client: &Client, request: OffsetCommitRequest) {
        if let Err(error) = self.check_offset_commit(turn.now, client, &request) {
            let response = Response::OffsetCommit(commit_refused(&request, error));
            return turn.reply(token, response);
        }
        let (id, member_id) = (&request.group_id, request.member_id.clone());
        if self.groups.contains_key(id) && !member_id.is_empty() {
            self.group_event(turn, &id.clone(), Event::OffsetsCommitted { member_id });
        }
        let request = Arc::new(request);
        let command = Command::CommitOffsets(Arc::clone(&request));
        self.ask_ledger(turn, token, Refusal::Commit(request), command);
    }

    fn check_offset_commit(&self, now: Now, client: &Client, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
        let generation = request.generation_id_or_member_epoch;
        if let Some(group) = self.groups.get(&request.group_id) {
            let instance_id = request.group_instance_id.as_ref();
            return group.check_offset_commit(&request.member_id, instance_id, generation, false);
        }
        if generation < 0 {
            // Nobody's members are disturbed by a tool that sets offsets, unless there are any.
            return match self.foreign(now, &request.group_id) {
                Some((_, false)) => Err(ErrorCode::UnknownMemberId),
                Some((_, true)) | None => Ok(()),
            };
        }
        match self.foreign(now, &request.group_id) {
            Some(_) => Err(ErrorCode::UnknownMemberId),
            // A group that has offsets and no more: it has no generation.
            None if self.ledger_knows(&request.group_id) => Err(ErrorCode::UnknownMemberId),
            None if client.api_version >= 9 => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
        }
    }

    fn offset_delete(&mut self, turn: &mut Turn<'_>, token: Token, request: OffsetDeleteRequest) {
        let id = &request.group_id;
        let subscribed = match (self.groups.get(id), self.foreign(turn.now, id)) {
            (Some(group), _) => group.check_offset_delete().map(|()| group.subscribed()),
            // What its members consume is not known here.
            (None, Some((_, false))) => Ok(Subscribed::Everything),
            (None, Some((_, true))) => Ok(Subscribed::Nothing),
            (None, None) if self.ledger_knows(id) => Ok(Subscribed::Nothing),
            (None, None) => Err(ErrorCode::GroupIdNotFound),
        };
        match subscribed {
            Ok(subscribed) => {
                let command = Command::DeleteOffsets { request: Arc::new(request), subscribed };
                self.ask_ledger(turn, token, Refusal::OffsetDelete, command);
            }
            Err(error) => {
                let response = Request::OffsetDelete(request).refused(error);
                turn.reply(token, response);
            }
        }
    }

    fn describe(&self, client: &Client, id: &Str) -> DescribedGroup {
        if let Some(group) = self.groups.get(id) {
            return group.described();
        }
        let is_foreign = self.driver.machine().is_some_and(|ledger| ledger.foreign(id).is_some());
        if !is_foreign && self.ledger_knows(id) {
            let group_state = Str::from_static("Empty");
            return DescribedGroup { group_id: id.clone(), group_state, ..Default::default() };
        }
        let mut dead =
            DescribedGroup { group_state: Str::from_static("Dead"), ..describe_refused(id, ErrorCode::None) };
        // KIP-1043.
        if client.api_version >= 6 {
            let why = if is_foreign { "is not a classic group" } else { "does not exist" };
            dead.error_code = ErrorCode::GroupIdNotFound.code();
            dead.error_message = Some(Str::from(format!("Group {id} {why}.")));
        }
        dead
    }

    fn list(&self, request: &ListGroupsRequest) -> ListGroupsResponse {
        let mut groups: Vec<ListedGroup> = self.groups.values().map(ClassicGroup::listed).collect();
        if let Some(ledger) = self.driver.machine() {
            let simple = ledger.simple_groups().filter(|id| !self.groups.contains_key(*id));
            groups.extend(simple.map(|id| listed(id, "", true, "classic")));
            let foreign = ledger.foreign_groups();
            groups.extend(foreign.map(|(id, kind, empty)| listed(id, kind.name(), empty, kind.name())));
        }
        let is_in = |filter: &[Str], text: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(text))
        };
        groups.retain(|g| is_in(&request.states_filter, &g.group_state) && is_in(&request.types_filter, &g.group_type));
        ListGroupsResponse { groups, ..Default::default() }
    }

    pub(super) fn ask_ledger(&mut self, turn: &mut Turn<'_>, token: Token, refusal: Refusal, command: Command) {
        let mut answers = Vec::new();
        let ticket = Ticket::Client { token, refusal };
        self.submit(turn, ticket, command, &mut answers);
        self.settle(turn, answers);
    }
}

fn listed(id: &GroupId, protocol_type: &'static str, is_empty: bool, group_type: &'static str) -> ListedGroup {
    ListedGroup {
        group_id: id.clone(),
        protocol_type: Str::from_static(protocol_type),
        group_state: Str::from_static(if is_empty { "Empty" } else { "Stable" }),
        group_type: Str::from_static(group_type),
        ..Default::default()
    }
}
