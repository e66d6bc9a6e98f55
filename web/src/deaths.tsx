// How workers died.

import type { Death } from "./api";
import { bytes, count } from "./format";
import { link } from "./route";

const SIGNALS: Record<number, string> = { 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM" };

export function Deaths({ deaths, more }: { deaths: Death[]; more: number }) {
  return (
    <section class="card groups" aria-labelledby="deaths">
      <h2 id="deaths">Workers that died</h2>
      {deaths.map((death) => (
        <details key={`${death.worker} ${death.at_s}`} id={`death-${death.worker}`}>
          <summary>
            <b class="bad">{how(death)}</b> at {death.at_s.toFixed(3)} s: worker {death.worker} (process {death.pid}){" "}
            {death.name ? (
              <>
                in <b>{death.name}</b>
              </>
            ) : (
              "without a task"
            )}
            {death.peak_bytes !== null && `, at most ${bytes(death.peak_bytes)} resident`}
          </summary>
          {death.task !== null && (
            <p>
              <a href={link({ task: death.task })}>Task {death.task}</a>
            </p>
          )}
          {death.stack ? <pre tabIndex={0}>{death.stack.trim()}</pre> : <p class="note close">It left no Python stack.</p>}
        </details>
      ))}
      {more > 0 && <p class="note close">{count(more)} died before.</p>}
    </section>
  );
}

/** How a worker died, in words. */
export function how(death: Death): string {
  if (death.oom_killed) return "killed for lack of memory";
  if (death.signal !== null) return `killed by ${SIGNALS[death.signal] ?? `signal ${death.signal}`}`;
  return death.exit_code === null ? "died" : `exited with status ${death.exit_code}`;
}

/** Opens the report of a worker's death, which is further below. */
export function DeathLink({ worker, deaths }: { worker: number; deaths: Death[] }) {
  if (!deaths.some((death) => death.worker === worker)) return <>worker {worker}, which died</>;
  const show = () => {
    const report = document.getElementById(`death-${worker}`);
    if (!(report instanceof HTMLDetailsElement)) return;
    report.open = true;
    report.scrollIntoView({ block: "nearest" });
    report.querySelector("summary")?.focus();
  };
  return (
    <button class="link" onClick={show}>
      worker {worker}, which died
    </button>
  );
}
