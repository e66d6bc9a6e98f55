// The whole in a screenful: what the tasks are doing, how fast, on what, and which functions take the time.

import { useMemo, useState } from "preact/hooks";
import type { Overview, Sample, TaskCounts } from "./api";
import { findings } from "./advice";
import { useAsked } from "./ask";
import { Chart } from "./chart";
import { bytes, count, duration, percent, rough } from "./format";
import { GroupTable } from "./groups";
import { isOver, type Live } from "./live";
import { NumberCard } from "./number";
import { STATES } from "./palette";

export function OverviewPage({ live, overview }: { live: Live; overview: Overview }) {
  const [whole, setWhole] = useState(false);
  const samples = useSamples(live, whole);
  if (overview.tasks.submitted === 0) {
    return (
      <p class="empty">
        No task has been submitted yet. As soon as the program calls a pool, <code>lineshaft.submit</code> or{" "}
        <code>map</code>, it shows here.
      </p>
    );
  }
  return (
    <>
      <Numbers overview={overview} />
      <States tasks={overview.tasks} />
      <Advice overview={overview} samples={live.samples} />
      <div class="span">
        <div class="choice" role="group" aria-label="Span of the charts">
          <button aria-pressed={!whole} onClick={() => setWhole(false)}>
            Last 5 minutes
          </button>
          <button aria-pressed={whole} onClick={() => setWhole(true)}>
            Whole run
          </button>
        </div>
      </div>
      <Charts samples={samples} overview={overview} />
      <Groups overview={overview} />
      <Beyond overview={overview} />
    </>
  );
}

/** The recent samples, or those of the whole run, which are asked for now and then while they are shown. */
function useSamples(live: Live, whole: boolean): Sample[] {
  const every = isOver(live) ? null : 2000;
  const run = useAsked<Sample[]>(whole ? "/api/run" : null, {}, every).answer;
  return run && run.length > 0 ? run : live.samples;
}

function Numbers({ overview }: { overview: Overview }) {
  const { tasks, workers } = overview;
  const ended = tasks.finished + tasks.failed + tasks.dropped;
  return (
    <dl class="numbers">
      <NumberCard name="tasks ended" value={count(ended)} more={`of ${count(tasks.submitted)}`} />
      {overview.ended ? <WholeNumbers overview={overview} /> : <PresentNumbers overview={overview} />}
      {workers.died > 0 && <NumberCard name="workers died" value={count(workers.died)} more="without having been asked to end" bad />}
      {tasks.failed > 0 && <NumberCard name="tasks failed" value={count(tasks.failed)} more={percent(tasks.failed / tasks.submitted)} bad />}
      {tasks.retried > 0 && <NumberCard name="attempts retried" value={count(tasks.retried)} more="" />}
    </dl>
  );
}

function PresentNumbers({ overview: { tasks_per_s, cores, memory, workers } }: { overview: Overview }) {
  const spilled = memory.spilled_bytes ? `, ${bytes(memory.spilled_bytes)} on disk` : "";
  const starting = workers.starting ? `, ${count(workers.starting)} starting` : "";
  return (
    <>
      <NumberCard name="throughput" value={rough(tasks_per_s)} more="tasks/s" />
      <NumberCard name="cores busy" value={rough(cores.busy)} more={`of ${cores.budget}`} />
      <NumberCard name="memory" value={bytes(memory.whole_bytes)} more={`${limitOf(memory)}, at most ${bytes(memory.whole_peak_bytes)}`.replace(/^, /, "")} title={WHOLE} />
      <NumberCard name="shared memory" value={bytes(memory.used_bytes)} more={`of ${bytes(memory.budget_bytes)}${spilled}`} />
      <NumberCard name="worker processes" value={count(workers.processes)} more={`${count(workers.processes_idle)} idle${starting}${pools(workers)}`} />
    </>
  );
}

function pools({ thread_pools, event_loops }: { thread_pools: number; event_loops: number }): string {
  const threads = thread_pools === 0 ? "" : thread_pools === 1 ? ", and a pool of threads" : `, and ${count(thread_pools)} pools of threads`;
  return event_loops === 0 ? threads : `${threads}, and ${event_loops === 1 ? "an event loop" : `${count(event_loops)} event loops`}`;
}

const WHOLE = "What the program and its worker processes have each for itself, and the objects that they share, counted once";

function limitOf({ limit_bytes }: Overview["memory"]): string {
  return limit_bytes === null ? "" : `of ${bytes(limit_bytes)}`;
}

/** Of a run that is over: what it was like, and not how it was in its last seconds. */
function WholeNumbers({ overview: { whole, cores, memory } }: { overview: Overview }) {
  const spilled = memory.spills ? `, ${count(memory.spills)} objects went to disk` : "";
  return (
    <>
      <NumberCard name="mean throughput" value={rough(whole.tasks_per_s)} more={`tasks/s over ${duration(whole.lasted_s)}`} />
      <NumberCard name="cores busy, mean" value={whole.cores_busy === null ? "–" : rough(whole.cores_busy)} more={`of ${cores.budget}`} />
      <NumberCard name="memory, peak" value={bytes(memory.whole_peak_bytes)} more={limitOf(memory)} title={WHOLE} />
      <NumberCard name="shared memory, peak" value={bytes(memory.peak_bytes)} more={`of ${bytes(memory.budget_bytes)}${spilled}`} />
      <NumberCard name="worker processes, at most" value={count(whole.processes)} more={`at a time${pools(whole)}`} />
    </>
  );
}

const STATE_NAMES: [keyof typeof STATES, string, string][] = [
  ["finished", "finished", "returned"],
  ["failed", "failed", "raised, ran out of time or lost their worker, with no retry left"],
  ["dropped", "dropped", "cancelled, or in need of a task that failed"],
  ["running", "running", "on a worker, now"],
  ["blocked", "blocked", "run, and wait for tasks of their own; their core is given to others"],
  ["ahead", "handed ahead", "with a worker that still runs another"],
  ["ready", "ready", "could run, and wait for a worker"],
  ["backoff", "backing off", "failed, and run again after a while"],
  ["waiting", "waiting", "need results of other tasks"],
];

function States({ tasks }: { tasks: TaskCounts }) {
  const present = STATE_NAMES.filter(([state]) => tasks[state] > 0);
  const text = present.map(([state, name]) => `${count(tasks[state])} ${name}`).join(", ");
  return (
    <section class="card states" aria-label="Tasks by state">
      <div class="bar" role="img" aria-label={text}>
        {present.map(([state]) => (
          <i key={state} style={{ background: STATES[state], flexGrow: tasks[state] }} />
        ))}
      </div>
      <ul class="legend">
        {present.map(([state, name, meaning]) => (
          <li key={state} title={meaning}>
            <i style={{ background: STATES[state] }} />
            {name} <b>{count(tasks[state])}</b>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Advice({ overview, samples }: { overview: Overview; samples: Sample[] }) {
  const found = findings(overview, samples);
  if (found.length === 0) return null;
  return (
    <section class="card advice" aria-labelledby="advice">
      <h2 id="advice">Advice</h2>
      <ul>
        {found.map((finding) => (
          <li key={finding.id}>
            <b>{finding.title}.</b> {finding.why} <span>{finding.remedy}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Charts({ samples, overview }: { samples: Sample[]; overview: Overview }) {
  const columns = useMemo(() => {
    // Rates hold over the time before their sample.
    const rate = (of: (sample: Sample) => number) =>
      samples.map((sample, index) => {
        const before = samples[index - 1];
        if (!before || sample.at_s <= before.at_s) return null;
        return Math.max(0, (of(sample) - of(before)) / (sample.at_s - before.at_s));
      });
    return {
      times: samples.map((sample) => sample.at_s),
      ended: rate((sample) => sample.ended),
      cores: rate((sample) => sample.cpu_s),
      open: samples.map(({ waiting, ready, backoff, ahead, running, blocked }) => waiting + ready + backoff + ahead + running + blocked),
      running: samples.map((sample) => sample.running),
      whole: samples.map((sample) => sample.whole_bytes),
      memory: samples.map((sample) => sample.memory_bytes),
      disk: samples.map((sample) => sample.spilled_bytes),
    };
  }, [samples]);
  const { times } = columns;
  const { budget } = overview.cores;
  const budgetLine = samples.map(() => budget);
  return (
    <div class="charts">
      <Chart
        title="Throughput"
        times={times}
        format={(value) => `${rough(value)}/s`}
        series={[{ label: "tasks ended", colour: STATES.finished, values: columns.ended, filled: true }]}
      />
      <Chart
        title="Processor"
        times={times}
        format={rough}
        atLeast={budget * 1.05}
        series={[
          { label: "cores busy", colour: STATES.running, values: columns.cores, filled: true },
          { label: "budget", colour: STATES.waiting, values: budgetLine, dashed: true },
        ]}
      />
      <Chart
        title="Open tasks"
        times={times}
        format={(value) => rough(value)}
        atLeast={4}
        series={[
          { label: "all", colour: STATES.ready, values: columns.open, filled: true },
          { label: "running", colour: STATES.running, values: columns.running },
        ]}
      />
      <Chart
        title="Memory"
        times={times}
        format={bytes}
        binary
        atLeast={1 << 20}
        series={[
          { label: "program and workers", colour: STATES.running, values: columns.whole, filled: true },
          { label: "shared", colour: STATES.backoff, values: columns.memory },
          { label: "on disk", colour: STATES.failed, values: columns.disk },
        ]}
      />
    </div>
  );
}

function Groups({ overview }: { overview: Overview }) {
  return (
    <section class="card groups" aria-labelledby="groups">
      <h2 id="groups">Functions, by the time they took</h2>
      <GroupTable groups={overview.groups} total={overview.total} label="groups" />
      {overview.groups_more > 0 && (
        <p class="note">
          {count(overview.groups_more)} more functions took less time. <a href="#/tasks">All functions</a>
        </p>
      )}
    </section>
  );
}

/** What is counted only: nothing is left out silently. */
function Beyond({ overview }: { overview: Overview }) {
  const { events_missed } = overview.beyond;
  const seen = overview.groups.reduce((sum, group) => sum + group.seen, 0);
  const finished = overview.groups.reduce((sum, group) => sum + group.finished, 0);
  if (events_missed === 0 && seen >= finished) return null;
  return (
    <p class="note">
      Numbers of tasks and times in all are exact. Quartiles are of {count(seen)} of {count(finished)} runs
      {events_missed > 0 && <>: {count(events_missed)} events were overwritten before this page's server read them</>}.
    </p>
  );
}
