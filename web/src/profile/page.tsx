// Where tasks spend their time: a flame graph of stacks that are taken while this page is open.

import { useMemo, useRef, useState, useEffect } from "preact/hooks";
import type { Frame, Overview, ProfileTree } from "../api";
import { useAsked } from "../ask";
import { count, duration, percent } from "../format";
import { isOver, type Live } from "../live";
import { go, useRoute } from "../route";
import { Table, type Column } from "../table";
import { useDark } from "../theme";
import { Flame, layout, type Box } from "./flame";

const EVERY_MS = 1000;
const ROWS_SHOWN = 12;

export function ProfilePage({ live }: { live: Live; overview: Overview }) {
  const { params } = useRoute();
  const ended = isOver(live);
  const group = params.get("group") ?? undefined;
  const since = params.get("since");
  const last = live.overview?.at_s ?? 0;
  const from_s = since && !ended ? Math.round(Math.max(0, last - Number(since))) : undefined;
  const { answer, error } = useAsked<ProfileTree>("/api/profile", { group, from_s }, ended ? null : EVERY_MS);
  const [root, setRoot] = useState<string[]>([]);
  const all_s = (answer?.frames[0]?.all_ms ?? 0) / 1000;
  if (!answer) return <p class="empty">{error ? `The server has not answered: ${error}` : "Asking for stacks"}</p>;
  return (
    <>
      <div class="tools">
        <select aria-label="Function" value={group ?? ""} onChange={(event) => go({ group: event.currentTarget.value || null })}>
          <option value="">all functions</option>
          {answer.groups.map((one) => (
            <option key={one.group} value={one.group}>
              {one.name} ({count(one.stacks)})
            </option>
          ))}
        </select>
        {!ended && (
          <select aria-label="Time" value={since ?? ""} onChange={(event) => go({ since: event.currentTarget.value || null })}>
            <option value="">since this page was first opened</option>
            <option value="60">last minute</option>
            <option value="10">last 10 seconds</option>
          </select>
        )}
        {root.length > 0 && <button onClick={() => setRoot([])}>Show all again</button>}
        <p class="hint">
          <b>{count(answer.stacks)} stacks</b> one of each busy worker process every {duration(answer.every_s)}, or less often where that takes long
          {all_s > 0 && `; it took ${share(answer.took_s / all_s)} of the time`}
        </p>
      </div>
      {answer.stacks === 0 ? (
        <p class="empty">
          {ended
            ? "No stack was taken: that is done while this page is open."
            : "No stack has been taken yet. Stacks are those of tasks in worker processes, from now on and while this page is open; tasks on threads of the program have none."}
        </p>
      ) : (
        <Graph tree={answer} root={root} setRoot={setRoot} />
      )}
      {answer.frames_more > 0 && <p class="note">{count(answer.frames_more)} frames of less time are not shown.</p>}
      {(answer.dropped > 0 || answer.cut > 0) && (
        <p class="note">
          {answer.dropped > 0 && `${count(answer.dropped)} of the oldest stacks were too many to keep. `}
          {answer.cut > 0 && `Of ${count(answer.cut)} stacks only the outer frames are known.`}
        </p>
      )}
    </>
  );
}

/** A part that is small if all is well: two digits of it. */
function share(part: number): string {
  return `${(100 * part).toPrecision(2)} %`;
}

function Graph({ tree, root, setRoot }: { tree: ProfileTree; root: string[]; setRoot: (path: string[]) => void }) {
  const isDark = useDark();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [hit, setHit] = useState<{ box: Box; left: number; top: number } | null>(null);
  const { all_ms } = tree.frames[0]!;
  const boxes = useMemo(() => layout(tree.frames, root), [tree, root]);
  const flame = useRef<Flame | null>(null);
  useEffect(() => {
    const made = new Flame(canvas.current!, setHit, (box) => setRoot(box.path));
    flame.current = made;
    return () => made.close();
  }, []);
  useEffect(() => flame.current?.set(boxes, isDark), [boxes, isDark]);
  return (
    <>
      <section class="card timeline" aria-label="Flame graph">
        <canvas ref={canvas} class="flame" role="img" aria-label={`Flame graph of ${count(tree.stacks)} stacks. The table below has the same in numbers.`} />
        {hit && (
          <div class="tip" style={{ left: `${hit.left + 14}px`, top: `${hit.top + 14}px` }}>
            <b>{hit.box.name}</b>
            <span>
              {percent(hit.box.all_ms / Math.max(1, all_ms))}, in {count(hit.box.stacks)} stacks
            </span>
            <span>about {duration(hit.box.all_ms / 1000)}, of it {duration(hit.box.own_ms / 1000)} in its own lines</span>
          </div>
        )}
      </section>
      <Hottest tree={tree} />
    </>
  );
}

/** The functions whose own lines take the most time, wherever they are called from. */
function Hottest({ tree }: { tree: ProfileTree }) {
  const rows = useMemo(() => byFunction(tree.frames), [tree]);
  const all_ms = Math.max(1, tree.frames[0]!.all_ms);
  const columns: Column<Total>[] = [
    { name: "function", title: (row) => row.name, cell: (row) => row.name },
    { name: "own time", cell: (row) => duration(row.own_ms / 1000) },
    { name: "share", cell: (row) => percent(row.own_ms / all_ms) },
    { name: "with what it calls", cell: (row) => percent(row.all_ms / all_ms) },
  ];
  return (
    <section class="card groups" aria-labelledby="hottest">
      <h2 id="hottest">By time in their own lines</h2>
      <Table label="hottest" columns={columns} rows={rows.slice(0, ROWS_SHOWN)} id={(row) => row.name} />
      {rows.length > ROWS_SHOWN && <p class="note close">{count(rows.length - ROWS_SHOWN)} more took less.</p>}
    </section>
  );
}

interface Total {
  name: string;
  own_ms: number;
  all_ms: number;
}

function byFunction(frames: Frame[]): Total[] {
  const all = new Map<string, Total>();
  frames.forEach((frame, index) => {
    if (index === 0) return;
    const total = all.get(frame.name) ?? { name: frame.name, own_ms: 0, all_ms: 0 };
    total.own_ms += frame.own_ms;
    // A function that calls itself is in a stack once.
    if (!isBelowItself(frames, index)) total.all_ms += frame.all_ms;
    all.set(frame.name, total);
  });
  return [...all.values()].sort((one, other) => other.own_ms - one.own_ms || other.all_ms - one.all_ms);
}

function isBelowItself(frames: Frame[], index: number): boolean {
  const { name } = frames[index]!;
  for (let at = frames[index]!.parent; at !== 0; at = frames[at]!.parent) if (frames[at]!.name === name) return true;
  return false;
}
