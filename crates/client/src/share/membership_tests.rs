//! A share group's member, event by event.

use logrun_wire::messages::share_group_heartbeat_response::{Assignment, TopicPartitions};

use super::*;

struct Bench {
    member: Member,
    now: Monotonic,
    effects: Vec<Effect>,
}

impl Bench {
    fn new() -> Self {
        let settings = Settings {
            group_id: "g".into(),
            rack_id: None,
            max_poll_interval_ms: 60_000,
            backoff: Backoff::new(100, 1000),
        };
        Self {
            member: Member::new(settings, Random::from_seed(1)),
            now: Monotonic::default().plus_ms(1000),
            effects: Vec::new(),
        }
    }

    fn on(&mut self, event: Event) -> Vec<Effect> {
        self.member.on(self.now, event, &mut self.effects);
        std::mem::take(&mut self.effects)
    }

    fn wait(&mut self, ms: i64) -> Vec<Effect> {
        self.now = self.now.plus_ms(ms);
        self.on(Event::DeadlineReached)
    }

    /// Joined, with partitions 0 and 1 of `t`.
    fn joined() -> Self {
        let mut b = Self::new();
        assert_eq!(b.on(Event::Subscribed(["t".into()].into())), []);
        let (number, request) = sent(&b.on(Event::Polled));
        assert_eq!((request.member_epoch, request.subscribed_topic_names), (0, Some(vec!["t".into()])));
        let effects = b.on(Event::Answered(number, Ok(answer(1, Some(&[0, 1])))));
        assert_eq!(effects, [Effect::NameTopics([Uuid::ONE].into()), Effect::Has(BTreeMap::new())]);
        let effects = b.on(Event::TopicsNamed(vec![(Uuid::ONE, "t".into())]));
        assert_eq!(effects, [Effect::NameTopics(BTreeSet::new()), has(&[0, 1])]);
        b
    }
}

fn answer(member_epoch: i32, assigned: Option<&[i32]>) -> ShareGroupHeartbeatResponse {
    let topics = |partitions: &[i32]| {
        vec![TopicPartitions { topic_id: Uuid::ONE, partitions: partitions.to_vec(), ..Default::default() }]
    };
    ShareGroupHeartbeatResponse {
        member_epoch,
        heartbeat_interval_ms: 5000,
        assignment: assigned.map(|p| Assignment { topic_partitions: topics(p), ..Default::default() }),
        ..Default::default()
    }
}

fn has(partitions: &[i32]) -> Effect {
    Effect::Has(partitions.iter().map(|p| (TopicPartition::new("t", *p), Uuid::ONE)).collect())
}

fn sent(effects: &[Effect]) -> (u64, ShareGroupHeartbeatRequest) {
    let mut sends = effects.iter().filter_map(|e| match e {
        Effect::Send(number, request) => Some((*number, request.clone())),
        _ => None,
    });
    sends.next().unwrap_or_else(|| panic!("no heartbeat: {effects:?}"))
}

#[test]
fn joins_beats_and_leaves() {
    let mut b = Bench::joined();
    assert_eq!(b.wait(4999), []);
    let (number, request) = sent(&b.wait(1));
    assert_eq!((request.member_epoch, request.subscribed_topic_names), (1, None));
    assert_eq!(b.on(Event::Answered(number, Ok(answer(2, Some(&[1]))))), [has(&[1])]);
    let effects = b.on(Event::Unsubscribed);
    assert_eq!(effects[0], Effect::Has(BTreeMap::new()));
    let (number, request) = sent(&effects);
    assert_eq!(request.member_epoch, -1);
    assert_eq!(b.on(Event::Answered(number, Ok(answer(-1, None)))), [Effect::Gone]);
    assert_eq!(b.member.next_deadline(), None);
}

#[test]
fn another_subscription_is_told_at_once() {
    let mut b = Bench::joined();
    let (_, request) = sent(&b.on(Event::Subscribed(["t".into(), "u".into()].into())));
    assert_eq!(request.subscribed_topic_names, Some(vec!["t".into(), "u".into()]));
}

#[test]
fn a_fenced_member_joins_again_and_a_moved_coordinator_is_looked_up() {
    let mut b = Bench::joined();
    let (number, _) = sent(&b.wait(5000));
    let effects = b.on(Event::Answered(number, Err(ErrorCode::NotCoordinator.into())));
    assert_eq!(effects, [Effect::ForgetCoordinator]);
    let (number, request) = sent(&b.wait(200));
    assert!(request.subscribed_topic_names.is_some(), "nobody knows what was heard");
    let effects = b.on(Event::Answered(number, Err(ErrorCode::UnknownMemberId.into())));
    assert_eq!(effects[0], Effect::Has(BTreeMap::new()));
    assert_eq!(sent(&effects).1.member_epoch, 0);
}

#[test]
fn whoever_does_not_poll_leaves_until_it_polls() {
    let mut b = Bench::joined();
    let mut leave = Vec::new();
    for _ in 0..12 {
        let effects = b.wait(5000);
        let (number, request) = sent(&effects);
        match request.member_epoch {
            -1 => leave.push(request),
            epoch => drop(b.on(Event::Answered(number, Ok(answer(epoch, None))))),
        }
    }
    assert_eq!(leave.len(), 1);
    assert_eq!(b.wait(100_000), []);
    assert_eq!(sent(&b.on(Event::Polled)).1.member_epoch, 0);
}

#[test]
fn what_cannot_be_is_told_to_the_application() {
    let mut b = Bench::new();
    b.on(Event::Subscribed(["t".into()].into()));
    let (number, _) = sent(&b.on(Event::Polled));
    let e = Error::from(ErrorCode::GroupAuthorizationFailed);
    assert_eq!(b.on(Event::Answered(number, Err(e.clone()))), [Effect::Fail(e)]);
    assert_eq!(b.wait(10_000), []);
    assert_eq!(b.on(Event::Unsubscribed), [Effect::Gone]);
}
