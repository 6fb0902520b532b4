//! Configurations that are wrong: the program ends at once and says where and what; a good one starts.

mod table;

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::cluster::{Node, command, write_file};
use super::http::Request;
use table::{BAD, CONFIG, EXCHANGE, NODE, ROOT, TPCH};

/// How long the program may take to find out.
const END_TIMEOUT: Duration = Duration::from_secs(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
const THREADS: usize = 4;

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
        &format!("node.environment=test\nnode.bind-ip=127.0.0.1\nnode.data-dir={}\n", data.display()),
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
    ended.map(|()| text.clone()).map_err(|problem| format!("{problem}: {text}"))
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
    Some(format!("{file}: {text:?}: expected {place:?} and {said:?}:\n{complaint}"))
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
    assert!(problems.is_empty(), "{} of {} wrong:\n{}", problems.len(), BAD.len(), problems.join("\n"));
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let root = temporary();
    write_good(root.path());
    let etc = root.path().join("etc");
    write_file(&etc.join(CONFIG), "coordinatr=true\nquery.max-history=-1\nretry-policy=x\n");
    write_file(&etc.join(TPCH), "connector.name=tpch\ntpch.colour=red\n");
    let complaint = complaint(&etc).expect("it does not start");
    assert!(complaint.contains("The configuration has 4 errors"), "{complaint}");
    for place in ["config.properties:1", "config.properties:2", "config.properties:3", "tpch.properties:2"] {
        assert!(complaint.contains(place), "{place}: {complaint}");
    }
}

#[test]
fn what_the_machine_does_not_have_stops_the_start() {
    let root = temporary();
    let etc = root.path().join("etc");
    let nowhere = complaint(&root.path().join("nowhere")).expect("it does not start without etc");
    assert!(nowhere.contains("nowhere/config.properties: Cannot read file"), "{nowhere}");

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
    write_file(&etc.join(CONFIG), &format!("coordinator=true\nhttp-server.http.port={port}\n"));
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
