// The graph of tasks by function: what needs what, and the longest chain, which no number of workers makes shorter.

import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { GraphNode, GraphPath, GraphStep, GraphView, Overview } from "../api";
import { useAsked } from "../ask";
import { count, duration, percent, rough } from "../format";
import { functionColumn } from "../function";
import { isOver, type Live } from "../live";
import { NumberCard } from "../number";
import { colour, stateColour } from "../palette";
import { go, link, useRoute } from "../route";
import { Table, type Column } from "../table";
import { curve, layout, NODE_WIDTH, type Link, type Place } from "./layout";

const EVERY_MS = 1000;
/** As many as the server takes. */
const EXPANDED_MAX = 8;
const ZOOM_STEP = 1.5;
const ZOOM_MAX = 2;
/** The part of the window's height that the graph has, as the style sheet says. */
const HIGH = 0.7;
/** A function has two lines, a task one. */
const [GROUP_HEIGHT, TASK_HEIGHT] = [50, 28];

export function GraphPage({ live }: { live: Live; overview: Overview }) {
  const { params } = useRoute();
  const expand = params.get("expand") ?? "";
  const { answer, error } = useAsked<GraphView>("/api/graph", { expand }, isOver(live) ? null : EVERY_MS);
  if (!answer) return <p class="empty">{error ? `The server has not answered: ${error}` : "Asking for the graph"}</p>;
  if (answer.nodes.length === 0) return <p class="empty">{nothing(answer)}</p>;
  return (
    <>
      <Numbers graph={answer} />
      <section class="card" aria-labelledby="graph">
        <Picture graph={answer} expand={expand.split(",").filter(Boolean)} />
        <Missing graph={answer} />
      </section>
      <Path path={answer.path} />
    </>
  );
}

function nothing(graph: GraphView): string {
  if (graph.edges > 0) return `Of ${count(graph.edges)} tasks that needed the result of another, nothing is known any more.`;
  return "No task has needed the result of another yet. Futures as arguments of a call do that, and the graphs of Dask.";
}

/** The longest chain of several tasks: the critical path, unless a single task ran longer. */
function chainName({ alone }: GraphPath): string {
  return alone ? "longest chain of several" : "critical path";
}

function Numbers({ graph }: { graph: GraphView }) {
  const { path, total_s } = graph;
  const { alone } = path;
  const least_s = Math.max(path.ran_s, alone?.ran_s ?? 0);
  return (
    <dl class="numbers">
      {alone && <NumberCard name="critical path" value={duration(alone.ran_s)} more={`one task of ${alone.name}, which needs no other`} />}
      <NumberCard name={chainName(path)} value={duration(path.ran_s)} more={`in ${count(path.tasks)} ${path.tasks === 1 ? "task" : "tasks"}${path.is_cut ? " and others that are not kept" : ""}`} />
      <NumberCard name="all tasks together" value={duration(total_s)} more="time that they ran" />
      <NumberCard
        name="cores kept busy, at most"
        value={least_s > 0 ? rough(Math.max(1, total_s / least_s)) : "–"}
        more="on average: all tasks by critical path"
      />
    </dl>
  );
}

function Picture({ graph, expand }: { graph: GraphView; expand: string[] }) {
  const { nodes, links } = graph;
  const shape = JSON.stringify([nodes.map(key), links.map(({ from, to }) => [from, to])]);
  const { places, width, height } = useMemo(() => {
    const heights = nodes.map((node) => (node.task === null ? GROUP_HEIGHT : TASK_HEIGHT));
    return layout(heights, [...links, ...besideTasks(graph)]);
  }, [shape]);
  const box = useRef<HTMLDivElement>(null);
  const { zoom, by, isFit } = useZoom(box, width, height);
  const more = nodes.reduce((sum, node) => sum + (node.group === null ? node.groups : 0), 0);
  // The order of the keyboard is that of reading: column by column.
  const order = [...nodes.keys()].sort((one, other) => places[one]!.x - places[other]!.x || places[one]!.y - places[other]!.y);
  const drawn = [...links].sort((one, other) => Number(one.on_path) - Number(other.on_path));
  return (
    <>
      <div class="head">
        <h2 id="graph">Functions and what they need</h2>
        <p class="hint">
          {more > 0 && <b>{count(more)} more functions in one box</b>}
          <i class="stroke path" /> {chainName(graph.path)} <i class="stroke" /> results that were needed
        </p>
        <div class="choice" role="group" aria-label="Size of the graph">
          <button onClick={() => by(1 / ZOOM_STEP)}>Zoom out</button>
          <button onClick={() => by(ZOOM_STEP)}>Zoom in</button>
          <button aria-pressed={isFit} onClick={() => by(null)}>
            Fit
          </button>
        </div>
      </div>
      <div class="scroll graph" ref={box} tabIndex={0} role="region" aria-labelledby="graph">
        <div style={{ width: `${width * zoom}px`, height: `${height * zoom}px` }}>
          <div class="canvas" style={{ width: `${width}px`, height: `${height}px`, transform: `scale(${zoom})` }}>
            <svg width={width} height={height} aria-hidden="true">
              {drawn.map(({ from, to, count, on_path }) => (
                <path key={`${from} ${to}`} d={curve(places[from]!, places[to]!)} class={on_path ? "path" : ""} stroke-width={on_path ? 3 : 1 + Math.min(2.5, Math.log10(count) / 2)} />
              ))}
            </svg>
            {order.map((at) => (
              <Node key={key(nodes[at]!)} node={nodes[at]!} place={places[at]!} expand={expand} said={said(graph, at)} />
            ))}
          </div>
        </div>
      </div>
    </>
  );
}

/** How large a graph is drawn: so that all of it is seen, until somebody wants another size. */
function useZoom(box: { current: HTMLDivElement | null }, width: number, height: number) {
  const [fit, setFit] = useState(1);
  const [chosen, setChosen] = useState<number | null>(null);
  const middle = useRef({ x: 0.5, y: 0.5 });
  useLayoutEffect(() => {
    const measure = () => setFit(Math.min(1, box.current!.clientWidth / width, (window.innerHeight * HIGH) / height));
    const observer = new ResizeObserver(measure);
    observer.observe(box.current!);
    measure();
    return () => observer.disconnect();
  }, [width, height]);
  const zoom = chosen ?? fit;
  // What was in the middle stays there.
  useLayoutEffect(() => {
    const { clientWidth, clientHeight, scrollWidth, scrollHeight } = box.current!;
    box.current!.scrollTo(middle.current.x * scrollWidth - clientWidth / 2, middle.current.y * scrollHeight - clientHeight / 2);
  }, [zoom]);
  const by = (factor: number | null) => {
    const { clientWidth, clientHeight, scrollWidth, scrollHeight, scrollLeft, scrollTop } = box.current!;
    middle.current = { x: (scrollLeft + clientWidth / 2) / scrollWidth, y: (scrollTop + clientHeight / 2) / scrollHeight };
    setChosen(factor === null ? null : Math.min(ZOOM_MAX, Math.max(fit, zoom * factor)));
  };
  return { zoom, by, isFit: chosen === null };
}

/** Links that are not drawn: they put what is left of an expanded function where its tasks are. */
function besideTasks({ nodes, links }: GraphView): Link[] {
  const groups = new Map(nodes.map((node, at) => [node.task === null ? node.group : undefined, at]));
  const beside = (at: number) => groups.get(nodes[at]!.group) ?? at;
  return links.map(({ from, to }) => ({ from: beside(from), to: beside(to) })).filter(({ from, to }) => from !== to);
}

function key({ group, task }: GraphNode): string {
  return `${group} ${task}`;
}

function Node({ node, place, expand, said }: { node: GraphNode; place: Place; expand: string[]; said: string }) {
  const { group, task } = node;
  const style = { left: `${place.x}px`, top: `${place.y}px`, width: `${NODE_WIDTH}px`, height: `${place.height}px`, borderLeftColor: group === null ? "var(--dim)" : colour(group) };
  const kind = node.path_tasks > 0 ? "node path" : "node";
  const text = <Text node={node} said={said} />;
  if (task !== null) {
    return (
      <a class={`${kind} task`} style={style} href={link({ task })} title={said}>
        {text}
      </a>
    );
  }
  if (group === null) {
    return (
      <div class={kind} style={style} title={said}>
        {text}
      </div>
    );
  }
  const others = expand.filter((other) => other !== String(group));
  const toggle = () => go({ expand: (node.expanded ? others : [...others.slice(1 - EXPANDED_MAX), group]).join(",") });
  return (
    <button class={kind} style={style} aria-expanded={node.expanded} onClick={toggle} title={said}>
      {text}
    </button>
  );
}

function Text({ node, said }: { node: GraphNode; said: string }) {
  const { task, group } = node;
  if (task !== null) {
    return (
      <>
        <i class="dot" style={{ background: stateColour(node.state!) }} />
        {task} <small>{duration(node.ran_s)}</small>
        <span class="spoken">
          , {node.state!.replace("-", " ")}. {said}
        </span>
      </>
    );
  }
  const name = group === null ? `${count(node.groups)} more functions` : node.name;
  return (
    <>
      <b>{name}</b>
      <small>
        {count(node.submitted)} {node.expanded ? "more tasks" : node.submitted === 1 ? "task" : "tasks"}, {duration(node.ran_s)}
        {node.failed > 0 && <span class="bad">, {count(node.failed)} failed</span>}
      </small>
      <span class="spoken">. {said}</span>
    </>
  );
}

/** What a node needs and who needs it, in words: what the lines show. */
function said(graph: GraphView, at: number): string {
  const name = (place: number) => {
    const node = graph.nodes[place]!;
    return node.task !== null ? `task ${node.task}` : node.name || "other functions";
  };
  const list = (places: number[]) => places.slice(0, 5).map(name).join(", ") + (places.length > 5 ? ` and ${places.length - 5} more` : "");
  const needs = graph.links.filter((link) => link.to === at).map((link) => link.from);
  const needed = graph.links.filter((link) => link.from === at).map((link) => link.to);
  const { path_tasks, path_s, within, name: own } = graph.nodes[at]!;
  return [
    own,
    needs.length > 0 && `needs ${list(needs)}`,
    needed.length > 0 && `is needed by ${list(needed)}`,
    within > 0 && `${count(within)} results among its own tasks`,
    path_tasks > 0 && `${count(path_tasks)} on the ${chainName(graph.path)}, ${duration(path_s)}`,
  ]
    .filter(Boolean)
    .join("; ");
}

function Missing({ graph }: { graph: GraphView }) {
  const { groups_apart, edges_unlinked, edges_dropped, events_missed } = graph;
  return (
    <>
      <p class="note close">
        {count(graph.edges)} results were handed on so far. A function opens into its tasks when it is chosen: those on the critical path, then the first ones.
        {groups_apart > 0 && ` ${count(groups_apart)} ${groups_apart === 1 ? "function" : "functions"} whose tasks have nothing to do with others ${groups_apart === 1 ? "is" : "are"} not drawn.`}
      </p>
      {(edges_unlinked > 0 || edges_dropped > 0 || events_missed > 0) && (
        <p class="note close">
          {edges_dropped > 0 && `The oldest ${count(edges_dropped)} are known by function only. `}
          {edges_unlinked > 0 && `${count(edges_unlinked)} are not drawn, since one of their tasks is not known. `}
          {events_missed > 0 && `${count(events_missed)} events were missed: the critical path may be longer.`}
        </p>
      )}
    </>
  );
}

/** The critical path in numbers. */
function Path({ path }: { path: GraphPath }) {
  if (path.steps.length === 0) return null;
  const columns: Column<GraphStep>[] = [
    functionColumn({ isLink: true }),
    { name: "first task", cell: (step) => <a href={link({ task: step.task })}>{step.task}</a> },
    { name: "tasks", cell: (step) => count(step.tasks) },
    { name: "ran", cell: (step) => duration(step.ran_s) },
    { name: "share", cell: (step) => percent(path.ran_s > 0 ? step.ran_s / path.ran_s : 0) },
  ];
  return (
    <section class="card groups" aria-labelledby="path">
      <h2 id="path">{path.alone ? "Longest chain of several" : "Critical path"}</h2>
      {path.alone && (
        <p class="note close">
          <a href={link({ task: path.alone.task })}>Task {path.alone.task}</a> of {path.alone.name}, which needed no other, ran for {duration(path.alone.ran_s)}: it is the critical path by itself.
        </p>
      )}
      <p class="note close">The chain of tasks, each of which needed the one before it, that ran longest; what they took to load arguments and to store results is not in it. No number of workers makes a run shorter than this.</p>
      <Table label="path" columns={columns} rows={path.steps} id={(step) => step.task} />
      {path.steps_more > 0 && <p class="note close">{count(path.steps_more)} more steps follow.</p>}
    </section>
  );
}
