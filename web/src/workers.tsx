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
      {answer.program && <Program program={answer.program} wrote={answer.program_wrote} />}
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
          <Table label="workers" workers={there} list={answer} order={ended ? null : order} stacks={stacks} />
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
          <Table label="gone" workers={gone} list={answer} order={null} stacks={false} />
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

function Program({ program, wrote }: { program: Process; wrote: Written }) {
  return (
    <dl class="numbers">
      <NumberCard name="this program" value={`process ${program.pid}`} more="its threads and the engine" />
      <NumberCard name="cores busy in it" value={program.cores === null ? "–" : rough(program.cores)} more={`${duration(program.cpu_s)} so far`} />
      <NumberCard name="resident memory of it" value={bytes(program.resident_bytes)} more={`at most ${bytes(program.peak_bytes)}, shared pages included`} />
      {wrote.spilled_bytes > 0 && (
        <NumberCard name="spilled of what it wrote" value={bytes(wrote.spilled_bytes)} more={`to disk; ${wrote.disk_bytes > 0 ? bytes(wrote.disk_bytes) : "nothing"} there now`} title="Arguments of calls, and results of calls on threads, that went to disk because memory had no room" />
      )}
    </dl>
  );
}

interface TableProps {
  label: string;
  workers: Worker[];
  list: WorkerList;
  order: ((worker: Worker, deed: "restart" | "retire") => void) | null;
  stacks: boolean;
}

function Table({ label, workers, list, order, stacks }: TableProps) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-labelledby={label}>
      <table>
        <thead>
          <tr>
            <th scope="col">worker</th>
            <th scope="col" title="Cores that it kept busy lately">
              cores
            </th>
            <th scope="col" title="Resident memory of its process, shared pages included: now, and the most that it ever had">
              memory
            </th>
            <th scope="col" title="Objects that it may read: they are neither freed nor moved to disk meanwhile">
              reads
            </th>
            <th scope="col" title="Objects that its tasks wrote and that somebody still wants">
              wrote
            </th>
            <th scope="col" title="What of all that its tasks wrote went to disk, because memory had no room">
              spilled
            </th>
            <th scope="col">attempts</th>
            <th scope="col" title="Time that it ran tasks, of the time that it was there">
              busy
            </th>
            <th scope="col" class="left">
              runs
            </th>
            {order && <th scope="col">actions</th>}
          </tr>
        </thead>
        <tbody>
          {workers.map((worker) => (
            <Row key={worker.worker} worker={worker} list={list} order={order} stacks={stacks} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row({ worker, list, order, stacks }: { worker: Worker; list: WorkerList; order: TableProps["order"]; stacks: boolean }) {
  const there_s = Math.max((worker.down_s ?? list.at_s) - worker.up_s, 1e-9);
  return (
    <tr>
      <th scope="row">
        <a href={link({ worker: worker.worker }, "tasks")}>{worker.worker}</a>{" "}
        <span class="dim">{placeOf(worker)}</span>
        {worker.place && <PlaceLine worker={worker} place={worker.place} list={list} />}
      </th>
      <td>{worker.process?.cores == null ? "" : rough(worker.process.cores)}</td>
      <td>
        {worker.process && bytes(worker.process.resident_bytes)}
        {worker.peak_bytes !== null && <div class="dim">most {bytes(worker.peak_bytes)}</div>}
      </td>
      <td>
        {worker.objects > 0 && `${count(worker.objects)}, ${bytes(worker.object_bytes)}`}
        {worker.object_disk_bytes > 0 && <div class="dim">{bytes(worker.object_disk_bytes)} from disk</div>}
      </td>
      <td>
        {worker.wrote.objects > 0 && `${count(worker.wrote.objects)}, ${bytes(worker.wrote.bytes)}`}
        {worker.wrote.disk_bytes > 0 && <div class="dim">{bytes(worker.wrote.disk_bytes)} on disk</div>}
      </td>
      <td>{worker.wrote.spilled_bytes > 0 && bytes(worker.wrote.spilled_bytes)}</td>
      <td>{count(worker.attempts)}</td>
      {worker.kind === "event-loop" ? (
        <td title="Calls that had begun and not ended, on average">{rough(worker.busy_s / there_s)} calls</td>
      ) : (
        <td>{percent(Math.min(1, worker.busy_s / there_s / worker.slots))}</td>
      )}
      <td class="left runs">
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
      </td>
      {order && (
        <td>
          {worker.kind === "process" && (
            <>
              <button onClick={() => order(worker, "retire")} title="It ends after what it runs; another takes its place when there is work">
                Retire<span class="spoken"> worker {worker.worker}</span>
              </button>{" "}
              <button onClick={() => order(worker, "restart")} title="It is killed now; what it runs fails, or runs again if it has retries left">
                Restart<span class="spoken"> worker {worker.worker}</span>
              </button>
            </>
          )}
        </td>
      )}
    </tr>
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
  ended: "it was ended, with what it ran",
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
