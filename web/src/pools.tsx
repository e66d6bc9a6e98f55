// Pools of worker processes, and how often workers were replaced in them.

import type { Pool, WorkerList } from "./api";
import { count, number } from "./format";
import { Table, type Column } from "./table";

const COLUMNS: Column<Pool>[] = [
  {
    name: "pool of worker processes",
    cell: (pool) => (
      <>
        {pool.name} {pool.number} {!pool.is_open && <span class="dim">closed</span>}
      </>
    ),
  },
  {
    name: "workers",
    hint: "Workers that are there, and the most that were there at a time",
    cell: (pool) => (
      <>
        {count(pool.workers)}
        <span class="dim"> most {count(pool.places)}</span>
      </>
    ),
  },
  { name: "started", hint: "Workers so far", cell: (pool) => count(pool.started) },
  { name: "restarts", hint: "Workers that were started in the stead of another one", cell: (pool) => count(pool.restarts) },
  { name: "died", hint: "Workers that ended without having been asked to", look: ({ died }) => (died > 0 ? "bad" : ""), cell: ({ died }) => died > 0 && count(died) },
  { name: "ended", hint: "Workers that were ended: by an order, or because nobody wanted what they ran any more", cell: ({ ended }) => ended > 0 && count(ended) },
  { name: "retired", hint: "Workers that ended after a task: they had done their share, or were told to", cell: ({ retired }) => retired > 0 && count(retired) },
];

/** All pools, if there is something to tell of them. */
export function Pools({ list }: { list: WorkerList }) {
  const { pools, pools_more, pools_more_restarts } = list;
  if (pools.length < 2 && !pools.some((pool) => pool.restarts + pool.died > 0)) return null;
  return (
    <section class="card groups" aria-labelledby="pools">
      <h2 id="pools">Restarts by pool</h2>
      <Table label="pools" columns={COLUMNS} rows={pools} id={(pool) => pool.pool} />
      {pools_more > 0 && (
        <p class="note close">
          {number(pools_more, "pool")} that closed before had {number(pools_more_restarts, "restart")}.
        </p>
      )}
    </section>
  );
}
