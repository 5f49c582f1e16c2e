use proptest::prelude::*;

use super::*;
use crate::planner::predict::{Method, Predictor};
use crate::planner::profile::{Profile, tests::EXAMPLE};

fn sla() -> Target {
    Target::Sla(Box::new(SlaTarget {
        first_token: 0.5,
        inter_token: 0.02,
        predictor: Predictor {
            method: Method::Constant,
            window: 1,
            period: 1,
        },
        correct: true,
        profile: Profile::parse(EXAMPLE.as_bytes()).unwrap(),
    }))
}

fn policy(target: Target) -> Policy {
    let limits = Limits {
        min: 1,
        max: u32::MAX,
        gpus: 1,
    };
    Policy {
        target,
        limits: PerRole::of(|_| Some(limits)),
        gpu_budget: None,
        pace: Pace {
            max_step: u32::MAX,
            cooldown: Duration::ZERO,
            stabilization: Duration::ZERO,
        },
    }
}

fn traffic(rate: f64) -> Option<Traffic> {
    Some(Traffic {
        rate,
        prompt_tokens: 2000.0,
        answer_tokens: 300.0,
    })
}

fn seen(seconds: u64, prefill: u32, decode: u32) -> Observation {
    Observation {
        at: Duration::from_secs(seconds),
        replicas: PerRole {
            prefill: Some(prefill),
            decode: Some(decode),
        },
        ..Observation::default()
    }
}

fn targets(decision: &Decision) -> (u32, u32) {
    let target = |role| decision.roles.get(role).as_ref().unwrap().target.unwrap();
    (target(Role::Prefill), target(Role::Decode))
}

/// What is decided without a past.
fn first(seen: &Observation, policy: &Policy) -> (u32, u32) {
    targets(&decide(seen, &State::default(), policy))
}

#[test]
fn traffic_is_divided_by_what_a_worker_does() {
    let observation = Observation {
        traffic: traffic(10.0),
        ..seen(0, 1, 1)
    };
    // 20,000 prompt tokens a second over 74% of 9,081 each; 3,000 generated tokens over 1,980 each.
    assert_eq!(first(&observation, &policy(sla())), (3, 2));
    let mut together = policy(sla());
    together.limits.prefill = None;
    let decision = decide(&observation, &State::default(), &together);
    assert!(decision.roles.prefill.is_none());
    assert_eq!(decision.roles.decode.unwrap().target, Some(5));
}

#[test]
fn measured_times_correct_the_profile() {
    let observation = Observation {
        traffic: traffic(10.0),
        ..seen(0, 3, 2)
    };
    let cached = Observation {
        latency: Latency {
            first_token: Some(0.05),
            ..Latency::default()
        },
        ..observation
    };
    assert_eq!(first(&cached, &policy(sla())), (1, 2));
    let slow = Observation {
        latency: Latency {
            inter_token: Some(0.05),
            request: Some(10.0),
            ..Latency::default()
        },
        ..observation
    };
    assert!(first(&slow, &policy(sla())).1 > 2);
}

#[test]
fn a_shorter_wait_takes_more_prefill_workers() {
    let wanted = |first_token: f64| {
        let mut policy = policy(sla());
        if let Target::Sla(target) = &mut policy.target {
            target.first_token = first_token;
        }
        let observation = Observation {
            traffic: traffic(100.0),
            ..seen(0, 3, 2)
        };
        first(&observation, &policy).0
    };
    assert_eq!([0.1, 0.25, 0.5, 100.0].map(wanted), [45, 45, 30, 23]);
}

#[test]
fn load_goes_up_and_down_by_thresholds() {
    let policy = policy(Target::Load(LoadTarget::default()));
    let check = |waiting: f64, kv_usage: f64, want: (u32, u32)| {
        let observation = Observation {
            pressure: Pressure {
                waiting: Some(waiting),
                kv_usage: Some(kv_usage),
            },
            ..seen(0, 2, 2)
        };
        assert_eq!(first(&observation, &policy), want, "{waiting} {kv_usage}");
    };
    check(11.0, 0.95, (3, 3));
    check(10.0, 0.9, (2, 2));
    check(0.3, 0.4, (1, 1));
    // One alone could not hold what two do.
    check(0.3, 0.46, (1, 2));
    check(5.0, 0.6, (2, 2));
}

#[test]
fn fewer_workers_have_to_be_enough_for_a_while() {
    let mut policy = policy(sla());
    policy.pace.stabilization = Duration::from_secs(300);
    let mut state = State::default();
    let mut decide_at = |seconds: u64, rate: f64, decode: u32| {
        let observation = Observation {
            traffic: traffic(rate),
            ..seen(seconds, 9, decode)
        };
        let decision = decide(&observation, &state, &policy);
        state = decision.state.clone();
        targets(&decision).1
    };
    assert_eq!(decide_at(0, 50.0, 8), 8);
    assert_eq!(decide_at(100, 20.0, 8), 8);
    assert_eq!(decide_at(200, 10.0, 8), 8);
    assert_eq!(decide_at(300, 10.0, 8), 4, "the 50 of 300 s ago are over");
    assert_eq!(decide_at(400, 10.0, 4), 2);
    assert_eq!(decide_at(410, 50.0, 2), 8, "more are asked for at once");
}

#[test]
fn changes_keep_their_distance_and_their_size() {
    let mut policy = policy(sla());
    policy.pace.cooldown = Duration::from_secs(60);
    policy.pace.max_step = 2;
    let busy = |seconds: u64, replicas: u32| Observation {
        traffic: traffic(40.0),
        ..seen(seconds, replicas, replicas)
    };
    let one = decide(&busy(0, 1), &State::default(), &policy);
    assert_eq!(targets(&one), (3, 3));
    let two = decide(&busy(59, 3), &one.state, &policy);
    assert_eq!(targets(&two), (3, 3));
    assert!(two.to_string().contains("1 s left"), "{two}");
    assert_eq!(targets(&decide(&busy(60, 3), &two.state, &policy)), (5, 5));
}

#[test]
fn without_traffic_the_fewest_stay() {
    let silent = Observation {
        traffic: Some(Traffic {
            rate: 0.0,
            prompt_tokens: f64::NAN,
            answer_tokens: f64::NAN,
        }),
        ..seen(0, 5, 7)
    };
    let mut policy = policy(sla());
    assert_eq!(first(&silent, &policy), (1, 1));
    policy.limits = PerRole::of(|_| {
        Some(Limits {
            min: 0,
            max: 9,
            gpus: 1,
        })
    });
    let decision = decide(&silent, &State::default(), &policy);
    assert_eq!(targets(&decision), (0, 0));
    assert_eq!(
        decision.to_string(),
        "prefill 5 -> 0 (no traffic); decode 7 -> 0 (no traffic)"
    );
}

fn figure() -> impl Strategy<Value = f64> {
    prop_oneof![4 => 0.0..200.0_f64, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => Just(-1.0)]
}

fn any_observation() -> impl Strategy<Value = Observation> {
    let traffic = prop::option::of((figure(), figure(), figure()));
    let figures = prop::collection::vec(prop::option::of(figure()), 5);
    let replicas = (
        prop::option::weighted(0.9, 0..20_u32),
        prop::option::weighted(0.9, 0..20_u32),
    );
    (0..100_000_u64, replicas, traffic, figures).prop_map(
        |(at, (prefill, decode), traffic, figures)| Observation {
            at: Duration::from_secs(at),
            replicas: PerRole { prefill, decode },
            traffic: traffic.map(|(rate, prompt_tokens, answer_tokens)| Traffic {
                rate,
                prompt_tokens,
                answer_tokens,
            }),
            latency: Latency {
                first_token: figures[0],
                inter_token: figures[1],
                request: figures[2],
            },
            pressure: Pressure {
                waiting: figures[3],
                kv_usage: figures[4],
            },
        },
    )
}

fn any_target() -> impl Strategy<Value = Target> {
    prop_oneof![Just(Target::Load(LoadTarget::default())), Just(sla()),]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let limits = (0..4_u32, 4..30_u32, 1..5_u32);
    let pace = (1..10_u32, 0..500_u64, 0..500_u64);
    (
        any_target(),
        limits.clone(),
        limits,
        prop::option::of(0..60_u32),
        pace,
    )
        .prop_map(
            |(target, prefill, decode, gpu_budget, (max_step, cooldown, stabilization))| {
                let limits = |(min, max, gpus)| Some(Limits { min, max, gpus });
                Policy {
                    target,
                    limits: PerRole {
                        prefill: limits(prefill),
                        decode: limits(decode),
                    },
                    gpu_budget,
                    pace: Pace {
                        max_step,
                        cooldown: Duration::from_secs(cooldown),
                        stabilization: Duration::from_secs(stabilization),
                    },
                }
            },
        )
}

fn is_unknown(decision: &RoleDecision) -> bool {
    let unknown =
        |reason: &Reason| matches!(reason, Reason::NoData { .. } | Reason::UnknownReplicas);
    decision.reasons.iter().any(unknown)
}

proptest! {
    /// Whatever was seen: limits and the budget hold, steps are small, and what is not known
    /// changes nothing.
    #[test]
    fn bounds_hold(
        observations in prop::collection::vec(any_observation(), 1..8),
        policy in any_policy(),
    ) {
        let mut state = State::default();
        for observation in observations {
            let decision = decide(&observation, &state, &policy);
            prop_assert!(!decision.to_string().is_empty());
            let (mut gpus, mut floors) = (0, 0);
            for (role, limits) in policy.planned() {
                let of_role = decision.roles.get(role).as_ref().unwrap();
                let current = *observation.replicas.get(role);
                prop_assert_eq!(of_role.current, current);
                if is_unknown(of_role) {
                    prop_assert_eq!(of_role.target, current);
                    floors += current.unwrap_or(0) * limits.gpus;
                } else {
                    let target = of_role.target.unwrap();
                    prop_assert!(target >= limits.min && target <= limits.max);
                    floors += limits.min * limits.gpus;
                }
                gpus += of_role.target.unwrap_or(0) * limits.gpus;
            }
            let known = observation.replicas.prefill.is_some() && observation.replicas.decode.is_some();
            if let Some(budget) = policy.gpu_budget.filter(|_| known) {
                prop_assert!(gpus <= budget.max(floors), "{gpus} of {budget}");
            }
            state = decision.state;
        }
    }

    #[test]
    fn more_traffic_never_means_fewer(rate in 0.0..500.0_f64, more in 0.0..500.0_f64) {
        let policy = policy(sla());
        let at = |rate| first(&Observation { traffic: traffic(rate), ..seen(0, 3, 3) }, &policy);
        let (less, more) = (at(rate), at(rate + more));
        prop_assert!(more.0 >= less.0 && more.1 >= less.1);
    }

    #[test]
    fn more_load_never_means_fewer(
        waiting in 0.0..100.0_f64, kv_usage in 0.0..1.0_f64,
        more in 0.0..50.0_f64, fuller in 0.0..0.5_f64, replicas in 1..10_u32,
    ) {
        let policy = policy(Target::Load(LoadTarget::default()));
        let at = |waiting, kv_usage| {
            let pressure = Pressure { waiting: Some(waiting), kv_usage: Some(kv_usage) };
            first(&Observation { pressure, ..seen(0, replicas, replicas) }, &policy)
        };
        let (less, more) = (at(waiting, kv_usage), at(waiting + more, kv_usage + fuller));
        prop_assert!(more.0 >= less.0 && more.1 >= less.1);
    }

    /// The same load, spread over the workers that are asked for, comes to rest and stays there.
    #[test]
    fn nothing_flaps(
        waiting in 0.0..100.0_f64, kv_in_workers in 0.0..12.0_f64, rate in 0.0..200.0_f64,
        target in any_target(), prefill in 1..20_u32, decode in 1..20_u32,
    ) {
        let policy = policy(target);
        let (mut state, mut at) = (State::default(), (prefill, decode));
        let mut turns = PerRole::of(|_| (0, 0));
        for step in 0..60 {
            let observation = Observation {
                traffic: traffic(rate),
                pressure: Pressure {
                    waiting: Some(waiting),
                    kv_usage: Some(kv_in_workers / f64::from(at.1.max(1))),
                },
                ..seen(10 * step, at.0, at.1)
            };
            let decision = decide(&observation, &state, &policy);
            let next = targets(&decision);
            for (role, before, after) in [(Role::Prefill, at.0, next.0), (Role::Decode, at.1, next.1)] {
                let direction = i64::from(after).cmp(&i64::from(before)) as i32;
                let (last, changes) = turns.get_mut(role);
                if direction != 0 && *last != 0 && direction != *last {
                    *changes += 1;
                }
                if direction != 0 {
                    *last = direction;
                }
            }
            (state, at) = (decision.state, next);
        }
        prop_assert_eq!((turns.prefill.1, turns.decode.1), (0, 0));
    }
}
