//! What can be asked for.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use lineshaft_core::{TaskId, WorkerId};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::token::Token;
use super::{assets, guard, stream};
use crate::collector::Shared;
use crate::view::{
    GraphQuery, GroupQuery, ProfileQuery, Said, ScatterQuery, TaskQuery, TimelineQuery,
};

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) stopped: watch::Receiver<bool>,
    pub(crate) latest: Arc<stream::Latest>,
}

pub(crate) fn router(
    shared: Arc<Shared>,
    token: Option<Arc<Token>>,
    stopped: watch::Receiver<bool>,
) -> Router {
    let context = Context {
        shared,
        stopped,
        latest: Arc::default(),
    };
    Router::new()
        .route("/", get(|| async { text("text/html", assets::page()) }))
        .route(
            "/app.js",
            get(|| async { text("text/javascript", assets::SCRIPT) }),
        )
        .route(
            "/app.css",
            get(|| async { text("text/css", assets::STYLE) }),
        )
        .route("/metrics", get(metrics))
        .route("/api/events", get(stream::events))
        .route("/api/overview", get(overview))
        .route("/api/run", get(run))
        .route("/api/groups", get(groups))
        .route("/api/profile", get(profile))
        .route("/api/graph", get(graph))
        .route("/api/workers", get(workers))
        .route("/api/workers/{worker}/{deed}", post(act))
        .route("/api/tasks", get(tasks))
        .route("/api/tasks/{task}", get(task))
        .route("/api/timeline", get(timeline))
        .route("/api/scatter", get(scatter))
        .layer(from_fn_with_state(token, guard::guard))
        .with_state(context)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Since {
    #[serde(default)]
    since: u64,
}

async fn overview(State(context): State<Context>, Query(since): Query<Since>) -> Response {
    context.shared.refresh();
    json(&context.shared.overview(since.since))
}

async fn run(State(context): State<Context>) -> Response {
    let samples = context.shared.picture().whole_run();
    json(&samples)
}

async fn profile(State(context): State<Context>, Query(query): Query<ProfileQuery>) -> Response {
    context.shared.want_stacks();
    let tree = context.shared.picture().profile_tree(&query);
    json(&tree)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Whether the stacks of what runs are wanted, from now on and for a while.
    #[serde(default)]
    stacks: bool,
}

async fn workers(State(context): State<Context>, Query(wanted): Query<Wanted>) -> Response {
    if wanted.stacks {
        context.shared.want_stacks();
    }
    context.shared.refresh();
    json(&context.shared.workers())
}

/// What may be done to a worker.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    Restart,
    Retire,
}

async fn act(State(context): State<Context>, Path((worker, deed)): Path<(u32, Deed)>) -> Response {
    let (reader, worker) = (&context.shared.reader, WorkerId(worker));
    let done = match deed {
        Deed::Restart => reader.restart_worker(worker),
        Deed::Retire => reader.retire_worker(worker),
    };
    if !done {
        return (StatusCode::NOT_FOUND, "no such worker process is there\n").into_response();
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn graph(State(context): State<Context>, Query(query): Query<GraphQuery>) -> Response {
    context.shared.refresh();
    let graph = context.shared.picture().graph_view(&query);
    json(&graph)
}

async fn groups(State(context): State<Context>, Query(query): Query<GroupQuery>) -> Response {
    context.shared.refresh();
    let page = context.shared.picture().group_page(&query);
    json(&page)
}

async fn tasks(State(context): State<Context>, Query(query): Query<TaskQuery>) -> Response {
    context.shared.read();
    let page = context.shared.picture().task_page(&query);
    json(&page)
}

async fn task(State(context): State<Context>, Path(task): Path<u64>) -> Response {
    let task = TaskId(task);
    context.shared.read();
    let said = Said::of(&context.shared.reader, task);
    let found = context.shared.picture().task_detail(task, said);
    match found {
        Some(detail) => json(&detail),
        None => (StatusCode::NOT_FOUND, "no such task is listed\n").into_response(),
    }
}

async fn timeline(State(context): State<Context>, Query(query): Query<TimelineQuery>) -> Response {
    context.shared.read();
    let timeline = context.shared.picture().timeline(&query);
    json(&timeline)
}

async fn scatter(State(context): State<Context>, Query(query): Query<ScatterQuery>) -> Response {
    context.shared.read();
    let scatter = context.shared.picture().scatter(&query);
    json(&scatter)
}

async fn metrics(State(context): State<Context>) -> Response {
    context.shared.refresh();
    let metrics = context.shared.picture().metrics();
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics).into_response()
}

fn text(kind: &str, body: &'static str) -> Response {
    let kind = format!("{kind}; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

fn json(value: &impl Serialize) -> Response {
    let text =
        serde_json::to_string(value).expect("views have string keys and finite numbers or null");
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
