//! The server, by raw sockets: what is answered, what is not, and what hostile or slow peers cost.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use common::Rig;
use lineshaft_dashboard::{Dashboard, Server, limits};
use serde_json::Value;

/// Nothing here takes so long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

struct Site {
    rig: Rig,
    server: Server,
    _dashboard: Dashboard,
}

impl Site {
    fn new() -> Site {
        Site::at([127, 0, 0, 1])
    }

    fn at(address: [u8; 4]) -> Site {
        let rig = Rig::new();
        let dashboard = Dashboard::start(rig.engine.reader()).expect("a thread starts");
        let server = dashboard
            .serve(address.into(), None)
            .expect("a port is free");
        Site {
            rig,
            server,
            _dashboard: dashboard,
        }
    }

    fn address(&self) -> SocketAddr {
        let address = self.server.url().split('/').nth(2).expect("an address");
        address.parse().expect("a number and a port")
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address()).expect("the server listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        socket
    }

    /// Status, headers and body of the answer to a GET with these further headers.
    fn get_with(&self, path: &str, headers: &str) -> (u16, String, String) {
        let mut socket = self.connect();
        write!(
            socket,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
        )
        .expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status");
        (
            status.parse().expect("a number"),
            head.to_owned(),
            body.to_owned(),
        )
    }

    fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.get_with(path, "");
        (status, body)
    }

    fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Follows the events from an id on.
    fn follow(&self, id: Option<&str>) -> Events {
        let mut socket = self.connect();
        let id = id.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        // Who finds no place may be cut off before this: then there is no event.
        let _: std::io::Result<()> = write!(
            socket,
            "GET /api/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{id}\r\n"
        );
        Events(BufReader::new(socket))
    }
}

struct Events(BufReader<TcpStream>);

impl Events {
    /// The id and the data of the next event; None at the end.
    fn next(&mut self) -> Option<(String, Value)> {
        let (mut id, mut line) = (String::new(), String::new());
        loop {
            line.clear();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(found) = line.strip_prefix("id: ") {
                found.trim_end().clone_into(&mut id);
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Some((id, serde_json::from_str(data).expect("JSON")));
            }
        }
    }

    /// The first event for which this holds.
    fn until(&mut self, holds: impl Fn(&Value) -> bool) -> (String, Value) {
        loop {
            let event = self.next().expect("it comes before the end");
            if holds(&event.1) {
                return event;
            }
        }
    }
}

#[test]
fn every_view_can_be_asked_for() {
    let site = Site::new();
    site.rig.run("doubled", 25);
    let (status, metrics) = site.get("/metrics");
    assert_eq!(status, 200);
    assert!(
        metrics.contains("lineshaft_tasks_ended_total{outcome=\"finished\"} 25\n"),
        "{metrics}"
    );
    assert_eq!(site.json("/api/overview")["tasks"]["finished"], 25);
    assert_eq!(
        site.json("/api/overview?since=1")["groups"][0]["name"],
        "doubled"
    );
    let page = site.json("/api/tasks?sort=oldest&offset=10&limit=10");
    assert_eq!(
        (&page["found"], page["rows"].as_array().map(Vec::len)),
        (&25.into(), Some(10))
    );
    let task = &page["rows"][0]["task"];
    assert_eq!(
        site.json(&format!("/api/tasks/{task}"))["explanation"],
        "it has ended"
    );
    let timeline = site.json("/api/timeline?from_s=0&to_s=1000&columns=100");
    assert_eq!(
        timeline["lanes"][0]["label"]
            .as_str()
            .map(|label| &label[..7]),
        Some("threads")
    );
    let scatter = site.json("/api/scatter?from_s=0&to_s=1000&columns=100&rows=10");
    assert_eq!(scatter["count"], 25);
    let groups = site.json("/api/groups?name=DOUB&sort=name");
    assert_eq!(
        (&groups["found"], &groups["rows"][0]["finished"]),
        (&1.into(), &25.into())
    );
    assert_eq!(site.json("/api/groups?name=other")["found"], 0);
    let workers = site.json("/api/workers?stacks=true");
    assert_eq!(workers["workers"][0]["attempts"], 25);
    assert_eq!(workers["program"]["pid"], std::process::id());
    let profile = site.json("/api/profile?from_s=0");
    assert_eq!(profile["stacks"], 0, "threads of this process have none");
    assert!(
        site.json("/api/run")
            .as_array()
            .is_some_and(|samples| !samples.is_empty())
    );
    let (status, head, page) = site.get_with("/", "");
    assert_eq!(status, 200);
    assert!(
        head.contains("content-security-policy: default-src 'none'; script-src 'self'"),
        "{head}"
    );
    assert!(page.contains("Lineshaft"));
}

#[test]
fn what_makes_no_sense_is_an_error_of_its_own() {
    let site = Site::new();
    for (path, expected) in [
        ("/nowhere", 404),
        ("/api/tasks/1000", 404),
        ("/api/tasks/x", 400),
        ("/api/tasks?limit=-1", 400),
        ("/api/tasks?colour=red", 400),
        ("/api/timeline", 400),
        ("/api/scatter?from_s=0&to_s=1", 400),
        ("/api/groups?sort=colour", 400),
        ("/api/timeline?from_s=a&to_s=b&columns=c", 400),
        ("/api/overview?since=x", 400),
        ("/../../etc/passwd", 404),
    ] {
        assert_eq!(site.get(path).0, expected, "{path}");
    }
    assert_eq!(
        site.get("/api/timeline?from_s=nan&to_s=-inf&columns=0").0,
        200
    );
}

#[test]
fn other_origins_names_and_methods_are_refused() {
    let site = Site::new();
    assert_eq!(
        site.get_with("/api/overview", "Origin: http://evil.example\r\n")
            .0,
        403
    );
    assert_eq!(
        site.get_with("/api/overview", "Sec-Fetch-Site: cross-site\r\n")
            .0,
        403
    );
    assert_eq!(
        site.get_with("/api/overview", "Origin: http://localhost\r\n")
            .0,
        200
    );
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "403"),
        ("GET / HTTP/1.1\r\n\r\n", "403"),
        (
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
            "403",
        ),
        (
            "POST /api/workers/1/restart HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
            "403",
        ),
        (
            "OPTIONS /api/workers/1/restart HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "405",
        ),
    ] {
        let mut socket = site.connect();
        socket.write_all(request.as_bytes()).expect("sent");
        let mut line = String::new();
        BufReader::new(socket)
            .read_line(&mut line)
            .expect("an answer");
        assert_eq!(line.split(' ').nth(1), Some(expected), "{request}");
    }
}

#[test]
fn at_another_address_nothing_is_answered_without_the_token() {
    let site = Site::at([127, 0, 0, 2]);
    let (address, token) = site.server.url().split_once("/?token=").expect("a token");
    assert!(address.starts_with("http://127.0.0.2:"), "{address}");
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let paths = [
        "/",
        "/app.js",
        "/metrics",
        "/api/overview",
        "/api/events",
        "/nothing",
    ];
    for path in paths {
        let (status, head, body) = site.get_with(path, "");
        assert_eq!(status, 401, "{path}: {body}");
        assert!(!head.contains(token) && !body.contains(token), "{path}");
        let wrong = format!("{}x\r\n", bearer.trim_end());
        assert_eq!(site.get_with(path, &wrong).0, 401, "{path}");
    }
    assert_eq!(site.get_with("/api/overview", &bearer).0, 200);
    // A browser opens the address, and goes on by its cookie.
    let (status, head, _) = site.get_with(&format!("/?token={token}"), "");
    assert_eq!(status, 303, "{head}");
    let kept = head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "));
    let kept = kept.expect("a cookie");
    assert!(kept.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{kept}");
    let cookie = format!("Cookie: {}\r\n", kept.split(';').next().expect("a value"));
    assert_eq!(site.get_with("/api/overview", &cookie).0, 200);
    // With it too, pages of other origins are refused.
    let elsewhere = format!("{cookie}Origin: http://evil.example\r\n");
    assert_eq!(site.get_with("/api/overview", &elsewhere).0, 403);
}

#[test]
fn events_tell_what_happens_and_the_end() {
    let site = Site::new();
    let mut events = site.follow(None);
    let (_, first) = events.next().expect("at once");
    assert_eq!(
        (&first["resumed"], &first["ended"]),
        (&false.into(), &false.into())
    );
    site.rig.run("doubled", 10);
    let (_, event) = events.until(|event| event["tasks"]["finished"] == 10);
    assert_eq!(event["resumed"], true);
    site.rig.engine.shut_down();
    let (_, last) = events.until(|event| event["ended"] == true);
    assert_eq!(last["tasks"]["finished"], 10);
    let (_, record) = events.next().expect("the whole run");
    assert_eq!(record["tasks"]["task"].as_array().map(Vec::len), Some(10));
    assert!(events.next().is_none(), "nothing comes after the end");
}

#[test]
fn who_follows_is_told_that_the_program_is_there_while_nothing_happens() {
    let site = Site::new();
    let mut events = site.follow(None);
    let is_empty = |event: &Value| event.as_object().is_some_and(serde_json::Map::is_empty);
    for _ in 0..2 {
        events.until(is_empty);
    }
    site.rig.run("doubled", 1);
    events.until(|event| event["tasks"]["finished"] == 1);
}

#[test]
fn who_comes_back_goes_on_where_he_was_and_a_stranger_starts_afresh() {
    let site = Site::new();
    let (id, _) = site.follow(None).next().expect("at once");
    site.rig.run("doubled", 10);
    let (_, event) = site
        .follow(Some(&id))
        .until(|event| event["tasks"]["finished"] == 10);
    assert_eq!(event["resumed"], true);
    for strange in [
        "1-7",
        "garbage",
        "",
        "99999999999999999999-1",
        &format!("{id}0"),
    ] {
        let (_, event) = site.follow(Some(strange)).next().expect("at once");
        // One of this run's future is answered with nothing new.
        let of_this_run = strange.starts_with(id.split('-').next().expect("a run"));
        assert_eq!(event["resumed"], of_this_run, "{strange}");
    }
}

#[test]
fn garbage_and_closed_sockets_harm_nobody() {
    let site = Site::new();
    let mut seed = 12_345_u32;
    for length in 0..200 {
        let mut socket = site.connect();
        let garbage: Vec<u8> = (0..length * 7)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            })
            .collect();
        // It may have been refused before all of it was sent.
        let _: std::io::Result<()> = socket.write_all(&garbage);
    }
    for request in [
        "GET",
        "GET / HTTP/1.1\r\nHost: local",
        "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        for _ in 0..20 {
            site.connect().write_all(request.as_bytes()).expect("sent");
        }
    }
    let endless = "x".repeat(1 << 20);
    let mut socket = site.connect();
    let _: std::io::Result<()> = write!(
        socket,
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: {endless}\r\n\r\n"
    );
    site.rig.run("doubled", 5);
    assert_eq!(site.get("/metrics").0, 200);
}

#[test]
fn readers_that_do_not_read_hold_up_neither_the_engine_nor_other_readers() {
    let site = Site::new();
    let idle: Vec<Events> = (0..50).map(|_| site.follow(None)).collect();
    let mut reader = site.follow(None);
    for round in 1..=5 {
        site.rig.run("doubled", 2_000);
        reader.until(|event| event["tasks"]["finished"] == 2_000 * round);
    }
    // They did not read a byte of it, and come to the same state.
    for mut events in idle {
        events.until(|event| event["tasks"]["finished"] == 10_000);
    }
}

#[test]
fn one_connection_too_many_is_closed_and_the_next_one_after_another_has_gone_is_served() {
    let site = Site::new();
    let mut held: Vec<Events> = (0..limits::CONNECTIONS_MAX)
        .map(|_| site.follow(None))
        .collect();
    for events in &mut held {
        assert!(events.next().is_some());
    }
    assert!(site.follow(None).next().is_none(), "there is no place");
    drop(held);
    // The server hears of the ends one by one.
    let mut tries = 0;
    while site.follow(None).next().is_none() {
        tries += 1;
        assert!(tries < 10_000, "places are given back");
    }
}

#[test]
fn when_a_server_stops_its_port_is_closed_and_readers_come_to_the_end() {
    let site = Site::new();
    let mut events = site.follow(None);
    events.next().expect("at once");
    let address = site.address();
    site.server.stop();
    while events.next().is_some() {}
    assert!(TcpStream::connect(address).is_err());
    site.server.stop();
}

#[test]
fn each_engine_has_a_port_of_its_own() {
    let (first, second) = (Site::new(), Site::new());
    assert_ne!(first.server.url(), second.server.url());
    second.rig.run("doubled", 3);
    assert_eq!(first.get("/metrics").0, 200);
    assert!(
        second
            .get("/metrics")
            .1
            .contains("outcome=\"finished\"} 3\n")
    );
}
