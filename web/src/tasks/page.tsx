// Functions first, then single tasks: a page of a table that the server filters and sorts.

import type { GroupPage, Overview, Task, TaskPage } from "../api";
import { useAsked } from "../ask";
import { count, duration } from "../format";
import { functionColumn } from "../function";
import { GroupTable } from "../groups";
import { isOver, type Live } from "../live";
import { stateColour } from "../palette";
import { go, link, useRoute } from "../route";
import { Table, type Column } from "../table";

const GROUPS_A_PAGE = 10;
const ROWS = 25;
const EVERY_MS = 1000;

const STATES: [string, string][] = [
  ["", "any state"],
  ["unfinished", "not ended"],
  ["unsuccessful", "ended without a result"],
  ["waiting", "waiting for other tasks"],
  ["ready", "ready"],
  ["ahead", "handed ahead"],
  ["running", "running"],
  ["blocked", "blocked"],
  ["backoff", "backing off"],
  ["finished", "finished"],
  ["failed", "failed"],
  ["timed-out", "timed out"],
  ["worker-died", "worker died"],
  ["dependency-failed", "dependency failed"],
  ["cancelled", "cancelled"],
  ["unknown", "end was missed"],
];

const SORTS: [string, string][] = [
  ["newest", "newest first"],
  ["oldest", "oldest first"],
  ["ran", "longest run first"],
  ["queued", "longest queued first"],
];

const GROUP_SORTS: [string, string][] = [
  ["time", "by time"],
  ["tasks", "by tasks"],
  ["failed", "by failures"],
  ["bytes", "by bytes of results"],
  ["name", "by name"],
];

export function TasksPage({ live, overview }: { live: Live; overview: Overview }) {
  const { params } = useRoute();
  if (overview.tasks.submitted === 0) return <p class="empty">No task has been submitted yet. Each one is listed here as soon as it is.</p>;
  const every = isOver(live) ? null : EVERY_MS;
  return (
    <>
      <Functions params={params} every={every} />
      <Tasks params={params} every={every} />
    </>
  );
}

function Functions({ params, every }: { params: URLSearchParams; every: number | null }) {
  const sort = params.get("groups") ?? "time";
  const offset = number(params, "functions");
  const name = params.get("name") ?? "";
  const { answer, error } = useAsked<GroupPage>("/api/groups", { sort, offset, name, limit: GROUPS_A_PAGE }, every);
  return (
    <section class="card groups" aria-labelledby="functions">
      <div class="head">
        <h2 id="functions">Functions</h2>
        <input
          type="search"
          aria-label="Name of the function"
          placeholder="part of a name"
          value={name}
          onInput={(event) => go({ name: event.currentTarget.value, offset: null, functions: null })}
        />
        <Select label="Order of the functions" options={GROUP_SORTS} value={sort} choose={(groups) => go({ groups, functions: null })} />
      </div>
      {answer && answer.rows.length > 0 && <GroupTable groups={answer.rows} total={answer.total} label="functions" what={sort === "bytes" ? "bytes" : "time"} />}
      {answer?.rows.length === 0 && <p class="note close">No function has “{name}” in its name.</p>}
      {answer && <Pager name="functions" offset={offset} size={GROUPS_A_PAGE} found={answer.found} parameter="functions" />}
      {error && <p class="note close">The server has not answered: {error}</p>}
    </section>
  );
}

function Tasks({ params, every }: { params: URLSearchParams; every: number | null }) {
  const state = params.get("state") ?? "";
  const sort = params.get("sort") ?? "newest";
  const group = params.get("group") ?? undefined;
  const worker = params.get("worker") ?? undefined;
  const offset = number(params, "offset");
  const asked = { state, sort, group, worker, offset, name: params.get("name") ?? "", limit: ROWS };
  const { answer, error } = useAsked<TaskPage>("/api/tasks", asked, every);
  const rows = answer?.rows ?? [];
  return (
    <section class="card groups" aria-labelledby="tasks">
      <div class="head">
        <h2 id="tasks">Tasks</h2>
        {group !== undefined && (
          <a class="chip" href={link({ group: null, offset: null })} aria-label="Show tasks of all functions">
            {rows[0]?.name ?? `function ${group}`} ✕
          </a>
        )}
        {worker !== undefined && (
          <a class="chip" href={link({ worker: null, offset: null })} aria-label="Show tasks of all workers">
            worker {worker} ✕
          </a>
        )}
        <Select label="State" options={STATES} value={state} choose={(state) => go({ state, offset: null })} />
        <Select label="Order of the tasks" options={SORTS} value={sort} choose={(sort) => go({ sort, offset: null })} />
      </div>
      {rows.length > 0 && <Table label="tasks" columns={COLUMNS} rows={rows} id={(task) => task.task} />}
      {answer && rows.length === 0 && <p class="note close">There is no such task{answer.unlisted > 0 && " in the table"}.</p>}
      {answer && <Pager name="tasks" offset={offset} size={ROWS} found={answer.found} parameter="offset" />}
      {answer && answer.unlisted > 0 && (
        <p class="note close">
          The table has {count(answer.listed)} tasks; {count(answer.unlisted)} older ones, or ones that did not fit, are only counted.
        </p>
      )}
      {error && <p class="note close">The server has not answered: {error}</p>}
    </section>
  );
}

const COLUMNS: Column<Task>[] = [
  functionColumn(),
  { name: "task", cell: (task) => <a href={link({ task: task.task })}>{task.task}</a> },
  { name: "state", left: true, cell: (task) => <State state={task.state} /> },
  {
    name: "handed over",
    hint: "How often it was handed to a worker; some of that may have been taken back for one that was idle",
    cell: ({ attempts }) => attempts > 0 && (attempts === 1 ? "once" : `${count(attempts)} times`),
  },
  { name: "worker", cell: (task) => task.worker },
  { name: "submitted", cell: ({ submitted_s }) => submitted_s !== null && `${Math.max(0, submitted_s).toFixed(3)} s` },
  { name: "queued", cell: ({ queued_s }) => queued_s !== null && duration(queued_s) },
  { name: "load", hint: "To load its function and arguments, modules that these import included", cell: ({ load_s }) => load_s !== null && load_s > 0 && duration(load_s) },
  { name: "ran", hint: "How long its call ran", cell: ({ ran_s }) => ran_s !== null && duration(ran_s) },
  { name: "store", hint: "To store its result where others find it", cell: ({ store_s }) => store_s !== null && store_s > 0 && duration(store_s) },
];

export function State({ state }: { state: string }) {
  return (
    <>
      <i class="dot" style={{ background: stateColour(state) }} />
      {state.replace("-", " ")}
    </>
  );
}

function Select(props: { label: string; options: [string, string][]; value: string; choose: (value: string) => void }) {
  return (
    <select aria-label={props.label} value={props.value} onChange={(event) => props.choose(event.currentTarget.value)}>
      {props.options.map(([value, text]) => (
        <option key={value} value={value}>
          {text}
        </option>
      ))}
    </select>
  );
}

function Pager(props: { name: string; offset: number; size: number; found: number; parameter: string }) {
  const { name, offset, size, found, parameter } = props;
  if (found <= size && offset === 0) return null;
  const last = Math.min(found, offset + size);
  return (
    <p class="pager">
      <button disabled={offset === 0} onClick={() => go({ [parameter]: Math.max(0, offset - size) || null })}>
        Previous<span class="spoken"> {name}</span>
      </button>
      <button disabled={last >= found} onClick={() => go({ [parameter]: offset + size })}>
        Next<span class="spoken"> {name}</span>
      </button>
      <span>
        {found === 0 ? "none" : `${count(Math.min(offset + 1, found))} to ${count(last)}`} of {count(found)} {name}
      </span>
    </p>
  );
}

function number(params: URLSearchParams, name: string): number {
  return Math.max(0, Math.trunc(Number(params.get(name) ?? 0)) || 0);
}
