// One task, beside whatever page is shown: where its time went, what it printed, and why it is not running.

import { useEffect, useRef } from "preact/hooks";
import type { Attempt, TaskDetail } from "../api";
import { useAsked } from "../ask";
import { how } from "../deaths";
import { bytes, duration } from "../format";
import { isOver, type Live } from "../live";
import { colour, STATES } from "../palette";
import { go, link } from "../route";
import { Table, type Column } from "../table";
import { State } from "./page";

export function TaskDrawer({ task, live }: { task: string; live: Live }) {
  const every = isOver(live) ? null : 1000;
  const { answer, error } = useAsked<TaskDetail>(`/api/tasks/${encodeURIComponent(task)}`, {}, every);
  const box = useRef<HTMLElement>(null);
  // Who opened it by the keyboard goes on in it, and back where it was opened.
  useEffect(() => {
    const before = document.activeElement;
    box.current?.focus();
    return () => before instanceof HTMLElement && before.focus();
  }, []);
  const close = () => go({ task: null });
  return (
    <aside class="drawer" ref={box} tabIndex={-1} aria-label={`Task ${task}`} onKeyDown={(event) => event.key === "Escape" && close()}>
      <div class="head">
        <h2>
          {answer && <i class="dot" style={{ background: colour(answer.group) }} />}
          {answer?.name ?? `Task ${task}`}
        </h2>
        <button onClick={close} aria-label="Close">
          ✕
        </button>
      </div>
      {answer ? <Detail task={answer} /> : <p class="note">{error ?? "Asking for it"}</p>}
    </aside>
  );
}

function Detail({ task }: { task: TaskDetail }) {
  return (
    <>
      <dl class="facts">
        <Fact name="task">{task.task}</Fact>
        <Fact name="state">
          <State state={task.state} />
        </Fact>
        <Fact name="handed to a worker">{task.attempts === 0 ? "not yet" : task.attempts === 1 ? "once" : `${task.attempts} times`}</Fact>
        <Fact name="worker">{task.worker === null ? "none yet" : <a href={link({ worker: task.worker, task: null }, "tasks")}>{task.worker}</a>}</Fact>
        <Fact name="submitted">{at(task.submitted_s)}</Fact>
        <Fact name="ready">{at(task.ready_s)}</Fact>
        <Fact name="handed over">{at(task.assigned_s)}</Fact>
        <Fact name="ended">{at(task.ended_s)}</Fact>
        {task.bytes !== null && <Fact name="result">{bytes(task.bytes)}</Fact>}
      </dl>
      {task.explanation && task.ended_s === null && (
        <>
          <h3>Why it has not ended</h3>
          <p>{task.explanation}</p>
        </>
      )}
      {task.deaths.map((death) => (
        <section key={death.at_s}>
          <h3>
            Its worker {death.worker}: <b class="bad">{how(death)}</b>
          </h3>
          {death.stack ? <pre tabIndex={0}>{death.stack.trim()}</pre> : <p class="note close">It left no Python stack.</p>}
        </section>
      ))}
      <Arguments task={task} />
      <Tracebacks task={task} />
      <History task={task} />
      <Phases task={task} />
      {task.is_local && <p class="note">What tasks on threads and coroutines print goes where the program prints, and is not kept.</p>}
      {task.output && (
        <>
          <h3>What it printed</h3>
          <pre tabIndex={0}>{task.output}</pre>
          {task.output_is_guess && (
            <p class="note">
              Some of it was not written through Python’s sys.stdout or sys.stderr. It may be of a task that the same worker ran just before or
              after this one.
            </p>
          )}
        </>
      )}
      {task.output_dropped && (
        <p class="note">
          Of what tasks printed until {at(task.output_dropped.until_s)}, {bytes(task.output_dropped.bytes)} are not kept any more. What this
          one printed may be among it.
        </p>
      )}
    </>
  );
}

function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** What it was called with; several if attempts have found it changed. */
function Arguments({ task }: { task: TaskDetail }) {
  const known = new Set(task.arguments.map(({ text }) => text));
  if (known.size === 0 && task.deaths.length > 0) {
    return <p class="note">Its arguments are not shown: the program has them as bytes, and does not load what may have killed a process.</p>;
  }
  if (known.size === 0) {
    return <p class="note">Its arguments are shown if it took 10 ms or longer, or failed, and did so not too long ago.</p>;
  }
  return (
    <>
      <h3>Its arguments, as they were after the call</h3>
      {[...known].map((text) => (
        <p key={text}>
          <code>{text}</code>
        </p>
      ))}
    </>
  );
}

/** Where it raised: the last attempt first. */
function Tracebacks({ task }: { task: TaskDetail }) {
  if (task.tracebacks.length === 0) {
    if (task.state !== "failed" || task.deaths.length > 0) return null;
    return <p class="note">No traceback of it is kept: it raised too long ago, or failed in another way. Its future says which.</p>;
  }
  return (
    <>
      <h3>What it raised</h3>
      {[...task.tracebacks].reverse().map(({ attempt, text }) => (
        <section key={attempt}>
          {task.attempts > 1 && <p class="note close">the {ordinal(attempt)} time that it was handed over</p>}
          <pre tabIndex={0}>{text.trim()}</pre>
        </section>
      ))}
    </>
  );
}

function ordinal(number: number): string {
  const last = number % 100 > 10 && number % 100 < 14 ? 0 : number % 10;
  return `${number}${["th", "st", "nd", "rd"][last] ?? "th"}`;
}

const ATTEMPTS: Column<Attempt>[] = [
  { name: "began", cell: (attempt) => at(attempt.start_s) },
  { name: "worker", cell: (attempt) => attempt.worker },
  { name: "took", cell: (attempt) => duration(attempt.took_s) },
  { name: "end", left: true, cell: (attempt) => <State state={attempt.end} /> },
];

/** Its attempts, if there was more than one that began. */
function History({ task }: { task: TaskDetail }) {
  if (task.history.length < 2) return null;
  return (
    <>
      <h3 id="attempts">Its attempts</h3>
      <Table label="attempts" columns={ATTEMPTS} rows={task.history} id={(attempt) => attempt.start_s} />
    </>
  );
}

/** Where the time of its last attempt went, from submission to its end. */
function Phases({ task }: { task: TaskDetail }) {
  const { submitted_s, ready_s, assigned_s, ended_s, ran_s, load_s, store_s } = task;
  const last = task.history.at(-1);
  const waited_s = last && last.end !== "running" ? last.waited_s : 0;
  const took_s = ran_s === null ? null : ran_s + load_s! + store_s! + waited_s;
  // Of an attempt that failed and was measured, it is known how long it ran.
  const lost_s = last?.end === "failed" && ran_s === null && ended_s !== null ? last.took_s : null;
  const spilled = task.history.some((attempt) => attempt.spilled);
  // When it was handed over before, it has been ready before, too.
  const before: [string, string] = task.attempts > 1 ? ["before it was ready for the last time", STATES.backoff] : ["waited for other tasks", STATES.waiting];
  const phases: [string, string, number | null][] = [
    [...before, between(submitted_s, ready_s)],
    ["queued", STATES.ready, between(ready_s, assigned_s)],
    ["fetched: on its way to the worker, or behind what that ran", STATES.ahead, ended_s !== null && assigned_s !== null && took_s !== null ? Math.max(0, ended_s - assigned_s - took_s) : null],
    ["loaded its function and arguments", STATES.blocked, load_s],
    ["ran", STATES.running, ran_s],
    ["waited for other tasks once it had begun", STATES.dropped, waited_s],
    ["lost: there, and nobody measured how long it ran", STATES.failed, lost_s],
    [spilled ? "stored its result on disk, for want of memory" : "stored its result", spilled ? STATES.failed : STATES.finished, store_s],
  ];
  const known = phases.filter((phase): phase is [string, string, number] => phase[2] !== null && phase[2] > 0);
  if (known.length === 0) return null;
  const all = known.reduce((sum, [, , lasted]) => sum + lasted, 0);
  return (
    <>
      <h3>Where its time went</h3>
      <div class="bar" aria-hidden="true">
        {known.map(([name, fill, lasted]) => (
          <i key={name} style={{ background: fill, flexGrow: (lasted / all) * 100 }} />
        ))}
      </div>
      <ul class="legend column">
        {known.map(([name, fill, lasted]) => (
          <li key={name}>
            <i style={{ background: fill }} />
            {name} <b>{duration(lasted)}</b>
          </li>
        ))}
      </ul>
    </>
  );
}

function between(from: number | null, to: number | null): number | null {
  return from === null || to === null || to < from ? null : to - from;
}

function at(time: number | null): string {
  return time === null ? "–" : `at ${time.toFixed(6)} s`;
}
