// Functions: how many of their tasks there are, and how long these ran.

import type { Group } from "./api";
import { bytes, count, duration, percent } from "./format";
import { colour } from "./palette";
import { link } from "./route";

/** What is shown of them: the time that they ran, or the bytes of their results. */
export type What = "time" | "bytes";

export function GroupTable({ groups, label, what = "time" }: { groups: Group[]; label: string; what?: What }) {
  const total = groups.reduce((sum, group) => sum + totalOf(group, what), 0);
  return (
    <div class="scroll" tabIndex={0} role="region" aria-labelledby={label}>
      <table>
        <thead>
          <tr>
            <th scope="col">function</th>
            <th scope="col">done</th>
            <th scope="col">failed</th>
            <th scope="col">{what === "time" ? "time in all" : "results in all"}</th>
            <th scope="col">share</th>
            <th scope="col">least</th>
            <th scope="col">25 %</th>
            <th scope="col">median</th>
            <th scope="col">75 %</th>
            <th scope="col">most</th>
            <th scope="col" title="Half of its tasks waited for a worker no longer than this">
              queued (median)
            </th>
          </tr>
        </thead>
        <tbody>
          {groups.map((group) => (
            <Row key={group.group} group={group} total={total} what={what} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function totalOf(group: Group, what: What): number {
  return what === "time" ? group.total_s : group.bytes_total;
}

function Row({ group, total, what }: { group: Group; total: number; what: What }) {
  const share = total > 0 ? totalOf(group, what) / total : 0;
  const [text, quartiles] = what === "time" ? [duration, group.ran_s] : [bytes, group.bytes];
  const done = group.submitted > 0 ? group.finished / group.submitted : 0;
  return (
    <tr>
      <th scope="row" title={group.name}>
        <i class="dot" style={{ background: colour(group.group) }} />
        <a href={link({ group: group.group }, "tasks")}>{group.name}</a>
      </th>
      <td>
        {count(group.finished)} / {count(group.submitted)}
        <meter value={done} aria-label="done" />
      </td>
      <td class={group.failed ? "bad" : ""}>{group.failed ? count(group.failed) : ""}</td>
      <td>{text(totalOf(group, what))}</td>
      <td>{percent(share)}</td>
      {quartiles ? quartiles.map((value, index) => <td key={index}>{text(value)}</td>) : <td colSpan={5}>{what === "time" ? "no run has been seen to its end" : "no result has left its process"}</td>}
      <td>{group.queued_median_s === null ? "" : duration(group.queued_median_s)}</td>
    </tr>
  );
}
