// The graph of a run that is over, as `crates/dashboard/src/view/graph.rs` puts it together.

import type { GraphLink, GraphNode, GraphPath, GraphView } from "../api";
import type { Run } from "../record";

const NODES_MAX = 200;
const GROUPS_EXPANDED_MAX = 8;
const TASKS_EXPANDED_MAX = 16;

export interface RecordedGraph {
  links: [number, number, number][];
  by: number[];
  task: number[];
  dropped: number;
  unlinked: number;
  chain: number[];
  path: GraphPath;
}

export function graphView(run: Run, params: { expand?: string | number | undefined }): GraphView {
  const { graph, tasks } = run;
  const linked = new Set(graph.links.flatMap(([from, to]) => [from, to]));
  const numbers = String(params.expand ?? "").split(",").filter((text) => /^\d+$/.test(text)).map(Number);
  const expanded = numbers.slice(0, GROUPS_EXPANDED_MAX).filter((group) => linked.has(group));
  const groups = run.groups.filter((group) => linked.has(group.group));
  groups.sort((one, other) => other.total_s - one.total_s || other.submitted - one.submitted || one.group - other.group);
  groups.sort((one, other) => Number(expanded.includes(other.group)) - Number(expanded.includes(one.group)));
  const room = NODES_MAX - expanded.length * TASKS_EXPANDED_MAX;
  const rest = groups.splice(groups.length > room ? room - 1 : groups.length);
  groups.sort((one, other) => one.group - other.group);

  const nodes: GraphNode[] = [];
  const empty = { group: null, task: null, name: "", groups: 0, state: null, submitted: 0, finished: 0, failed: 0, ran_s: 0, expanded: false, within: 0, path_tasks: 0, path_s: 0 };
  const [ofGroup, ofTask] = [new Map<number, number>(), new Map<number, number>()];
  for (const { group, name, submitted, finished, failed, total_s } of groups) {
    ofGroup.set(group, nodes.length);
    nodes.push({ ...empty, group, name, groups: 1, submitted, finished, failed, ran_s: total_s });
  }
  const [place, chain] = [new Map(tasks.task.map((task, at) => [task, at])), new Set(graph.chain)];
  const ran = (task: number) => (tasks.ran_ns[place.get(task)!] ?? 0) / 1e9;
  for (const group of expanded) {
    const own = tasks.task.filter((_, at) => tasks.group[at] === group);
    own.sort((one, other) => Number(chain.has(other)) - Number(chain.has(one)) || one - other);
    const shown = own.slice(0, TASKS_EXPANDED_MAX).sort((one, other) => one - other);
    const others = nodes[ofGroup.get(group)!]!;
    others.expanded = true;
    others.submitted = Math.max(0, others.submitted - shown.length);
    for (const task of shown) {
      ofTask.set(task, nodes.length);
      const state = tasks.states[tasks.state[place.get(task)!]!]!;
      nodes.push({ ...empty, group, task, name: others.name, state, ran_s: ran(task) });
    }
  }
  if (rest.length > 0) {
    const sum = (of: "submitted" | "finished" | "failed" | "total_s") => rest.reduce((all, group) => all + group[of], 0);
    nodes.push({ ...empty, groups: rest.length, submitted: sum("submitted"), finished: sum("finished"), failed: sum("failed"), ran_s: sum("total_s") });
  }

  const nodeOfGroup = (group: number | undefined) => (group === undefined ? undefined : (ofGroup.get(group) ?? (rest.length > 0 ? nodes.length - 1 : undefined)));
  const groupOf = (task: number) => tasks.group[place.get(task)!];
  const nodeOfTask = (task: number) => ofTask.get(task) ?? nodeOfGroup(groupOf(task));
  const links = new Map<string, GraphLink>();
  const add = (from: number | undefined, to: number | undefined, count: number) => {
    if (from === undefined || to === undefined) return;
    if (from === to) {
      nodes[from]!.within += count;
      return;
    }
    const link = links.get(`${from} ${to}`) ?? { from, to, count: 0, on_path: false };
    link.count += count;
    if (link.count > 0) links.set(`${from} ${to}`, link);
    else links.delete(`${from} ${to}`);
  };
  for (const [from, to, count] of graph.links) add(nodeOfGroup(from), nodeOfGroup(to), count);
  if (ofTask.size > 0) {
    graph.by.forEach((by, at) => {
      const task = graph.task[at]!;
      if ((!ofTask.has(by) && !ofTask.has(task)) || !place.has(by) || !place.has(task)) return;
      add(nodeOfGroup(groupOf(by)), nodeOfGroup(groupOf(task)), -1);
      add(nodeOfTask(by), nodeOfTask(task), 1);
    });
  }
  let before: number | undefined;
  for (const task of graph.chain) {
    const node = nodeOfTask(task);
    if (node !== undefined) {
      nodes[node]!.path_tasks++;
      nodes[node]!.path_s += ran(task);
    }
    const link = links.get(`${before} ${node}`);
    if (link) link.on_path = true;
    before = node;
  }
  return {
    nodes,
    links: [...links.values()].sort((one, other) => one.from - other.from || one.to - other.to),
    path: graph.path,
    total_s: run.groups.reduce((sum, group) => sum + group.total_s, 0),
    groups_apart: Math.max(0, run.groups.length - linked.size),
    edges: graph.dropped + graph.by.length,
    edges_dropped: graph.dropped,
    edges_unlinked: graph.unlinked,
    events_missed: run.overview.beyond.events_missed,
  };
}
