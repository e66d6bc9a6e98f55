// Who ran what and when: a lane for each thread and worker process, or start against duration.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { GroupShare, Overview, Sample, Timeline } from "../api";
import { useAsked } from "../ask";
import { count, duration, percent } from "../format";
import { functionColumn } from "../function";
import { isOver, type Live } from "../live";
import { colour } from "../palette";
import { go, useRoute } from "../route";
import { Table, type Column } from "../table";
import { useDark } from "../theme";
import { Missed } from "../workers";
import { AXIS, rowFor } from "./draw";
import { Scene, type Mode, type Shown } from "./scene";
import { Scrub } from "./scrub";
import { width, type Span } from "./span";

/** The least height of the picture, and what of the window is left for the rest of the page. */
const HIGH_LEAST = 476;
const REST_HIGH = 330;
/** Narrower things than this cannot be told apart in statistics of a window. */
const ONE_COLUMN = 1;
/** Time between two questions about them while the run goes on. */
const STATISTICS_MS = 1000;

const KEYS = "Arrow keys move, + and − zoom, Home shows the whole run, End follows it";

export function TimelinePage({ live, overview }: { live: Live; overview: Overview }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const scroller = useRef<HTMLDivElement>(null);
  const scene = useRef<Scene | null>(null);
  const [shown, setShown] = useState<Shown | null>(null);
  const isDark = useDark();
  const room = useRoom();
  const { params } = useRoute();
  const mode: Mode = params.get("view") === "scatter" ? "scatter" : "lanes";
  const ended = isOver(live);
  const empty = overview.tasks.submitted === 0;
  const names = useNames(overview, shown?.timeline ?? null);
  const run = useAsked<Sample[]>(empty ? null : "/api/run", {}, ended ? null : 2000).answer;

  useEffect(() => {
    if (empty) return;
    const made = new Scene(canvas.current!, scroller.current!, setShown, (task) => go({ task }));
    scene.current = made;
    return () => {
      made.close();
      scene.current = null;
    };
  }, [empty]);
  const lanes = shown?.timeline?.lanes_total ?? 1;
  const row = rowFor(lanes, room);
  useEffect(() => scene.current?.set({ mode, isDark, ended, names, row }), [mode, isDark, ended, names, row, empty]);
  useEffect(() => scene.current?.reached(overview.at_s), [overview.at_s, empty]);

  if (empty) return <p class="empty">Nothing has run yet. Each task has a bar here from the moment it starts.</p>;
  const high = mode === "scatter" ? room : Math.min(room, AXIS + row * lanes + 8);
  return (
    <>
      <Tools scene={scene.current} shown={shown} mode={mode} ended={ended} />
      <section class="card timeline" aria-label="Timeline">
        <div class="lanes" ref={scroller} style={{ height: `${high}px` }} tabIndex={-1}>
          <canvas
            ref={canvas}
            style={{ height: `${high}px` }}
            tabIndex={0}
            role="application"
            aria-roledescription="timeline"
            aria-label={`${mode === "lanes" ? "Bars of tasks on lanes" : "Start of tasks against their duration"}. ${KEYS}. The table below has the same in numbers.`}
            onKeyDown={(event) => scene.current && press(event, scene.current)}
          />
          {mode === "lanes" && <div style={{ height: `${Math.max(0, AXIS + lanes * row + 8 - high)}px` }} />}
        </div>
        {shown && <Tip shown={shown} names={names} />}
        {run && shown && <Scrub samples={run} whole_s={shown.timeline?.whole_s ?? null} span={shown.span} isDark={isDark} look={(span) => scene.current?.look(span, null)} />}
      </section>
      {shown?.error && <p class="note">The server has not answered: {shown.error}</p>}
      {shown?.timeline && <Statistics shown={shown} timeline={shown.timeline} scene={scene.current} ended={ended} />}
      <Missed overview={overview}>what ran in that time has no bars</Missed>
    </>
  );
}

/** How high the picture may be, so that what is in it is seen without scrolling the page. */
function useRoom(): number {
  const measure = () => Math.max(HIGH_LEAST, window.innerHeight - REST_HIGH);
  const [room, setRoom] = useState(measure);
  useEffect(() => {
    const resized = () => setRoom(measure());
    window.addEventListener("resize", resized);
    return () => window.removeEventListener("resize", resized);
  }, []);
  return room;
}

function press(event: KeyboardEvent, scene: Scene): void {
  const deeds: Record<string, () => void> = {
    ArrowLeft: () => scene.pan(-0.15),
    ArrowRight: () => scene.pan(0.15),
    a: () => scene.pan(-0.15),
    d: () => scene.pan(0.15),
    "+": () => scene.zoom(0.6),
    "=": () => scene.zoom(0.6),
    w: () => scene.zoom(0.6),
    "-": () => scene.zoom(1 / 0.6),
    s: () => scene.zoom(1 / 0.6),
    Home: () => scene.whole(),
    End: () => scene.follow(),
    Escape: () => scene.setBrush(null),
  };
  const deed = event.ctrlKey || event.metaKey || event.altKey ? undefined : deeds[event.key];
  if (!deed) return;
  event.preventDefault();
  deed();
}

function Tools({ scene, shown, mode, ended }: { scene: Scene | null; shown: Shown | null; mode: Mode; ended: boolean }) {
  return (
    <div class="tools">
      <div class="choice" role="group" aria-label="View">
        <button aria-pressed={mode === "lanes"} onClick={() => go({ view: null })}>
          Lanes
        </button>
        <button aria-pressed={mode === "scatter"} onClick={() => go({ view: "scatter" })}>
          Start against duration
        </button>
      </div>
      <div class="choice" role="group" aria-label="Window">
        <button onClick={() => scene?.zoom(0.5)}>Zoom in</button>
        <button onClick={() => scene?.zoom(2)}>Zoom out</button>
        <button aria-pressed={shown?.follows === "whole"} onClick={() => scene?.whole()}>
          Whole run
        </button>
        {!ended && (
          <button aria-pressed={shown?.follows === "end"} onClick={() => scene?.follow()}>
            Follow
          </button>
        )}
      </div>
      <p class="hint">
        {shown && <b>{duration(width(shown.span))} shown</b>} Drag: move. Ctrl + wheel: zoom. Shift + drag: mark a part.
      </p>
    </div>
  );
}

/** What is under the pointer, in words. */
function Tip({ shown, names }: { shown: Shown; names: Map<number, string> }) {
  const { hit, timeline } = shown;
  if (!hit || !timeline || (!hit.bar && !hit.cell && !hit.dot)) return null;
  const { bar, cell, dot } = hit;
  const group = (bar ?? cell ?? dot)!.group;
  return (
    <div class="tip" style={{ left: `${hit.left + 14}px`, top: `${hit.top + 14}px` }}>
      <b>
        <i class="dot" style={{ background: colour(group) }} />
        {names.get(group) ?? `group ${group}`}
      </b>
      {bar && (
        <>
          <span>
            task {bar.task}
            {bar.failed && ", failed"}
          </span>
          <span>
            {bar.end_s === null ? `running for ${duration(timeline.at_s - bar.start_s)}` : duration(bar.end_s - bar.start_s)}, from {bar.start_s.toFixed(6)} s
          </span>
          {bar.end_s !== null && bar.load_s + bar.store_s + bar.waited_s > 0 && (
            <span>
              load {duration(bar.load_s)}, run {duration(Math.max(0, bar.end_s - bar.start_s - bar.load_s - bar.store_s - bar.waited_s))},{" "}
              {bar.waited_s > 0 && `wait for other tasks ${duration(bar.waited_s)}, `}
              {bar.spilled ? "spill" : "store"}{" "}
              {duration(bar.store_s)}
            </span>
          )}
        </>
      )}
      {cell && (
        <>
          <span>
            {count(cell.count)} {cell.count === 1 ? "attempt" : "attempts"}
            {cell.failed > 0 && `, ${count(cell.failed)} failed`}
          </span>
          <span>
            busy for {percent(cell.busy)} of {duration(timeline.column_s)}
          </span>
        </>
      )}
      {dot && (
        <>
          <span>{dot.count === 1 ? `task ${dot.task}` : `${count(dot.count)} attempts`}</span>
          <span>
            took about {duration(dot.ran_s)}
            {dot.failed > 0 && `, ${count(dot.failed)} failed`}
          </span>
        </>
      )}
    </div>
  );
}

/** The window, or what is brushed of it, in numbers. */
function Statistics({ shown, timeline, scene, ended }: { shown: Shown; timeline: Timeline; scene: Scene | null; ended: boolean }) {
  const follows = shown.follows !== null && !shown.brush && !ended;
  const span = useSteady(shown.brush ?? shown.span, follows);
  const params = { from_s: span.from, to_s: span.to, columns: ONE_COLUMN, lanes: 1 };
  const answer = useAsked<Timeline>("/api/timeline", params, ended || follows ? null : STATISTICS_MS).answer ?? timeline;
  const { took_s } = answer;
  const seen = Math.max(0, Math.min(span.to, answer.at_s) - Math.max(span.from, 0));
  return (
    <section class="card groups" aria-labelledby="window">
      <h2 id="window">{shown.brush ? "In the part that is marked" : "In this window"}</h2>
      <p class="note close">
        {duration(width(span))} from {span.from.toFixed(3)} s; {count(answer.lanes_ran)} of {count(answer.lanes_total)} {answer.lanes_total === 1 ? "lane" : "lanes"} had
        tasks for {duration(took_s)}
        {seen > 0 && `, ${(took_s / seen).toFixed(2)} at a time`}.{" "}
        {shown.brush && <button onClick={() => scene?.setBrush(null)}>Unmark</button>}
      </p>
      {answer.groups.length > 0 ? <Shares groups={answer.groups} ran_s={answer.ran_s} /> : <p class="note close">No task ran in it.</p>}
      {answer.groups_more > 0 && <p class="note close">{count(answer.groups_more)} more functions took less time.</p>}
      {answer.groups.length > 0 && <p class="note close">A bar is low where its task loads arguments or stores its result; with a line over it, it stores that on disk. It is thin where its call waits for other tasks.</p>}
      {(answer.bars_dropped > 0 || answer.bars_missing > 0) && (
        <p class="note close">
          {answer.bars_dropped > 0 && `${count(answer.bars_dropped)} of the oldest bars were too many to keep. `}
          {answer.bars_missing > 0 && `${count(answer.bars_missing)} attempts have no bar, since their beginning was missed or too many ran at once.`}
        </p>
      )}
    </section>
  );
}

/** A window that moves with the run, at most once in this time; one that somebody moves, at once. */
function useSteady(span: Span, follows: boolean): Span {
  const steady = useRef({ span, at: -Infinity });
  const now = performance.now();
  if (!follows || now - steady.current.at >= STATISTICS_MS) steady.current = { span, at: now };
  return steady.current.span;
}

function Shares({ groups, ran_s }: { groups: GroupShare[]; ran_s: number }) {
  const withLost: Column<GroupShare> = {
    name: "lost",
    hint: "Time in this window of attempts that nobody measured, since their workers died or they ran out of time on a thread",
    cell: (group) => group.lost > 0 && duration(group.lost_s),
  };
  const columns: Column<GroupShare>[] = [
    functionColumn(),
    { name: "attempts", cell: (group) => count(group.count) },
    { name: "failed", look: ({ failed }) => (failed > 0 ? "bad" : ""), cell: ({ failed }) => failed > 0 && count(failed) },
    { name: "ran", hint: "Time in this window that their calls ran", cell: (group) => duration(group.ran_s) },
    { name: "share", cell: (group) => percent(ran_s > 0 ? group.ran_s / ran_s : 0) },
    { name: "load, store", hint: "Time in this window to load arguments and to store results", cell: ({ moved_s }) => moved_s > 0 && duration(moved_s) },
    {
      name: "waited",
      hint: "Time in this window that their calls waited for other tasks, which is no part of how long they ran",
      cell: ({ waited_s }) => waited_s > 0 && duration(waited_s),
    },
    ...(groups.some((group) => group.lost > 0) ? [withLost] : []),
    { name: "mean", cell: (group) => group.count > group.lost && duration(group.ran_s / (group.count - group.lost)) },
    { name: "longest", cell: (group) => group.count > group.lost && duration(group.longest_s) },
  ];
  return <Table label="window" columns={columns} rows={groups} id={(group) => group.group} />;
}

/** Names of groups, as far as they have been seen. */
function useNames(overview: Overview, timeline: Timeline | null): Map<number, string> {
  const known = useRef(new Map<number, string>());
  return useMemo(() => {
    const rows = [...overview.groups, ...(timeline?.groups ?? [])];
    if (rows.every((row) => known.current.get(row.group) === row.name)) return known.current;
    known.current = new Map([...known.current, ...rows.map((row) => [row.group, row.name] as const)]);
    return known.current;
  }, [overview.groups, timeline]);
}

