// Functions: how many of their tasks there are, and how long these ran.

import type { Group } from "./api";
import { count, duration, percent } from "./format";
import { colour } from "./palette";
import { link } from "./route";

export function GroupTable({ groups, label }: { groups: Group[]; label: string }) {
  const total_s = groups.reduce((sum, group) => sum + group.total_s, 0);
  return (
    <div class="scroll" tabIndex={0} role="region" aria-labelledby={label}>
      <table>
        <thead>
          <tr>
            <th scope="col">function</th>
            <th scope="col">done</th>
            <th scope="col">failed</th>
            <th scope="col">time in all</th>
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
            <Row key={group.group} group={group} total_s={total_s} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row({ group, total_s }: { group: Group; total_s: number }) {
  const share = total_s > 0 ? group.total_s / total_s : 0;
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
      <td>{duration(group.total_s)}</td>
      <td>{percent(share)}</td>
      {group.ran_s ? group.ran_s.map((value, index) => <td key={index}>{duration(value)}</td>) : <td colSpan={5}>no run has been seen to its end</td>}
      <td>{group.queued_median_s === null ? "" : duration(group.queued_median_s)}</td>
    </tr>
  );
}
