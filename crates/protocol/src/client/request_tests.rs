use super::*;

fn parse(headers: &[(&str, &str)]) -> Result<ClientContext, BadRequest> {
    let user = [("x-trino-user", "alice")];
    ClientContext::from_headers(user.iter().chain(headers).copied(), None, None)
}

fn refused(headers: &[(&str, &str)]) -> String {
    parse(headers).unwrap_err().0
}

fn map<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn a_user_there_must_be() {
    let error = ClientContext::from_headers([("X-Trino-User", " ")], None, None).unwrap_err();
    assert_eq!(error.0, "User must be set");
    let context = ClientContext::from_headers([], Some("bob"), None).unwrap();
    assert_eq!(context, ClientContext { user: "bob".into(), ..Default::default() });
    let context = ClientContext::from_headers([("X-Trino-User", "alice")], Some("bob"), None).unwrap();
    assert_eq!(context.user, "alice");
}

#[test]
fn texts_are_trimmed_and_names_lowered() {
    let context = parse(&[
        ("X-Trino-Catalog", " Hive "),
        ("X-TRINO-SCHEMA", "SF1"),
        ("x-trino-source", " "),
        ("X-Trino-Source", "second"),
        ("X-Trino-Time-Zone", "America/New_York"),
        ("X-Other-Source", "x"),
        ("", "x"),
    ])
    .unwrap();
    assert_eq!(context.catalog.as_deref(), Some("hive"));
    assert_eq!(context.schema.as_deref(), Some("sf1"));
    assert_eq!(context.source, None);
    assert_eq!(context.time_zone.as_deref(), Some("America/New_York"));
    assert_eq!(refused(&[("X-Trino-Schema", "s")]), "Schema is set but catalog is not");
    assert_eq!(
        refused(&[("X-Trino-Schema", "s"), ("X-Trino-Catalog", "")]),
        "Schema is set but catalog is not"
    );
}

#[test]
fn words_come_from_the_first_header_only() {
    let context = parse(&[
        ("X-Trino-Client-Tags", "b, a,,b"),
        ("X-Trino-Client-Tags", "c"),
        ("X-Trino-Client-Capabilities", "PARAMETRIC_DATETIME, SESSION_AUTHORIZATION,X"),
    ])
    .unwrap();
    assert_eq!(context.client_tags.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b"]);
    assert!(context.capabilities.parametric_datetime && context.capabilities.session_authorization);
    assert!(!context.capabilities.number);
}

#[test]
fn session_properties_are_joined_split_and_decoded() {
    let context = parse(&[
        ("X-Trino-Session", "retry_policy=TASK, query_max_run_time=5m"),
        ("X-Trino-Session", "hive.compression=a%2Cb+c%3D,my.hive.x="),
        ("X-Trino-Session", "retry_policy=QUERY"),
    ])
    .unwrap();
    assert_eq!(context.system_properties, map([("retry_policy", "QUERY"), ("query_max_run_time", "5m")]));
    assert_eq!(context.catalog_properties["hive"], map([("compression", "a,b c=")]));
    assert_eq!(context.catalog_properties["my.hive"], map([("x", "")]));
    for bad in ["x", "a=b=c", "=x", ".a=x", "a.=x", "a=%zz"] {
        assert_eq!(refused(&[("X-Trino-Session", bad)]), "Invalid X-Trino-Session header", "{bad}");
    }
}

#[test]
fn roles_are_read() {
    let context = parse(&[("X-Trino-Role", "system=ROLE%7Badmin%7D,hive=ALL,x=NONE")]).unwrap();
    assert_eq!(context.roles["system"], SelectedRole::Role("admin".into()));
    assert_eq!((&context.roles["hive"], &context.roles["x"]), (&SelectedRole::All, &SelectedRole::None));
    assert_eq!(refused(&[("X-Trino-Role", "system=admin")]), "Invalid X-Trino-Role header");
}

#[test]
fn prepared_statements_are_decoded() {
    let sql = format!("SELECT {}1", "1 + ".repeat(1000));
    let header = format!("my+name=SELECT+1%2C2,long={}", url::encode(&encode_statement(&sql)));
    let context = parse(&[("X-Trino-Prepared-Statement", &header)]).unwrap();
    assert_eq!(context.prepared_statements, map([("my name", "SELECT 1,2"), ("long", &sql)]));
    for bad in ["a", "a=%24zstd%3Axx", "=SELECT+1", "%=SELECT+1"] {
        assert_eq!(
            refused(&[("X-Trino-Prepared-Statement", bad)]),
            "Invalid X-Trino-Prepared-Statement header",
            "{bad}"
        );
    }
}

#[test]
fn a_transaction_header_says_that_transactions_are_supported() {
    assert_eq!(parse(&[]).unwrap().transaction, ClientTransaction::Unsupported);
    assert_eq!(parse(&[("X-Trino-Transaction-Id", "NONE")]).unwrap().transaction, ClientTransaction::None);
    let id = "0b2f6a2c-0f0e-4a53-a0d3-6f2c1f3b9a11";
    assert_eq!(
        parse(&[("X-Trino-Transaction-Id", id)]).unwrap().transaction,
        ClientTransaction::Id(id.into())
    );
}

#[test]
fn estimates_and_credentials_are_checked() {
    let context = parse(&[
        ("X-Trino-Resource-Estimate", "EXECUTION_TIME=5m,cpu_time=1.5h"),
        ("X-Trino-Resource-Estimate", "PEAK_MEMORY=2GB"),
        ("X-Trino-Extra-Credential", "token=a%3Db"),
        ("X-Trino-Query-Data-Encoding", "json+zstd, json"),
    ])
    .unwrap();
    assert_eq!(context.resource_estimates.execution_time, Some(Duration::minutes(5)));
    assert_eq!(context.resource_estimates.cpu_time, Some(Duration::minutes(90)));
    assert_eq!(context.resource_estimates.peak_memory, Some(DataSize::gigabytes(2)));
    assert_eq!(context.extra_credentials, map([("token", "a=b")]));
    assert_eq!(context.query_data_encodings, ["json+zstd", "json"]);
    assert_eq!(refused(&[("X-Trino-Resource-Estimate", "LUCK=1")]), "Unsupported resource name LUCK");
    assert_eq!(
        refused(&[("X-Trino-Resource-Estimate", "CPU_TIME=1")]),
        "Invalid X-Trino-Resource-Estimate header"
    );
    assert_eq!(
        refused(&[("X-Trino-Extra-Credential", "internal$x=1")]),
        "Invalid extra credential name: internal$x"
    );
}

#[test]
fn a_second_protocol_is_served_if_wanted() {
    let presto = [("X-Presto-User", "alice"), ("X-Presto-Catalog", "hive")];
    let context = ClientContext::from_headers(presto, None, Some("Presto")).unwrap();
    assert_eq!((context.user.as_str(), context.catalog.as_deref()), ("alice", Some("hive")));
    assert_eq!(context.prefix.header("Set-Session"), "X-Presto-Set-Session");
    assert!(ClientContext::from_headers(presto, None, None).is_err());
    let both = presto.into_iter().chain([("X-Trino-User", "alice")]);
    let error = ClientContext::from_headers(both, None, Some("Presto")).unwrap_err();
    assert_eq!(error.0, "Both Trino and Presto headers detected");
}

#[test]
fn a_context_comes_back_from_its_headers() {
    let text = |text: &str| Some(text.to_owned());
    let context = ClientContext {
        prefix: HeaderPrefix::default(),
        user: "alice".into(),
        original_user: text("root"),
        original_roles: BTreeMap::from([("system".into(), SelectedRole::All)]),
        source: text("cli"),
        client_info: text("info"),
        client_tags: BTreeSet::from(["a".into(), "b".into()]),
        capabilities: ClientCapabilities::ALL,
        trace_token: text("trace"),
        language: text("en-US"),
        catalog: text("hive"),
        schema: text("sf1"),
        path: text("a.b,c.d"),
        time_zone: text("UTC"),
        system_properties: map([("retry_policy", "TASK, or = not")]),
        catalog_properties: BTreeMap::from([("hive".into(), map([("x", "é")]))]),
        roles: BTreeMap::from([("system".into(), SelectedRole::Role("admin".into()))]),
        prepared_statements: map([("s 1", "SELECT ?"), ("s2", &"x".repeat(5000))]),
        transaction: ClientTransaction::None,
        resource_estimates: ResourceEstimates {
            execution_time: Some(Duration::minutes(5)),
            cpu_time: Some(Duration::seconds(7)),
            peak_memory: Some(DataSize::megabytes(3)),
        },
        extra_credentials: map([("token", "secret")]),
        query_data_encodings: vec!["json".into()],
    };
    let headers = context.to_headers();
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    assert_eq!(ClientContext::from_headers(pairs, None, None), Ok(context));
}
