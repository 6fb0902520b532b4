//! Configurations that are wrong: the program ends at once and says where and what; a good one starts.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::cluster::{Node, command, write_file};
use super::http::Request;

/// How long the program may take to find out.
const END_TIMEOUT: Duration = Duration::from_secs(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
const THREADS: usize = 4;

const CONFIG: &str = "config.properties";
const NODE: &str = "node.properties";
const EXCHANGE: &str = "exchange-manager.properties";
const TPCH: &str = "catalog/tpch.properties";
const HIVE: &str = "catalog/hive.properties";
/// In a text: the directory of the test.
const ROOT: &str = "{root}";

/// A file that is added or put in the place of a good one, its text, the line that is wrong (0: the whole file), and
/// what is said.
const BAD: &[(&str, &str, u32, &str)] = &[
    // Names.
    (
        CONFIG,
        "coordinator=true\n\nretry-polcy=TASK",
        3,
        "'retry-polcy' was not used. Did you mean to use 'retry-policy'?",
    ),
    (
        CONFIG,
        "query.max-memroy=1GB",
        1,
        "'query.max-memroy' was not used. Did you mean to use 'query.max-memory'?",
    ),
    (
        CONFIG,
        "# ports\n\nhttp-server.http.prot=0",
        3,
        "Did you mean to use 'http-server.http.port'?",
    ),
    (
        CONFIG,
        "completely-different=1",
        1,
        "'completely-different' was not used",
    ),
    (
        CONFIG,
        "Coordinator=true",
        1,
        "Did you mean to use 'coordinator'?",
    ),
    (
        CONFIG,
        "exchange-manager.name=filesystem",
        1,
        "'exchange-manager.name' was not used",
    ),
    (
        CONFIG,
        "max-failed-task=3",
        1,
        "Did you mean to use 'max-failed-tasks'?",
    ),
    (CONFIG, "retry-attempts=4", 1, "Defunct property 'retry-attempts'"),
    (
        CONFIG,
        "query.low-memory-killer.delay=0s",
        1,
        "Defunct property 'query.low-memory-killer.delay'",
    ),
    (
        NODE,
        "node.environment=test\nnode.ids=a",
        2,
        "Did you mean to use 'node.id'?",
    ),
    (
        EXCHANGE,
        "exchange-manager.name=filesystem\nexchange.base-directories=/x\nexchange.fsink=true",
        3,
        "'exchange.fsync'",
    ),
    (
        TPCH,
        "connector.name=tpch\ntpch.split-per-node=4",
        2,
        "Did you mean to use 'tpch.splits-per-node'?",
    ),
    (
        HIVE,
        "connector.name=hive\nhive.metastore=file\nhive.metastore.catalog.dir=/m\ntpch.splits-per-node=4",
        4,
        "was not used",
    ),
    // Values.
    (
        CONFIG,
        "coordinator=yes",
        1,
        "Invalid value 'yes' for property 'coordinator': expected true or false",
    ),
    (CONFIG, "coordinator", 1, "'coordinator'"),
    (
        CONFIG,
        "http-server.http.port=65536",
        1,
        "must be between 0 and 65535",
    ),
    (
        CONFIG,
        "http-server.http.port=http",
        1,
        "'http-server.http.port': expected a whole number",
    ),
    (
        CONFIG,
        "query.max-memory=abc",
        1,
        "'query.max-memory': expected a size such as 64MB",
    ),
    (
        CONFIG,
        "query.max-memory=20gb",
        1,
        "'query.max-memory': expected a size such as 64MB",
    ),
    (
        CONFIG,
        "query.max-memory=-1GB",
        1,
        "'query.max-memory': expected a size such as 64MB",
    ),
    (
        CONFIG,
        "query.client.timeout=5",
        1,
        "'query.client.timeout': expected a duration such as 10s",
    ),
    (
        CONFIG,
        "query.client.timeout=10ms",
        1,
        "'query.client.timeout': must be at least 1s",
    ),
    (
        CONFIG,
        "retry-max-delay=1 minute",
        1,
        "'retry-max-delay': expected a duration such as 10s",
    ),
    (
        CONFIG,
        "retry-policy=ALWAYS",
        1,
        "'retry-policy': expected one of NONE, QUERY, TASK",
    ),
    (
        CONFIG,
        "exchange.compression-codec=GZIP",
        1,
        "expected one of NONE, LZ4, ZSTD",
    ),
    (
        CONFIG,
        "query.max-history=many",
        1,
        "'query.max-history': expected a whole number",
    ),
    (
        CONFIG,
        "query.max-stage-count=0",
        1,
        "'query.max-stage-count': must be at least 1",
    ),
    (
        CONFIG,
        "task-retry-attempts-per-task=200",
        1,
        "must be between 0 and 126",
    ),
    (
        CONFIG,
        "retry-delay-scale-factor=two",
        1,
        "'retry-delay-scale-factor': expected a number",
    ),
    (CONFIG, "retry-delay-scale-factor=0.5", 1, "must be at least 1"),
    (
        CONFIG,
        "discovery.uri=coordinator:8080",
        1,
        "expected an address such as http://host:8080",
    ),
    (
        CONFIG,
        "task.max-worker-threads=0.5C",
        1,
        "'task.max-worker-threads': expected a number such as 8",
    ),
    (
        CONFIG,
        "memory.heap-headroom-per-node=130%",
        1,
        "must be between 0% and 100%",
    ),
    (
        CONFIG,
        "fault-tolerant-execution-max-partition-count=5000",
        1,
        "must be between 1 and 1000",
    ),
    (
        CONFIG,
        "failure-injection.tasks=stage=1",
        1,
        "expected a class at 'stage=1'",
    ),
    (
        NODE,
        "node.environment=Prod",
        1,
        "'node.environment': should match",
    ),
    (
        NODE,
        "node.environment=test\nnode.id=a.b",
        2,
        "'node.id': should match",
    ),
    (
        "log.properties",
        "# levels\nio.trino=LOUD",
        2,
        "expected one of OFF, ERROR, WARN, INFO, DEBUG, TRACE",
    ),
    (
        "jvm.config",
        "-server\n-Xmx8GB",
        2,
        "Invalid value '8GB' for property '-Xmx'",
    ),
    // Syntax and variables.
    (
        CONFIG,
        "coordinator=true\n=true",
        2,
        "A property needs a name before its value",
    ),
    (CONFIG, "coordinator=tru\\u00e", 1, "Malformed \\uxxxx encoding"),
    (
        CONFIG,
        "query.max-memory=${ENV:STEADFAST_UNSET}",
        1,
        "uses environment variable STEADFAST_UNSET, which is not set",
    ),
    (
        CONFIG,
        "query.max-memory=${ENV:STEADFAST_SET}",
        1,
        "Invalid value 'value' for property 'query.max-memory'",
    ),
    (
        CONFIG,
        "discovery.uri=http://${vault:host}",
        1,
        "secret provider 'vault'; only ENV is available",
    ),
    // What does not go together, or is missing.
    (
        CONFIG,
        "coordinator=false",
        1,
        "Property 'discovery.uri' must be set",
    ),
    (
        CONFIG,
        "retry-policy=TASK\nretry-policy.allowed=NONE",
        2,
        "retry-policy is TASK",
    ),
    (
        CONFIG,
        "retry-initial-delay=2m",
        1,
        "must not be greater than retry-max-delay",
    ),
    (
        CONFIG,
        "query.max-memory=2GB\nquery.max-total-memory=1GB",
        2,
        "must not be greater than query.max-total-memory",
    ),
    (
        CONFIG,
        "exchange-manager.config-file={root}/nowhere",
        1,
        "there is no file",
    ),
    (NODE, "", 0, "Property 'node.environment' must be set"),
    (
        EXCHANGE,
        "exchange-manager.name=filesystem",
        0,
        "Property 'exchange.base-directories' must be set",
    ),
    (
        EXCHANGE,
        "exchange-manager.name=tape\nexchange.base-directories=/x",
        1,
        "expected one of filesystem, hdfs",
    ),
    (
        EXCHANGE,
        "exchange-manager.name=filesystem\nexchange.base-directories=ftp://x/y",
        2,
        "there is no file system for 'ftp'",
    ),
    (
        TPCH,
        "tpch.splits-per-node=4",
        0,
        "Property 'connector.name' must be set",
    ),
    (
        TPCH,
        "connector.name=tcph",
        1,
        "there is no such connector. Did you mean 'tpch'?",
    ),
    (
        HIVE,
        "connector.name=hive\nhive.metastore=glue",
        2,
        "Only hive.metastore=file is available yet",
    ),
    (
        HIVE,
        "connector.name=hive\nhive.metastore=file",
        2,
        "Property 'hive.metastore.catalog.dir' must be set",
    ),
    (
        "catalog/TPCH.properties",
        "connector.name=tpch",
        0,
        "already exists",
    ),
    (
        "catalog/system.properties",
        "connector.name=tpch",
        0,
        "Catalog 'system' already exists",
    ),
];

/// Good files, each to be replaced by a bad one.
fn write_good(root: &Path) {
    let etc = root.join("etc");
    write_file(
        &etc.join(CONFIG),
        "coordinator=true\nhttp-server.http.port=0\nretry-policy=TASK\nmemory.limit-per-node=1GB\n",
    );
    let data = root.join("data");
    write_file(
        &etc.join(NODE),
        &format!(
            "node.environment=test\nnode.bind-ip=127.0.0.1\nnode.data-dir={}\n",
            data.display()
        ),
    );
    write_file(&etc.join(TPCH), "connector.name=tpch\n");
    write_file(
        &etc.join(EXCHANGE),
        &format!(
            "exchange-manager.name=filesystem\nexchange.base-directories={}\n",
            root.join("exchange").display()
        ),
    );
}

fn temporary() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("steadfast-etc-").tempdir();
    directory.expect("a temporary directory can be made")
}

/// What the program says of an `etc` directory with which it must not start.
fn complaint(etc: &Path) -> Result<String, String> {
    let mut child = command(etc)
        .env("STEADFAST_SET", "value")
        .env_remove("STEADFAST_UNSET")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let ended = ended_badly(&mut child);
    // Whatever it did, it is not needed any more.
    let _ = child.kill();
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ended
        .map(|()| text.clone())
        .map_err(|problem| format!("{problem}: {text}"))
}

fn ended_badly(child: &mut Child) -> Result<(), String> {
    let deadline = Instant::now() + END_TIMEOUT;
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.code().is_some_and(|code| code != 0) => return Ok(()),
            Some(status) => return Err(format!("it ended with {status}")),
            None if Instant::now() > deadline => return Err("it runs".to_owned()),
            None => std::thread::sleep(LOOK_INTERVAL),
        }
    }
}

/// What is wrong with how the program takes a bad file.
fn problem((file, text, line, said): &(&str, &str, u32, &str)) -> Option<String> {
    let root = temporary();
    write_good(root.path());
    let path = root.path().join("etc").join(file);
    write_file(&path, &text.replace(ROOT, &root.path().display().to_string()));
    let complaint = match complaint(&root.path().join("etc")) {
        Ok(complaint) => complaint,
        Err(problem) => return Some(format!("{file}: {text:?}: {problem}")),
    };
    let place = match line {
        // Names of catalogs are in lower case, whatever those of their files are.
        0 => path.display().to_string().to_lowercase(),
        line => format!("{}:{line}: ", path.display()),
    };
    let is_named = complaint.contains(&place) || (*line == 0 && complaint.to_lowercase().contains(&place));
    let is_brief = !complaint.contains("panicked") && !complaint.contains("backtrace");
    if is_named && is_brief && complaint.contains(said) {
        return None;
    }
    Some(format!(
        "{file}: {text:?}: expected {place:?} and {said:?}:\n{complaint}"
    ))
}

#[test]
fn bad_configurations_stop_the_start_and_are_explained() {
    const { assert!(BAD.len() >= 50) };
    let waiting = Mutex::new(BAD.iter());
    let problems = Mutex::new(Vec::new());
    let next = || waiting.lock().ok()?.next();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(bad) = next() {
                    if let (Some(problem), Ok(mut problems)) = (problem(bad), problems.lock()) {
                        problems.push(problem);
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().expect("no thread panicked");
    println!("{} bad configurations", BAD.len());
    assert!(
        problems.is_empty(),
        "{} of {} wrong:\n{}",
        problems.len(),
        BAD.len(),
        problems.join("\n")
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let root = temporary();
    write_good(root.path());
    let etc = root.path().join("etc");
    write_file(
        &etc.join(CONFIG),
        "coordinatr=true\nquery.max-history=-1\nretry-policy=x\n",
    );
    write_file(&etc.join(TPCH), "connector.name=tpch\ntpch.colour=red\n");
    let complaint = complaint(&etc).expect("it does not start");
    assert!(
        complaint.contains("The configuration has 4 errors"),
        "{complaint}"
    );
    for place in [
        "config.properties:1",
        "config.properties:2",
        "config.properties:3",
        "tpch.properties:2",
    ] {
        assert!(complaint.contains(place), "{place}: {complaint}");
    }
}

#[test]
fn what_the_machine_does_not_have_stops_the_start() {
    let root = temporary();
    let etc = root.path().join("etc");
    let nowhere = complaint(&root.path().join("nowhere")).expect("it does not start without etc");
    assert!(
        nowhere.contains("nowhere/config.properties: Cannot read file"),
        "{nowhere}"
    );

    write_good(root.path());
    write_file(&root.path().join("a-file"), "");
    let below_a_file = root.path().join("a-file/exchange").display().to_string();
    write_file(
        &etc.join(EXCHANGE),
        &format!("exchange-manager.name=filesystem\nexchange.base-directories={below_a_file}\n"),
    );
    let unwritable = complaint(&etc).expect("it does not start without an exchange");
    assert!(unwritable.contains(&below_a_file), "{unwritable}");

    write_good(root.path());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = taken.local_addr().expect("it has an address").port();
    write_file(
        &etc.join(CONFIG),
        &format!("coordinator=true\nhttp-server.http.port={port}\n"),
    );
    let occupied = complaint(&etc).expect("it does not start on a port that is taken");
    assert!(occupied.contains(&format!("127.0.0.1:{port}")), "{occupied}");
    assert!(occupied.contains("http-server.http.port"), "{occupied}");
}

#[test]
fn a_good_configuration_starts_and_stops() {
    let root = temporary();
    write_good(root.path());
    let node = Node::start(&root.path().join("etc"), &root.path().join("server.log"));
    let node = node.unwrap_or_else(|log| panic!("a good configuration does not start:\n{log}"));
    let info = Request::get("/v1/info").send(node.authority()).json();
    assert_eq!(info["environment"], "test");
    assert_eq!(info["starting"], false);
    assert!(node.stop(), "it should have ended well");
}
