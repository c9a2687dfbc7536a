//! Tests of [`super::Replica`]: transcripts (`testdata/replica_*.txt`, commands in and printed effects out) and invariants
//! under random events.

use logrun_model::TimestampMs;
use proptest::prelude::*;

use super::*;

fn at(ms: i64) -> Now {
    Now { monotonic: Monotonic::default().plus_ms(ms), wall: TimestampMs(ms) }
}

fn nodes(text: &str) -> Vec<NodeId> {
    text.split(',').filter(|s| !s.is_empty()).map(|s| NodeId(s.parse().unwrap())).collect()
}

fn new_replica(words: &[&str]) -> Replica {
    let n = |i: usize| words[i].parse::<i64>().unwrap();
    let config = ReplicaConfig { min_insync_replicas: n(4) as usize, replica_lag_time_max_ms: 100 };
    let offsets = LogOffsets {
        log_start_offset: Offset(n(1)),
        log_end_offset: Offset(n(2)),
        high_watermark: Offset(n(3)),
        first_unstable_offset: None,
    };
    Replica::new(NodeId(1), offsets, config)
}

fn event(words: &[&str]) -> Event {
    let n = |i: usize| words[i].parse::<i64>().unwrap();
    let unstable = |i: usize| words.get(i).map(|_| Offset(n(i)));
    match words[0] {
        "metadata" => Event::Metadata(PartitionRegistration {
            leader: NodeId(n(1) as i32),
            leader_epoch: LeaderEpoch(n(2) as i32),
            partition_epoch: PartitionEpoch(n(3) as i32),
            replicas: nodes(words[4]),
            isr: nodes(words[5]),
        }),
        "deleted" => Event::Deleted,
        "min-isr" => Event::Config(ReplicaConfig { min_insync_replicas: n(1) as usize, replica_lag_time_max_ms: 100 }),
        "appended" => Event::Appended { log_end_offset: Offset(n(1)), first_unstable_offset: unstable(2) },
        "durable" => Event::Durable { log_end_offset: Offset(n(1)) },
        "fetched" => Event::FollowerFetched {
            replica: NodeId(n(1) as i32),
            fetch_offset: Offset(n(2)),
            log_start_offset: Offset(0),
            eligible: words.get(3) != Some(&"fenced"),
        },
        "leader-hw" => Event::LeaderHighWatermark { high_watermark: Offset(n(1)) },
        "log-start" => Event::LogStartMoved { log_start_offset: Offset(n(1)) },
        "truncated" => Event::Truncated { log_end_offset: Offset(n(1)), first_unstable_offset: unstable(2) },
        "emptied" => Event::TruncatedFully { log_start_offset: Offset(n(1)) },
        "unstable" => Event::FirstUnstableMoved { first_unstable_offset: unstable(1) },
        "isr-refused" => Event::IsrRefused,
        "deadline" => Event::Deadline,
        other => panic!("no command {other}"),
    }
}

/// Runs the commands of a transcript and gives it back with what really came out.
fn run(transcript: &str) -> String {
    let mut replica = None;
    let mut now = 0;
    let mut out = String::new();
    for line in transcript.lines().filter(|l| !l.starts_with("  ")) {
        out += &format!("{line}\n");
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.is_empty() || words[0] == "#" {
            continue;
        }
        if words[0] == "open" {
            replica = Some(new_replica(&words));
            continue;
        }
        let replica: &mut Replica = replica.as_mut().expect("a transcript begins with open");
        if words[0] == "at" {
            now = words[1].parse().unwrap();
            continue;
        }
        let mut effects = Vec::new();
        replica.on(at(now), event(&words), &mut effects);
        for e in effects {
            out += &format!("  {e:?}\n");
        }
        let deadline = replica.next_deadline().map_or("-".to_owned(), |d| d.as_ms().to_string());
        out += &format!(
            "  end {} hw {} lso {} start {} deadline {deadline}\n",
            replica.log_end_offset, replica.high_watermark, replica.last_stable_offset, replica.log_start_offset
        );
    }
    out
}

/// Compares a transcript with what comes out; `UPDATE_TRANSCRIPTS=1` writes it anew.
fn check(name: &str) {
    let path = format!("{}/testdata/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let transcript = std::fs::read_to_string(&path).unwrap();
    let out = run(&transcript);
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        std::fs::write(&path, &out).unwrap();
        return;
    }
    assert_eq!(out, transcript, "the transcript should read:\n{out}");
}

#[test]
fn one_node_leads_and_restarts() {
    check("replica_one_node");
}

#[test]
fn three_nodes_grow_and_shrink_the_isr() {
    check("replica_isr");
}

#[test]
fn a_follower_truncates_and_takes_over() {
    check("replica_follower");
}

#[test]
fn transactions_hold_back_the_last_stable_offset() {
    check("replica_transactions");
}

#[derive(Clone, Debug)]
enum Op {
    Append(i64),
    Durable(i64),
    Fetched(i32, i64, bool),
    Metadata(u8, Vec<bool>, bool),
    Truncate(i64),
    LogStart(i64),
    Unstable(Option<i64>),
    MinIsr(usize),
    LeaderHw(i64),
    Refused,
    Deadline,
    Wait(i64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1i64..5).prop_map(Op::Append),
        4 => (0i64..5).prop_map(Op::Durable),
        5 => (2i32..5, 0i64..6, any::<bool>()).prop_map(|(r, o, e)| Op::Fetched(r, o, e)),
        2 => (0u8..4, proptest::collection::vec(any::<bool>(), 3), any::<bool>())
            .prop_map(|(l, i, e)| Op::Metadata(l, i, e)),
        1 => (0i64..6).prop_map(Op::Truncate),
        1 => (0i64..4).prop_map(Op::LogStart),
        1 => proptest::option::of(0i64..20).prop_map(Op::Unstable),
        1 => (1usize..4).prop_map(Op::MinIsr),
        1 => (0i64..40).prop_map(Op::LeaderHw),
        1 => Just(Op::Refused),
        1 => Just(Op::Deadline),
        1 => (0i64..150).prop_map(Op::Wait),
    ]
}

proptest! {
    #[test]
    fn the_offsets_keep_their_order(ops in proptest::collection::vec(op(), 1..80)) {
        let mut r = new_replica(&["open", "0", "0", "0", "1"]);
        let (mut now, mut leader_epoch, mut partition_epoch) = (0i64, 0i32, 0i32);
        for op in ops {
            let before = r.clone();
            let end = r.log_end_offset.get();
            let mut may_fall = false;
            let event = match op {
                Op::Wait(ms) => { now += ms; Event::Deadline }
                Op::Append(n) => Event::Appended {
                    log_end_offset: Offset(end + n), first_unstable_offset: r.first_unstable_offset,
                },
                Op::Durable(back) => Event::Durable { log_end_offset: Offset((end - back).max(0)) },
                Op::Fetched(id, back, eligible) => Event::FollowerFetched {
                    replica: NodeId(id), fetch_offset: Offset((end - back).max(0)), log_start_offset: Offset(0), eligible,
                },
                Op::Metadata(leader, isr, new_epoch) => {
                    partition_epoch += 1;
                    leader_epoch += i32::from(new_epoch);
                    let leader = if new_epoch { NodeId(i32::from(leader)) } else { r.registration.leader };
                    Event::Metadata(PartitionRegistration {
                        replicas: vec![NodeId(1), NodeId(2), NodeId(3)],
                        isr: (1..4).filter(|i| isr[*i as usize - 1] || *i == leader.get()).map(NodeId).collect(),
                        leader: if leader == NodeId(0) { NodeId::NONE } else { leader },
                        leader_epoch: LeaderEpoch(leader_epoch),
                        partition_epoch: PartitionEpoch(partition_epoch),
                    })
                }
                Op::Truncate(n) => {
                    may_fall = true;
                    Event::Truncated {
                        log_end_offset: Offset((end - n).max(r.log_start_offset.get())),
                        first_unstable_offset: None,
                    }
                }
                Op::LogStart(n) => Event::LogStartMoved {
                    log_start_offset: Offset((r.log_start_offset.get() + n).min(r.high_watermark.get())),
                },
                Op::Unstable(o) => Event::FirstUnstableMoved { first_unstable_offset: o.map(Offset) },
                Op::MinIsr(n) => Event::Config(ReplicaConfig { min_insync_replicas: n, replica_lag_time_max_ms: 100 }),
                Op::LeaderHw(o) => Event::LeaderHighWatermark { high_watermark: Offset(o) },
                Op::Refused => Event::IsrRefused,
                Op::Deadline => Event::Deadline,
            };
            let mut effects = Vec::new();
            r.on(at(now), event, &mut effects);
            prop_assert!(r.log_start_offset <= r.high_watermark);
            prop_assert!(r.last_stable_offset <= r.high_watermark);
            prop_assert!(r.high_watermark <= r.log_end_offset);
            prop_assert!(r.durable_offset <= r.log_end_offset);
            prop_assert!(may_fall || r.high_watermark >= before.high_watermark, "the high watermark fell");
            let moved = effects.iter().any(|e| matches!(e, Effect::HighWatermarkMoved(_)));
            prop_assert_eq!(moved, r.high_watermark > before.high_watermark);
            if moved && matches!(r.role, Role::Leader { .. }) && r.log_start_offset == before.log_start_offset {
                prop_assert!(!r.is_under_min_isr());
                prop_assert!(r.high_watermark <= r.durable_offset);
                for id in r.registration.isr.iter().filter(|id| **id != NodeId(1)) {
                    prop_assert!(r.followers[id].log_end_offset >= r.high_watermark);
                }
            }
        }
    }
}
