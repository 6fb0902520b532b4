use super::*;

const MB: u64 = 1 << 20;

fn estimator() -> Estimator {
    Estimator::new(&QueryOptions::default())
}

/// ME-1: there are no coordinator fragments here; the worker default is taken as it is.
#[test]
fn me_1_default_is_the_first_lease() {
    assert_eq!(estimator().initial_bytes(113 * MB), 113 * MB);
}

#[test]
fn me_2_to_6_retry_grows_only_when_the_lease_was_too_small() {
    let estimator = estimator();
    for (id, peak, grow, expected) in [
        ("ME-2", 10, false, 50),
        ("ME-3", 10, true, 150),
        ("ME-4", 10, true, 150),
        ("ME-5", 70, false, 70),
        ("ME-6", 70, true, 210),
    ] {
        assert_eq!(estimator.retry_bytes(50 * MB, peak * MB, grow, false), expected * MB, "{id}");
    }
}

#[test]
fn me_3_and_10_which_codes_mean_memory() {
    for code in [
        ErrorCode::CLUSTER_OUT_OF_MEMORY,
        ErrorCode::EXCEEDED_LOCAL_MEMORY_LIMIT,
        ErrorCode::EXCEEDED_GLOBAL_MEMORY_LIMIT,
    ] {
        assert!(is_out_of_memory(code), "{code}");
    }
    for code in
        [ErrorCode::CORRUPT_PAGE, ErrorCode::ADMINISTRATIVELY_PREEMPTED, ErrorCode::EXCEEDED_TIME_LIMIT]
    {
        assert!(!is_out_of_memory(code), "{code}");
    }
}

#[test]
fn me_7_to_9_estimate_is_a_quantile_of_finished_peaks() {
    let mut estimator = estimator();
    estimator.register_success(1000 * MB);
    for _ in 0..9 {
        estimator.register_success(300 * MB);
    }
    estimator.register_success(100 * MB);
    assert_eq!(estimator.initial_bytes(50 * MB), 300 * MB, "ME-7");
    assert_eq!(estimator.retry_bytes(50 * MB, 70 * MB, true, false), 300 * MB, "ME-7 retry");
    for _ in 0..2 {
        estimator.register_out_of_memory(100 * MB, 200 * MB);
    }
    assert_eq!(estimator.initial_bytes(50 * MB), 600 * MB, "ME-8");
    for _ in 0..3 {
        estimator.register_out_of_memory(300 * MB, 200 * MB);
    }
    assert_eq!(estimator.initial_bytes(50 * MB), 900 * MB, "ME-9");
}

#[test]
fn me_11_default_and_estimate_the_larger_counts() {
    let mut estimator = estimator();
    for _ in 0..10 {
        estimator.register_success(300 * MB);
    }
    assert_eq!(estimator.initial_bytes(500 * MB), 500 * MB);
    assert_eq!(estimator.initial_bytes(100 * MB), 300 * MB);
}

/// ME-12; that the cap is the largest node is tested where leases are given, in `core_tests`.
#[test]
fn me_12_last_attempt_asks_for_a_whole_node() {
    assert_eq!(estimator().retry_bytes(50 * MB, 10 * MB, true, true), WHOLE_NODE_BYTES);
    assert_eq!(estimator().retry_bytes(50 * MB, 10 * MB, false, true), 50 * MB);
}

#[test]
fn different_peaks_are_few_whatever_is_seen() {
    let mut estimator = estimator();
    for at in 0..100_000u64 {
        estimator.register_success((at * 2_654_435_761) % (64 << 30));
    }
    assert!(estimator.peaks.kept() < 3000, "{}", estimator.peaks.kept());
    let share = estimator.initial_bytes(0) as f64 / (64u64 << 30) as f64;
    assert!((0.88..0.93).contains(&share), "{share}");
}
