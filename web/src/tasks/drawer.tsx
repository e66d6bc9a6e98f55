// One task, beside whatever page is shown: where its time went, what it printed, and why it is not running.

import { useEffect, useRef } from "preact/hooks";
import type { TaskDetail } from "../api";
import { useAsked } from "../ask";
import { duration } from "../format";
import { isOver, type Live } from "../live";
import { colour, STATES } from "../palette";
import { go, link } from "../route";
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
      </dl>
      {task.explanation && task.ended_s === null && (
        <>
          <h3>Why it has not ended</h3>
          <p>{task.explanation}</p>
        </>
      )}
      <Phases task={task} />
      {task.output && (
        <>
          <h3>What it printed</h3>
          <pre tabIndex={0}>{task.output}</pre>
        </>
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

/** Where the time of its last attempt went, from submission to its end. */
function Phases({ task }: { task: TaskDetail }) {
  const { submitted_s, ready_s, assigned_s, ended_s, ran_s } = task;
  const phases: [string, string, number | null][] = [
    ["waited for other tasks", STATES.waiting, between(submitted_s, ready_s)],
    ["queued", STATES.ready, between(ready_s, assigned_s)],
    ["on its way, and handed ahead", STATES.ahead, ended_s !== null && assigned_s !== null && ran_s !== null ? Math.max(0, ended_s - assigned_s - ran_s) : null],
    ["ran", STATES.running, ran_s],
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
