// Functions: how many of their tasks there are, and how long these ran.

import type { Group, Total } from "./api";
import { bytes, count, duration, percent } from "./format";
import { colour } from "./palette";
import { link } from "./route";

/** What is shown of them: the time that they ran, or the bytes of their results. */
export type What = "time" | "bytes";

/** Imports that take less are not worth a word. */
const IMPORT_S = 0.05;

const QUARTILE = "As counted in classes of size: within a sixteenth of the true value. The least and the most are exact";

/** The share is that of the whole run, whichever rows are shown. */
export function GroupTable({ groups, total, label, what = "time" }: { groups: Group[]; total: Total; label: string; what?: What }) {
  const all = what === "time" ? total.ran_s : total.bytes;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-labelledby={label}>
      <table>
        <thead>
          <tr>
            <th scope="col">function</th>
            <th scope="col">done</th>
            <th scope="col">failed</th>
            <th scope="col" title={what === "time" ? "Time in all that the calls ran, without loading arguments, storing results and waiting for calls of their own" : "Bytes of all results"}>
              {what === "time" ? "ran" : "results"}
            </th>
            <th scope="col" title={what === "time" ? "Of the time that all tasks of the run took together to run" : "Of the results of the whole run"}>
              share
            </th>
            {what === "time" && (
              <>
                <th scope="col" title="Time in all to load functions and arguments in worker processes, modules that these import included">
                  load
                </th>
                <th scope="col" title="Time in all to store results where others find them">
                  store
                </th>
              </>
            )}
            <th scope="col">least</th>
            {["25 %", "median", "75 %"].map((quartile) => (
              <th key={quartile} scope="col" title={QUARTILE}>
                {quartile}
              </th>
            ))}
            <th scope="col">most</th>
            <th scope="col" title="Half of its tasks waited for a worker no longer than this, within a sixteenth">
              queued
            </th>
          </tr>
        </thead>
        <tbody>
          {groups.map((group) => (
            <Row key={group.group} group={group} all={all} what={what} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function totalOf(group: Group, what: What): number {
  return what === "time" ? group.total_s : group.bytes_total;
}

/** Whether most of its loading is that of the first task in each worker: modules, which are imported once. */
export function isImport({ seen, load_s, first_load_s, first_loads }: Group): boolean {
  const others = seen - first_loads;
  if (first_loads === 0 || others <= 0 || first_load_s < IMPORT_S * first_loads) return false;
  return first_load_s / first_loads > 5 * ((load_s - first_load_s) / others);
}

/** The name of a function with its module, if that is known. */
function inFull({ name, module }: Group): string {
  return module === null || name.startsWith(`${module}.`) ? name : `${module}.${name}`;
}

function Row({ group, all, what }: { group: Group; all: number; what: What }) {
  const share = all > 0 ? totalOf(group, what) / all : 0;
  const [text, quartiles] = what === "time" ? [duration, group.ran_s] : [bytes, group.bytes];
  const done = group.submitted > 0 ? group.finished / group.submitted : 0;
  return (
    <tr>
      <th scope="row" title={inFull(group)}>
        <i class="dot" style={{ background: colour(group.group) }} />
        <a href={link({ group: group.group }, "tasks")}>{group.name}</a>
      </th>
      <td>
        {count(group.finished)} / {count(group.submitted)}
        {group.dropped > 0 && (
          <span class="dim" title="Cancelled, or in need of a task that has no result">
            , {count(group.dropped)} dropped
          </span>
        )}
        <meter value={done} aria-label="done" />
      </td>
      <td class={group.failed ? "bad" : ""}>{group.failed ? count(group.failed) : ""}</td>
      <td>
        {text(totalOf(group, what))}
        {what === "time" && group.waited_s >= 0.01 && <small title={`Its tasks waited ${duration(group.waited_s)} in all for other tasks, which is no part of how long they ran`}>and waits</small>}
      </td>
      <td>{percent(share)}</td>
      {what === "time" && (
        <>
          <td>
            {group.load_s > 0 && duration(group.load_s)}
            {isImport(group) && <small title={`The first task in each of ${count(group.first_loads)} workers took ${duration(group.first_load_s / group.first_loads)} of it`}>imports</small>}
          </td>
          <td>{group.store_s > 0 && duration(group.store_s)}</td>
        </>
      )}
      {quartiles ? quartiles.map((value, index) => <td key={index}>{text(value)}</td>) : <td colSpan={5}>{what === "time" ? "no run has been seen to its end" : "no result has left its process"}</td>}
      <td>{group.queued_median_s === null ? "" : duration(group.queued_median_s)}</td>
    </tr>
  );
}
