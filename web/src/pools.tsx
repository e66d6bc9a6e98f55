// Pools of worker processes, and how often workers were replaced in them.

import type { WorkerList } from "./api";
import { count, number } from "./format";

/** All pools, if there is something to tell of them. */
export function Pools({ list }: { list: WorkerList }) {
  const { pools, pools_more, pools_more_restarts } = list;
  if (pools.length < 2 && !pools.some((pool) => pool.restarts + pool.died > 0)) return null;
  return (
    <section class="card groups" aria-labelledby="pools">
      <h2 id="pools">Restarts by pool</h2>
      <div class="scroll" tabIndex={0} role="region" aria-labelledby="pools">
        <table>
          <thead>
            <tr>
              <th scope="col">pool of worker processes</th>
              <th scope="col" title="Workers that are there, and the most that were there at a time">
                workers
              </th>
              <th scope="col" title="Workers so far">
                started
              </th>
              <th scope="col" title="Workers that were started in the stead of another one">
                restarts
              </th>
              <th scope="col" title="Workers that ended without having been asked to">
                died
              </th>
              <th scope="col" title="Workers that were ended with what they ran: by an order, or because nobody wanted that any more">
                ended
              </th>
              <th scope="col" title="Workers that ended after a task: they had done their share, or were told to">
                retired
              </th>
            </tr>
          </thead>
          <tbody>
            {pools.map((pool) => (
              <tr key={pool.pool}>
                <th scope="row">
                  {pool.name} {pool.number} {!pool.is_open && <span class="dim">closed</span>}
                </th>
                <td>
                  {count(pool.workers)}
                  <span class="dim"> most {count(pool.places)}</span>
                </td>
                {[pool.started, pool.restarts].map((value, place) => (
                  <td key={place}>{count(value)}</td>
                ))}
                <td class={pool.died > 0 ? "bad" : ""}>{pool.died > 0 && count(pool.died)}</td>
                <td>{pool.ended > 0 && count(pool.ended)}</td>
                <td>{pool.retired > 0 && count(pool.retired)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {pools_more > 0 && (
        <p class="note close">
          {number(pools_more, "pool")} that closed before had {number(pools_more_restarts, "restart")}.
        </p>
      )}
    </section>
  );
}
