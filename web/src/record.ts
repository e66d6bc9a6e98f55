// A whole run in one piece: what pages ask a server for while there is one is reckoned from this. The answers are those
// that `crates/dashboard/src/view` gives.

import type { Attempt, Bar, Cell, Dot, Frame, Group, GroupPage, GroupShare, Lane, OutputDropped, Overview, Phases, ProfileTree, Sample, Scatter, Task, TaskDetail, TaskPage, Timeline, Traceback, WorkerList } from "./api";
import { graphView, type RecordedGraph } from "./graph/record";

type Params = Record<string, string | number | undefined>;

export interface Run {
  overview: Overview;
  run: Sample[];
  groups: Group[];
  workers: WorkerList;
  lanes: RecordedLane[];
  tasks: {
    task: number[];
    group: number[];
    state: number[];
    states: string[];
    attempts: number[];
    worker: (number | null)[];
    submitted_ns: (number | null)[];
    ready_ns: (number | null)[];
    assigned_ns: (number | null)[];
    ended_ns: (number | null)[];
    ran_ns: (number | null)[];
    load_us: number[];
    store_us: number[];
    bytes: number[];
    unlisted: number;
  };
  profile: { every_s: number; dropped: number; cut: number; name: string[]; parent: number[]; at_ns: number[]; group: number[]; leaf: number[]; stands_for_ms: number[]; took_us: number[] };
  graph: RecordedGraph;
  output: [number, string, boolean][];
  output_dropped: OutputDropped | null;
  has_ended: boolean;
  tracebacks: [number, Traceback][];
  arguments: [number, Traceback][];
}

interface RecordedLane {
  worker: number;
  lane: number;
  label: string;
  up_s: number;
  down_s: number | null;
  dropped: number;
  task: number[];
  group: number[];
  start_ns: number[];
  ran_ns: number[];
  load_us: number[];
  store_us: number[];
  waited_ns: [number, number][];
  waits_ns: [number, [number, number][]][];
  spilled: number[];
  failed: number[];
  lost: number[];
  runs: boolean;
}

const PAGE_MAX = 500;
const GROUPS_SHOWN = 100;
const FRAMES_SHOWN = 2000;

/** What the server would answer. */
export function answer(run: Run, path: string, params: Params): unknown {
  switch (path) {
    case "/api/overview":
      return run.overview;
    case "/api/run":
      return run.run;
    case "/api/groups":
      return groupPage(run, params);
    case "/api/tasks":
      return taskPage(run, params);
    case "/api/timeline":
      return timeline(run, params);
    case "/api/scatter":
      return scatter(run, params);
    case "/api/graph":
      return graphView(run, params);
    case "/api/workers":
      return run.workers;
    case "/api/profile":
      return profileTree(run, params);
  }
  const task = /^\/api\/tasks\/(\d+)$/.exec(path);
  if (task) return taskDetail(run, Number(task[1]));
  throw new Error(`this is not in the record: ${path}`);
}

function page<T>(all: T[], params: Params): T[] {
  const offset = Number(params.offset ?? 0);
  const limit = Math.min(PAGE_MAX, Number(params.limit || PAGE_MAX));
  return all.slice(offset, offset + limit);
}

function groupPage(run: Run, params: Params): GroupPage {
  const part = String(params.name ?? "").toLowerCase();
  const found = run.groups.filter((group) => group.name.toLowerCase().includes(part));
  const orders: Record<string, (one: Group, other: Group) => number> = {
    time: (one, other) => other.total_s - one.total_s || other.submitted - one.submitted,
    tasks: (one, other) => other.submitted - one.submitted,
    failed: (one, other) => other.failed - one.failed,
    bytes: (one, other) => other.bytes_total - one.bytes_total,
    name: (one, other) => (one.name < other.name ? -1 : one.name > other.name ? 1 : 0),
  };
  const order = orders[String(params.sort ?? "time")]!;
  found.sort((one, other) => order(one, other) || one.group - other.group);
  return { rows: page(found, params), found: found.length, total: run.overview.total };
}

const ENDED = new Set(["finished", "failed", "timed-out", "worker-died", "dependency-failed", "cancelled", "unknown"]);

function taskPage(run: Run, params: Params): TaskPage {
  const { tasks } = run;
  const part = String(params.name ?? "").toLowerCase();
  const named = part ? new Set(run.groups.filter((group) => group.name.toLowerCase().includes(part)).map((group) => group.group)) : null;
  const [group, worker, wanted] = [params.group, params.worker, params.state];
  const found: number[] = [];
  for (let at = 0; at < tasks.task.length; at++) {
    const state = tasks.states[tasks.state[at]!]!;
    if (group !== undefined && tasks.group[at] !== Number(group)) continue;
    if (worker !== undefined && tasks.worker[at] !== Number(worker)) continue;
    if (named && !named.has(tasks.group[at]!)) continue;
    if (wanted === "unfinished" ? ENDED.has(state) : wanted === "unsuccessful" ? !ENDED.has(state) || state === "finished" : wanted && wanted !== state) continue;
    found.push(at);
  }
  const queued = (at: number) => {
    const [ready, assigned] = [tasks.ready_ns[at]!, tasks.assigned_ns[at]!];
    return ready === null || assigned === null ? 0 : Math.max(0, assigned - ready);
  };
  if (params.sort === "ran") found.sort((one, other) => (tasks.ran_ns[other] ?? 0) - (tasks.ran_ns[one] ?? 0) || one - other);
  else if (params.sort === "queued") found.sort((one, other) => queued(other) - queued(one) || one - other);
  else if (params.sort !== "oldest") found.reverse();
  const names = groupNames(run);
  return { rows: page(found, params).map((at) => taskRow(run, at, names)), found: found.length, listed: tasks.task.length, unlisted: tasks.unlisted };
}

function taskRow(run: Run, at: number, names: Map<number, string>): Task {
  const { tasks } = run;
  const seconds = (list: (number | null)[]) => (list[at] == null ? null : list[at]! / 1e9);
  const [ready, assigned] = [tasks.ready_ns[at]!, tasks.assigned_ns[at]!];
  return {
    task: tasks.task[at]!,
    group: tasks.group[at]!,
    name: names.get(tasks.group[at]!) ?? `group ${tasks.group[at]}`,
    state: tasks.states[tasks.state[at]!]!,
    attempts: tasks.attempts[at]!,
    worker: tasks.worker[at]!,
    submitted_s: seconds(tasks.submitted_ns),
    ready_s: seconds(tasks.ready_ns),
    assigned_s: seconds(tasks.assigned_ns),
    ended_s: seconds(tasks.ended_ns),
    ran_s: seconds(tasks.ran_ns),
    load_s: tasks.ran_ns[at] == null ? null : tasks.load_us[at]! / 1e6,
    store_s: tasks.ran_ns[at] == null ? null : tasks.store_us[at]! / 1e6,
    bytes: tasks.bytes[at] || null,
    queued_s: ready === null || assigned === null || ready > assigned ? null : (assigned - ready) / 1e9,
  };
}

function taskDetail(run: Run, task: number): TaskDetail {
  const at = run.tasks.task.indexOf(task);
  if (at < 0) throw new Error("no such task is listed");
  const [, output, output_is_guess] = run.output.find(([of]) => of === task) ?? [task, "", false];
  const told = run.arguments.filter(([of]) => of === task).map(([, text]) => text);
  const tracebacks = run.tracebacks.filter(([of]) => of === task).map(([, traceback]) => traceback);
  const deaths = run.workers.deaths.filter((death) => death.task === task);
  const row = taskRow(run, at, groupNames(run));
  const dropped = run.output_dropped;
  const output_dropped = dropped && (row.submitted_s ?? -Infinity) <= dropped.until_s ? dropped : null;
  const is_local = run.workers.workers.some(({ worker, kind }) => worker === row.worker && kind !== "process");
  return { ...row, is_local, explanation: run.has_ended ? "the run is over" : "it had not ended when this report was written", output, output_is_guess, output_dropped, history: historyOf(run, task), tracebacks, arguments: told, deaths };
}

function historyOf(run: Run, task: number): Attempt[] {
  const attempts: Attempt[] = [];
  for (const lane of run.lanes) {
    for (let at = lane.task.indexOf(task); at >= 0; at = lane.task.indexOf(task, at + 1)) {
      const runs = lane.runs && at === lane.task.length - 1;
      const end = runs ? "running" : lane.failed.includes(at) ? "failed" : "finished";
      attempts.push({ worker: lane.worker, start_s: lane.start_ns[at]! / 1e9, took_s: lane.ran_ns[at]! / 1e9, ...phasesOf(lane, at), end });
    }
  }
  return attempts.sort((one, other) => one.start_s - other.start_s);
}

function phasesOf(lane: RecordedLane, at: number): Phases {
  const [, waited_ns] = lane.waited_ns.find(([place]) => place === at) ?? [at, 0];
  return { load_s: lane.load_us[at]! / 1e6, store_s: lane.store_us[at]! / 1e6, spilled: lane.spilled.includes(at), waited_s: waited_ns / 1e9 };
}

function groupNames(run: Run): Map<number, string> {
  return new Map(run.groups.map((group) => [group.group, group.name]));
}

/** A window in nanoseconds, and its columns, which do not move with it. */
function windowOf(params: Params) {
  const from = Number(params.from_s) * 1e9;
  const to = Math.max(Number(params.to_s) * 1e9, from + 1);
  const columns = Math.min(4096, Math.max(1, Number(params.columns)));
  const column = Math.max(1, Math.ceil((to - from) / columns));
  return { from, to, column, start: (at: number) => Math.floor(at / column) * column };
}

function took({ ran_s, waited_s, moved_s, lost_s }: GroupShare): number {
  return ran_s + waited_s + moved_s + lost_s;
}

/** The place of the first bar that ends at this time or later. */
function firstOf(lane: RecordedLane, from: number): number {
  let [low, high] = [0, lane.start_ns.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lane.start_ns[middle]! + lane.ran_ns[middle]! < from) low = middle + 1;
    else high = middle;
  }
  return low;
}

function timeline(run: Run, params: Params): Timeline {
  const window = windowOf(params);
  const first = Number(params.lane ?? 0);
  const wanted = Math.min(256, Number(params.lanes || 256));
  const shares = new Map<number, GroupShare>();
  const names = groupNames(run);
  const lanes: Lane[] = [];
  let lanes_ran = 0;
  run.lanes.forEach((lane, number) => {
    const row: Lane = { worker: lane.worker, lane: lane.lane, label: lane.label, up_s: lane.up_s, down_s: lane.down_s, ran_s: 0, dropped: lane.dropped, bars: [], cells: [] };
    const [failed, lost] = [new Set(lane.failed), new Set(lane.lost)];
    const [waits, parts] = [new Map(lane.waited_ns), new Map(lane.waits_ns)];
    let column: { start: number; groups: Map<number, number>; cell: Cell } | null = null;
    const isShown = number >= first && number < first + wanted;
    for (let at = firstOf(lane, window.from); at < lane.start_ns.length && lane.start_ns[at]! < window.to; at++) {
      const [start, ran, group] = [lane.start_ns[at]!, lane.ran_ns[at]!, lane.group[at]!];
      const [load, store] = [lane.load_us[at]! * 1e3, lane.store_us[at]! * 1e3];
      const within = (start: number, lasted: number) => Math.max(0, Math.min(start + lasted, window.to) - Math.max(start, window.from)) / 1e9;
      const [call, all_s] = [Math.max(0, ran - load - store), within(start, ran)];
      const called_s = Math.min(all_s, within(start + load, call));
      const waited = waits.get(at) ?? 0;
      const waited_s = Math.min(called_s, (waited / Math.max(1, call)) * called_s);
      row.ran_s += all_s;
      const share = shares.get(group) ?? { group, name: names.get(group) ?? `group ${group}`, count: 0, failed: 0, lost: 0, lost_s: 0, ran_s: 0, waited_s: 0, moved_s: 0, longest_s: 0 };
      share.count++;
      share.failed += failed.has(at) ? 1 : 0;
      if (lost.has(at)) {
        share.lost++;
        share.lost_s += all_s;
      } else {
        share.ran_s += called_s - waited_s;
        share.waited_s += waited_s;
        share.moved_s += all_s - called_s;
        share.longest_s = Math.max(share.longest_s, Math.max(0, call - waited) / 1e9);
      }
      shares.set(group, share);
      if (!isShown) continue;
      const runs = lane.runs && at === lane.start_ns.length - 1;
      if (runs || ran >= window.column) {
        const bar: Bar = { task: lane.task[at]!, group, start_s: start / 1e9, end_s: runs ? null : (start + ran) / 1e9, failed: failed.has(at), ...phasesOf(lane, at) };
        const waits_s = parts.get(at);
        if (waits_s) bar.waits_s = waits_s.map(([from, to]) => [from / 1e9, to / 1e9]);
        row.bars.push(bar);
        continue;
      }
      const begins = window.start(start);
      if (!column || column.start !== begins) {
        column = { start: begins, groups: new Map(), cell: { start_s: begins / 1e9, group, count: 0, busy: 0, failed: 0 } };
        row.cells.push(column.cell);
      }
      const { cell, groups } = column;
      cell.count++;
      cell.failed += failed.has(at) ? 1 : 0;
      cell.busy = Math.min(1, cell.busy + ran / window.column);
      groups.set(group, (groups.get(group) ?? 0) + ran);
      cell.group = [...groups].sort((one, other) => other[1] - one[1] || one[0] - other[0])[0]![0];
    }
    if (row.ran_s > 0) lanes_ran++;
    if (isShown) lanes.push(row);
  });
  const groups = [...shares.values()].sort((one, other) => took(other) - took(one) || one.group - other.group);
  const { at_s, beyond } = run.overview;
  return {
    from_s: window.from / 1e9,
    to_s: window.to / 1e9,
    at_s,
    whole_s: wholeOf(run),
    column_s: window.column / 1e9,
    lanes,
    lane: first,
    lanes_total: run.lanes.length,
    lanes_ran,
    took_s: groups.reduce((sum, group) => sum + took(group), 0),
    ran_s: groups.reduce((sum, group) => sum + group.ran_s, 0),
    groups: groups.slice(0, GROUPS_SHOWN),
    groups_more: Math.max(0, groups.length - GROUPS_SHOWN),
    bars_dropped: beyond.bars_dropped,
    bars_missing: beyond.bars_missing,
  };
}

/** The first and the last time that there is a bar of. */
function wholeOf(run: Run): [number, number] {
  const lanes = run.lanes.filter((lane) => lane.start_ns.length > 0);
  if (lanes.length === 0) return [0, run.overview.at_s];
  const starts = lanes.map((lane) => lane.start_ns[0]!);
  const ends = lanes.map((lane) => lane.start_ns.at(-1)! + lane.ran_ns.at(-1)!);
  return [starts.reduce((one, other) => Math.min(one, other)) / 1e9, ends.reduce((one, other) => Math.max(one, other)) / 1e9];
}

function scatter(run: Run, params: Params): Scatter {
  const window = windowOf(params);
  const rows = Math.min(512, Math.max(1, Number(params.rows)));
  const logarithm = (ran: number) => Math.log(Math.max(ran / 1e9, 1e-7));
  const within: [RecordedLane, number][] = [];
  let [least, most] = [Infinity, -Infinity];
  for (const lane of run.lanes) {
    const ended = lane.start_ns.length - (lane.runs ? 1 : 0);
    for (let at = firstOf(lane, window.from); at < ended && lane.start_ns[at]! < window.to; at++) {
      if (lane.start_ns[at]! < window.from) continue;
      within.push([lane, at]);
      least = Math.min(least, logarithm(lane.ran_ns[at]!));
      most = Math.max(most, logarithm(lane.ran_ns[at]!));
    }
  }
  const dots = new Map<string, Dot>();
  for (const [lane, at] of within) {
    const share = (logarithm(lane.ran_ns[at]!) - least) / Math.max(most - least, Number.MIN_VALUE);
    const row = Math.min(rows - 1, Math.floor(share * rows));
    const [start, group] = [window.start(lane.start_ns[at]!), lane.group[at]!];
    const key = `${start} ${row} ${group}`;
    const ran_s = Math.exp(least + ((row + 0.5) / rows) * (most - least));
    const dot = dots.get(key) ?? { start_s: start / 1e9, ran_s, group, count: 0, failed: 0, task: lane.task[at]! };
    dot.count++;
    dots.set(key, dot);
  }
  for (const lane of run.lanes) {
    for (const at of lane.failed) {
      const row = Math.min(rows - 1, Math.floor(((logarithm(lane.ran_ns[at]!) - least) / Math.max(most - least, Number.MIN_VALUE)) * rows));
      const dot = dots.get(`${window.start(lane.start_ns[at]!)} ${row} ${lane.group[at]}`);
      if (dot && lane.start_ns[at]! >= window.from && lane.start_ns[at]! < window.to) dot.failed++;
    }
  }
  const ran_s: [number, number] | null = within.length > 0 ? [Math.exp(least), Math.exp(most)] : null;
  return { from_s: window.from / 1e9, to_s: window.to / 1e9, ran_s, count: within.length, dots: [...dots.values()] };
}

function profileTree(run: Run, params: Params): ProfileTree {
  const { profile } = run;
  const from = params.from_s === undefined ? -Infinity : Number(params.from_s) * 1e9;
  const to = params.to_s === undefined ? Infinity : Number(params.to_s) * 1e9;
  const own = profile.name.map(() => 0);
  const stacks = profile.name.map(() => 0);
  let took_us = 0;
  const counts = new Map<number, number>();
  profile.leaf.forEach((leaf, at) => {
    if (profile.at_ns[at]! < from || profile.at_ns[at]! > to) return;
    const group = profile.group[at]!;
    counts.set(group, (counts.get(group) ?? 0) + 1);
    if (params.group !== undefined && group !== Number(params.group)) return;
    own[leaf]! += profile.stands_for_ms[at]!;
    stacks[leaf]!++;
    took_us += profile.took_us[at]!;
  });
  const all = [...own];
  for (let node = all.length - 1; node > 0; node--) {
    all[profile.parent[node]!]! += all[node]!;
    stacks[profile.parent[node]!]! += stacks[node]!;
  }
  const shown = profile.name.map((_, node) => node).filter((node) => node === 0 || stacks[node]! > 0);
  shown.sort((one, other) => all[other]! - all[one]! || one - other);
  const frames_more = Math.max(0, shown.length - FRAMES_SHOWN);
  shown.length = Math.min(shown.length, FRAMES_SHOWN);
  const places = new Map(shown.map((node, place) => [node, place]));
  const frames: Frame[] = shown.map((node) => ({ name: profile.name[node]!, parent: places.get(profile.parent[node]!)!, stacks: stacks[node]!, all_ms: all[node]!, own_ms: own[node]! }));
  const names = groupNames(run);
  const groups = [...counts].map(([group, stacks]) => ({ group, name: names.get(group) ?? `group ${group}`, stacks }));
  groups.sort((one, other) => other.stacks - one.stacks || one.group - other.group);
  return { stacks: stacks[0] ?? 0, every_s: profile.every_s, took_s: took_us / 1e6, frames, frames_more, dropped: profile.dropped, cut: profile.cut, groups };
}
