//! Which retry policies a server starts with, and which a session may choose.

use std::collections::BTreeMap;

use base::{DataSize, ErrorCode};
use config::{MemoryShare, RetryPolicy, ServerConfig, SessionSettings, Source};

const POLICIES: [RetryPolicy; 3] = [RetryPolicy::None, RetryPolicy::Query, RetryPolicy::Task];

fn server(policy: RetryPolicy, allowed: &[RetryPolicy]) -> Option<ServerConfig> {
    let allowed: Vec<&str> = allowed.iter().map(|policy| policy.as_str()).collect();
    let allowed = allowed.join(",");
    let properties = [
        (Source::Node, "node.environment", "test"),
        (Source::Config, "retry-policy", policy.as_str()),
        (Source::Config, "retry-policy.allowed", allowed.as_str()),
    ];
    ServerConfig::from_properties(properties).ok()
}

#[test]
fn every_combination_of_policies_is_judged() {
    for bits in 1u32..8 {
        let bit = |policy: &RetryPolicy| 1 << POLICIES.iter().position(|known| known == policy).unwrap();
        let allowed: Vec<RetryPolicy> =
            POLICIES.into_iter().filter(|policy| bits & bit(policy) != 0).collect();
        let names: Vec<&str> = allowed.iter().map(|policy| policy.as_str()).collect();
        for policy in POLICIES {
            let Some(config) = server(policy, &allowed) else {
                assert!(!allowed.contains(&policy), "{policy:?} of {allowed:?}");
                continue;
            };
            assert!(allowed.contains(&policy), "{policy:?} of {allowed:?}");
            let none = BTreeMap::new();
            assert_eq!(SessionSettings::resolve(&config, &none).unwrap().retry_policy, policy);
            assert_eq!(config.session_retry_policy(&none), policy);
            for chosen in POLICIES {
                let set = BTreeMap::from([("retry_policy".to_owned(), chosen.as_str().to_lowercase())]);
                match SessionSettings::resolve(&config, &set) {
                    Ok(settings) => {
                        assert!(allowed.contains(&chosen), "{chosen:?} of {allowed:?}");
                        assert_eq!(settings.retry_policy, chosen);
                        assert_eq!(config.session_retry_policy(&set), chosen);
                    }
                    Err(error) => {
                        assert!(!allowed.contains(&chosen), "{chosen:?} of {allowed:?}");
                        assert_eq!(error.code(), ErrorCode::INVALID_SESSION_PROPERTY);
                        let (chosen, names) = (chosen.as_str(), names.join(", "));
                        let text = format!("Retry policy {chosen} not allowed. Must be one of [{names}]");
                        assert_eq!(error.message(), text);
                    }
                }
            }
        }
    }
}

#[test]
fn retries_are_those_of_trino_unless_they_are_set() {
    let config = server(RetryPolicy::Query, &POLICIES).unwrap();
    let set = |values: &[(&str, &str)]| {
        let set = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        SessionSettings::resolve(&config, &set).unwrap()
    };
    let plain = set(&[]);
    assert_eq!(plain.query_retry_attempts, 4);
    assert_eq!(plain.retry_initial_delay, base::Duration::seconds(10));
    assert_eq!(plain.retry_max_delay, base::Duration::minutes(1));
    assert_eq!(plain.retry_delay_scale_factor, 2.0);
    assert_eq!(config.direct_exchange.deduplication_buffer_size, DataSize::megabytes(32));
    let own = set(&[("query_retry_attempts", "0"), ("retry_initial_delay", "0s"), ("retry_max_delay", "1s")]);
    assert_eq!((own.query_retry_attempts, own.retry_initial_delay), (0, base::Duration::seconds(0)));
}

#[test]
fn a_query_gets_its_share_of_a_node() {
    let memory = |headroom: &str| {
        let properties = [
            (Source::Node, "node.environment", "test"),
            (Source::Config, "memory.heap-headroom-per-node", headroom),
        ];
        ServerConfig::from_properties(properties).unwrap().memory
    };
    let limit = DataSize::gigabytes(10);
    let share = |headroom: &str, query: MemoryShare| {
        let memory = memory(headroom);
        memory.query_share_of_pool(query, memory.pool(limit))
    };
    let megabytes = |size: DataSize| (size.0 as f64 / (1 << 20) as f64).round();
    // Shares are of all of the node's memory, as in Trino.
    assert_eq!(megabytes(share("30%", MemoryShare::Share(0.3))), 3072.0);
    assert_eq!(megabytes(share("2GB", MemoryShare::Share(0.3))), 3072.0);
    assert_eq!(share("30%", MemoryShare::Size(DataSize::gigabytes(2))), DataSize::gigabytes(2));
    // No query gets more than there is.
    assert_eq!(share("0B", MemoryShare::Size(DataSize::gigabytes(99))), limit);
}
