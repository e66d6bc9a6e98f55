// Workers: what each uses and runs, and how those ended that died.

import { useState } from "preact/hooks";
import type { Left, Overview, Place, Process, Running, Worker, WorkerList, Written } from "./api";
import { act, useAsked } from "./ask";
import { DeathLink, Deaths } from "./deaths";
import { bytes, count, duration, number, percent, rough } from "./format";
import { isOver, type Live } from "./live";
import { colour } from "./palette";
import { NumberCard } from "./number";
import { Pools } from "./pools";
import { link } from "./route";
import { Table, type Column } from "./table";

/** A turn on an event loop that is longer than this is worth a word. */
const LONG_TURN_S = 0.1;

export function WorkersPage({ live, overview }: { live: Live; overview: Overview }) {
  const ended = isOver(live);
  const [stacks, setStacks] = useState(false);
  const { answer, error, again } = useAsked<WorkerList>("/api/workers", { stacks: stacks ? "true" : undefined }, ended ? null : 1000);
  const [said, setSaid] = useState("");
  if (!answer) return <p class="empty">{error ? `The server has not answered: ${error}` : "Asking for the workers"}</p>;
  const order = async (worker: Worker, deed: "restart" | "retire") => {
    try {
      await act(`/api/workers/${worker.worker}/${deed}`);
      setSaid(deed === "restart" ? `Worker ${worker.worker} is being ended.` : `Worker ${worker.worker} ends after what it runs.`);
    } catch (problem) {
      setSaid(`Worker ${worker.worker}: ${problem instanceof Error ? problem.message : problem}`);
    }
    again();
  };
  const there = answer.workers.filter((worker) => worker.down_s === null);
  const gone = answer.workers.filter((worker) => worker.down_s !== null);
  return (
    <>
      {answer.program && <Program program={answer.program} wrote={answer.program_wrote} whole={ended ? overview.whole : null} />}
      <section class="card groups" aria-labelledby="workers">
        <div class="head">
          <h2 id="workers">Workers</h2>
          {!ended && (
            <label>
              <input type="checkbox" checked={stacks} onChange={(event) => setStacks(event.currentTarget.checked)} /> Python stacks of what runs
            </label>
          )}
        </div>
        <p class="note close" role="status">
          {said}
        </p>
        {there.length > 0 ? (
          <Table label="workers" columns={columnsOf(answer, stacks, ended ? null : order)} rows={there} id={(worker) => worker.worker} />
        ) : (
          <p class="note close">No worker is there{!ended && ". One is started when there is something for it to do"}.</p>
        )}
      </section>
      <Pools list={answer} />
      {answer.deaths.length > 0 && <Deaths deaths={answer.deaths} more={answer.deaths_more} />}
      {gone.length > 0 && (
        <section class="card groups" aria-labelledby="gone">
          <h2 id="gone">Workers that are gone</h2>
          <p class="note close">
            {count(gone.length + answer.gone_more)} in all, because they were not needed any more, had done their share, or were replaced;{" "}
            {overview.workers.died === 0 ? "none" : count(overview.workers.died)} of them died.
          </p>
          <Table label="gone" columns={columnsOf(answer, false, null)} rows={gone} id={(worker) => worker.worker} />
          {answer.gone_more > 0 && (
            <p class="note close">
              {count(answer.gone_more)} more went before
              {answer.gone_more_spilled_bytes > 0 && `; ${bytes(answer.gone_more_spilled_bytes)} that they wrote went to disk`}.
            </p>
          )}
        </section>
      )}
      <Missed overview={overview}>attempts of workers that ran in that time are not counted here</Missed>
    </>
  );
}

/** What is not known because nobody looked in time; `children` says what that means. */
export function Missed({ overview, children }: { overview: Overview; children: preact.ComponentChildren }) {
  const { events_missed } = overview.beyond;
  if (events_missed === 0) return null;
  return (
    <p class="note">
      {count(events_missed)} events were overwritten before this page’s server read them: {children}.
    </p>
  );
}

/** `whole` is the run, once that is over: then the numbers are those of all of it. */
function Program({ program, wrote, whole }: { program: Process; wrote: Written; whole: Overview["whole"] | null }) {
  const cores = whole ? whole.program_cores_busy : program.cores;
  return (
    <dl class="numbers">
      <NumberCard name="this program" value={`process ${program.pid}`} more="its threads and the engine" />
      <NumberCard name={whole ? "cores busy in it, mean" : "cores busy in it"} value={cores === null ? "–" : rough(cores)} more={`${duration(program.cpu_s)} ${whole ? "in all" : "so far"}`} />
      <NumberCard name="resident memory of it" value={bytes(program.resident_bytes)} more={`at most ${bytes(program.peak_bytes)}, shared pages included`} />
      {wrote.spilled_bytes > 0 && (
        <NumberCard name="spilled of what it wrote" value={bytes(wrote.spilled_bytes)} more={`to disk; ${wrote.disk_bytes > 0 ? bytes(wrote.disk_bytes) : "nothing"} there now`} title="Arguments of calls, and results of calls on threads, that went to disk because memory had no room" />
      )}
    </dl>
  );
}

type Order = (worker: Worker, deed: "restart" | "retire") => void;

/** What is said of workers; with buttons if they can be told to end. */
function columnsOf(list: WorkerList, stacks: boolean, order: Order | null): Column<Worker>[] {
  const there_s = ({ up_s, down_s }: Worker) => Math.max((down_s ?? list.at_s) - up_s, 1e-9);
  const columns: Column<Worker>[] = [
    {
      name: "worker",
      cell: (worker) => (
        <>
          <a href={link({ worker: worker.worker }, "tasks")}>{worker.worker}</a> <span class="dim">{placeOf(worker)}</span>
          {worker.place && <PlaceLine worker={worker} place={worker.place} list={list} />}
        </>
      ),
    },
    { name: "cores", hint: "Cores that it kept busy lately", cell: ({ process }) => process?.cores != null && rough(process.cores) },
    {
      name: "memory",
      hint: "Resident memory of its process, shared pages included: now, and the most that it ever had",
      cell: ({ process, peak_bytes }) => (
        <>
          {process && bytes(process.resident_bytes)}
          {peak_bytes !== null && <div class="dim">most {bytes(peak_bytes)}</div>}
        </>
      ),
    },
    {
      name: "reads",
      hint: "Objects that it may read: they are neither freed nor moved to disk meanwhile",
      cell: ({ objects, object_bytes, object_disk_bytes }) => (
        <>
          {objects > 0 && `${count(objects)}, ${bytes(object_bytes)}`}
          {object_disk_bytes > 0 && <div class="dim">{bytes(object_disk_bytes)} from disk</div>}
        </>
      ),
    },
    {
      name: "wrote",
      hint: "Objects that its tasks wrote and that somebody still wants",
      cell: ({ wrote }) => (
        <>
          {wrote.objects > 0 && `${count(wrote.objects)}, ${bytes(wrote.bytes)}`}
          {wrote.disk_bytes > 0 && <div class="dim">{bytes(wrote.disk_bytes)} on disk</div>}
        </>
      ),
    },
    { name: "spilled", hint: "What of all that its tasks wrote went to disk, because memory had no room", cell: ({ wrote }) => wrote.spilled_bytes > 0 && bytes(wrote.spilled_bytes) },
    { name: "attempts", cell: (worker) => count(worker.attempts) },
    {
      name: "busy",
      hint: "Time that it ran tasks, of the time that it was there",
      title: ({ kind }) => (kind === "event-loop" ? "Calls that had begun and not ended, on average" : undefined),
      cell: (worker) => {
        const begun = worker.busy_s / there_s(worker);
        return worker.kind === "event-loop" ? `${rough(begun)} calls` : percent(Math.min(1, begun / worker.slots));
      },
    },
    { name: "runs", left: true, look: () => "runs", cell: (worker) => <Runs worker={worker} stacks={stacks} /> },
  ];
  if (order) columns.push({ name: "actions", cell: (worker) => worker.kind === "process" && <Actions worker={worker} order={order} /> });
  return columns;
}

function Runs({ worker, stacks }: { worker: Worker; stacks: boolean }) {
  return (
    <>
      {worker.down_s !== null && <span class="dim">gone at {worker.down_s.toFixed(3)} s{worker.left && `: ${LEFT[worker.left]}`}</span>}
      {worker.running.map((running) => (
        <div key={running.task}>
          <i class="dot" style={{ background: colour(running.group) }} />
          {running.name} <a href={link({ task: running.task })}>{running.task}</a> <span class="dim">{howItRuns(worker, running)}</span>
          {stacks && running.stack && <pre tabIndex={0}>{running.stack}</pre>}
          {stacks && !running.stack && (
            <p class="dim">{worker.kind !== "process" ? "Stacks of what the program itself runs are not taken." : "Its stack is on its way, unless it ends before."}</p>
          )}
        </div>
      ))}
      {worker.down_s === null && worker.running.length === 0 && <span class="dim">nothing</span>}
      {worker.running_more > 0 && <div class="dim">and {number(worker.running_more, "call")} more</div>}
      {worker.ahead > 0 && (
        <div class="dim" title="Tasks that it was handed and has not begun">
          and has {count(worker.ahead)} ahead
        </div>
      )}
    </>
  );
}

function Actions({ worker, order }: { worker: Worker; order: Order }) {
  return (
    <>
      <button onClick={() => order(worker, "retire")} title="It ends after what it runs; another takes its place when there is work">
        Retire<span class="spoken"> worker {worker.worker}</span>
      </button>{" "}
      <button onClick={() => order(worker, "restart")} title="It is killed now; what it runs fails, or runs again if it has retries left">
        Restart<span class="spoken"> worker {worker.worker}</span>
      </button>
    </>
  );
}

function placeOf({ kind, slots, pid, down_s }: Worker): string {
  if (kind === "event-loop") return "event loop of the program";
  if (kind === "threads") return slots === 1 ? "a thread of the program" : `${count(slots)} threads of the program`;
  return pid ? `process ${pid}` : down_s === null ? "starting" : "never started";
}

/** Of the calls of an event loop one runs at a time; while it does, no other one can go on. */
function howItRuns({ kind }: Worker, { for_s, waits, turn_s }: Running): string {
  if (kind !== "event-loop") return `for ${duration(for_s)}${waits ? ", and waits for tasks of its own" : ""}`;
  if (waits || turn_s === null) return `begun ${duration(for_s)} ago, waits`;
  return `begun ${duration(for_s)} ago, runs${turn_s >= LONG_TURN_S ? `, and has not let others run for ${duration(turn_s)}` : ""}`;
}

const LEFT: Record<Left, string> = {
  died: "it died",
  ended: "it was ended",
  retired: "it had done its share, or was told to end",
  "never started": "it could not be started",
  "not needed": "it was not needed any more",
};

/** Which worker of which place it is, where that is not the first one of the only pool. */
function PlaceLine({ worker, place, list }: { worker: Worker; place: Place; list: WorkerList }) {
  const pool = list.pools.length > 1 && list.pools.find((pool) => pool.pool === worker.pool);
  if (!pool && place.attempt === 1) return null;
  return (
    <div class="dim">
      {pool && `${pool.name} ${pool.number}, `}
      {place.attempt > 1 && `attempt ${count(place.attempt)} of `}place {place.number}
      {place.after !== null && place.after_left !== null && (
        <div title={LEFT[place.after_left]}>
          after {place.after_left === "died" ? <DeathLink worker={place.after} deaths={list.deaths} /> : `worker ${place.after}, which ${place.after_left === "ended" ? "was ended" : "retired"}`}
        </div>
      )}
    </div>
  );
}
