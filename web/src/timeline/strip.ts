// How many tasks ran at a time, over the whole run, from samples of it.

import type { Sample } from "../api";
import type { Span } from "./span";

/** A time in which tasks ran, and how many at a time on average. */
export interface Step extends Span {
  tasks: number;
}

/**
 * Times between samples in which something ran. How many ran at the moment of a sample says nothing of what ran between
 * two of them; how long all have run so far does.
 */
export function steps(samples: Sample[]): Step[] {
  return samples.flatMap((sample, index) => {
    const before = samples[index - 1];
    const from = before?.at_s ?? 0;
    const took = sample.took_s - (before?.took_s ?? 0);
    // An attempt that is lost with its worker takes back what it had run: nobody measured it.
    const tasks = took >= 0 ? took / Math.max(1e-9, sample.at_s - from) : sample.running;
    return tasks > 0 ? [{ from, to: sample.at_s, tasks }] : [];
  });
}

/** From the first to the last time that something ran: that of the bars, unless these are of a part of the run only. */
export function extent(ran: Step[], bars_s: [number, number] | null): Span {
  const first = ran[0] ?? { from: 0, to: 0 };
  const last = ran.at(-1) ?? first;
  const from = bars_s !== null && (ran.length === 0 || bars_s[0] <= first.to) ? bars_s[0] : first.from;
  const to = bars_s !== null && bars_s[1] >= last.from ? bars_s[1] : last.to;
  return { from, to: Math.max(to, from + 1e-3) };
}
